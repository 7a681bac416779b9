"""Fixtures for the service with Flask's test client, without Gunicorn."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.settings import Settings
from gunicorn_drain import Drain


@pytest.fixture
def drain() -> Drain:
    return Drain()


@pytest.fixture
def app(drain: Drain) -> Flask:
    drain.mark_ready()
    return create_app(Settings(app_version="v9", sleep_limit=2), drain)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
