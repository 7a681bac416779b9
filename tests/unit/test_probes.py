"""Tests of app/probes.py."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.settings import Settings
from gunicorn_drain import Drain

COURSE_PROBE = {"X-Custom-Header": "Awesome"}


def statuses(client: FlaskClient) -> dict[str, int]:
    return {
        "live": client.get("/health").status_code,
        "ready": client.get("/health/ready").status_code,
        "version": client.get("/api/nowater/version").status_code,
        "probe": client.get("/api/nowater/version", headers=COURSE_PROBE).status_code,
        "api": client.get("/api").status_code,
    }


def test_service_is_not_ready_before_the_worker_has_booted(drain: Drain) -> None:
    client = create_app(Settings(), drain).test_client()
    assert statuses(client) == {"live": 200, "ready": 503, "version": 200, "probe": 503, "api": 200}
    assert client.get("/health").get_json() == {"state": "starting"}


def test_booted_service_is_ready(client: FlaskClient) -> None:
    assert set(statuses(client).values()) == {200}
    assert client.get("/health").get_json() == {"state": "ready"}


def test_draining_service_is_alive_and_not_ready(client: FlaskClient, drain: Drain) -> None:
    drain.begin_drain()
    assert statuses(client) == {"live": 200, "ready": 503, "version": 200, "probe": 503, "api": 200}
    assert client.get("/health").get_json() == {"state": "draining"}


@pytest.mark.parametrize("headers", [{}, COURSE_PROBE])
def test_version_is_reported(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/api/nowater/version", headers=headers).get_json()["version"] == "v9"
