"""Tests of app/api.py."""

from __future__ import annotations

import socket
import time
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunicorn_drain.policy import DECIMAL


@pytest.mark.parametrize("path", ["/api", "/api/"])
def test_index_names_version_and_pod(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    body = response.get_json()
    assert set(body) == {"message", "version", "pod"}
    assert (body["version"], body["pod"]) == ("v9", socket.gethostname())


@pytest.mark.parametrize("path", ["/api", "/api/sleep/0", "/health", "/health/ready", "/metrics"])
def test_head_responds_like_get_without_a_body(client: FlaskClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.mimetype, head.data) == (get.status_code, get.mimetype, b"")


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/api/sleep", 1),
        ("/api/sleep/", 1),
        ("/api/sleep/1", 1),
        ("/api/sleep/0.25", 0.25),
        ("/api/sleep/0", 0),
    ],
)
def test_sleep_lasts_as_long_as_requested(client: FlaskClient, path: str, seconds: float) -> None:
    began = time.monotonic()
    response = client.get(path)
    assert response.get_json()["slept"] == seconds
    assert time.monotonic() - began >= seconds


@pytest.mark.parametrize(
    "seconds", ["2.01", "-1", "+1", "1e0", "nan", "inf", "x", "1.", ".5", "1_0", "٣", "9" * 99]
)
def test_sleep_reports_the_allowed_range(client: FlaskClient, seconds: str) -> None:
    response = client.get(f"/api/sleep/{seconds}")
    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    assert repr(seconds) in response.get_json()["detail"]
    assert "from 0 to 2" in response.get_json()["detail"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(seconds=st.text(min_size=1).filter(lambda text: not DECIMAL.fullmatch(text)))
def test_sleep_refuses_all_other_text(client: FlaskClient, seconds: str) -> None:
    response = client.get("/api/sleep/" + quote(seconds, safe="", errors="surrogatepass"))
    # Text with a slash is another path, or is redirected because of //.
    assert response.status_code in ({200, 308, 400, 404} if "/" in seconds else {400})
