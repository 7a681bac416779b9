"""app/api.py"""

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
def test_index_names_the_pod_that_responds(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    body = response.get_json()
    assert set(body) == {"message", "version", "pod"}
    assert (body["version"], body["pod"]) == ("v9", socket.gethostname())


@pytest.mark.parametrize("path", ["/api", "/api/sleep/0", "/health", "/health/ready", "/metrics"])
def test_head_answers_as_get_without_a_body(client: FlaskClient, path: str) -> None:
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
def test_sleep_takes_its_time(client: FlaskClient, path: str, seconds: float) -> None:
    began = time.monotonic()
    response = client.get(path)
    assert response.get_json()["slept"] == seconds
    assert time.monotonic() - began >= seconds


@pytest.mark.parametrize(
    "seconds", ["2.01", "-1", "+1", "1e0", "nan", "inf", "x", "1.", ".5", "1_0", "٣", "9" * 99]
)
def test_sleep_names_the_allowed_values(client: FlaskClient, seconds: str) -> None:
    response = client.get(f"/api/sleep/{seconds}")
    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    assert repr(seconds) in response.get_json()["detail"]
    assert "from 0 to 2" in response.get_json()["detail"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(seconds=st.text(min_size=1).filter(lambda text: not DECIMAL.fullmatch(text)))
def test_sleep_refuses_whatever_else_people_type(client: FlaskClient, seconds: str) -> None:
    response = client.get("/api/sleep/" + quote(seconds, safe="", errors="surrogatepass"))
    # With a slash in it it is another path, or one with // that is redirected.
    assert response.status_code in ({200, 308, 400, 404} if "/" in seconds else {400})
