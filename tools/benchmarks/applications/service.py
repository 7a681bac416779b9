"""This project's service, for servers that call no factory. Gunicorn uses gunicorn.conf.py instead."""

from __future__ import annotations

from app import create_app

app = create_app()
