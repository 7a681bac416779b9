"""Tests of app/streams.py: resuming and refusals; tests/process has both on real sockets."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from app import streams
from app.settings import Settings
from gunicorn_drain import DrainPolicy
from gunicorn_drain.streams import GoAwaySchedule


def test_settings_spread_clients_as_the_package_does() -> None:
    chosen, default = Settings(), GoAwaySchedule.from_policy(DrainPolicy())
    shares = (chosen.stream_tell_first, chosen.stream_tell_last, chosen.stream_deadline)
    assert tuple(share * chosen.drain_max for share in shares) == (
        default.first,
        default.last,
        default.deadline,
    )
    assert (chosen.stream_retry_min, chosen.stream_retry_max) == (default.retry_min, default.retry_max)


@given(st.text(max_size=15))
def test_id_is_the_number_of_a_tick_or_absent_or_reported(text: str) -> None:
    after, problem = streams.resume([("Last-Event-ID", [text])])
    if after is not None:
        assert after == int(text) <= streams.now() + streams.FUTURE
        assert problem == ""
    else:
        assert repr(text) in problem


def test_first_source_and_the_last_id_in_a_source_take_precedence() -> None:
    assert streams.resume([("header", ["5"]), ("query", ["9"])]) == (5, "")
    assert streams.resume([("header", []), ("query", ["7", "x", "9"])]) == (9, "")
    assert streams.resume([("header", ["x"]), ("query", ["9"])]) == (9, "")
    assert streams.resume([("header", []), ("query", [])]) == (None, "")


def test_id_ahead_of_the_clock_is_reported() -> None:
    now = streams.now()
    assert streams.resume([("header", [str(now + 3)])]) == (now + 3, "")
    after, problem = streams.resume([("header", [str(now + 100)])])
    assert after is None
    assert f"header is '{now + 100}'" in problem


def test_long_id_is_shortened_in_the_report() -> None:
    _, problem = streams.resume([("header", ["9" * 10_000])])
    assert len(problem) < 300


@pytest.mark.parametrize("path", ["/api/events", "/api/ws"])
def test_stream_without_gunicorn_is_not_implemented(client: FlaskClient, path: str) -> None:
    handshake = {
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    response = client.get(path, headers=handshake if path == "/api/ws" else {})
    assert response.status_code == 501
    assert response.mimetype == "application/problem+json"
