"""The service as Flask's test client sees it, without Gunicorn."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.lifecycle import Lifecycle
from app.settings import Settings


@pytest.fixture
def lifecycle() -> Lifecycle:
    return Lifecycle()


@pytest.fixture
def app(lifecycle: Lifecycle) -> Flask:
    lifecycle.mark_ready()
    return create_app(Settings(app_version="v9", sleep_limit=2), lifecycle)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
