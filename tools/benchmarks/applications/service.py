"""This project's service, for servers that call no factory. Gunicorn takes it from gunicorn.conf.py."""

from __future__ import annotations

from app import create_app

app = create_app()
