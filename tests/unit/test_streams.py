"""app/streams: when connections are told, and what is refused. tests/process has them on real sockets."""

from __future__ import annotations

import bisect
import statistics

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from app.settings import Settings
from app.streams import ticks
from app.streams.loop import Farewell
from gunicorn_drain import Drain, StreamCounter

shares = st.floats(0, 100)
farewells = st.tuples(shares, shares, shares).map(
    lambda three: Farewell(min(three), statistics.median(three), max(three), 0.5, 3)
)


@given(farewells, st.integers(1, 50), shares)
def test_everybody_is_told_in_time(farewell: Farewell, count: int, elapsed: float) -> None:
    moments = farewell.moments(count, elapsed)
    assert len(moments) == count
    for moment in moments:
        assert moment >= max(farewell.first, elapsed)
        assert moment <= max(farewell.deadline, elapsed) + 1e-9
        if elapsed <= farewell.last:
            assert moment <= farewell.last + 1e-9


@given(st.integers(1, 200))
def test_the_share_that_was_told_grows_evenly(count: int) -> None:
    moments = sorted(Farewell(2, 6, 8, 0.5, 3).moments(count, elapsed=0))
    for part, moment in enumerate(moments):
        assert 2 + 4 * part / count <= moment <= 2 + 4 * (part + 1) / count


def test_without_a_span_all_are_told_at_once() -> None:
    assert set(Farewell(3, 3, 8, 1, 1).moments(5, elapsed=0)) == {3}


def test_who_comes_back_is_spread_too() -> None:
    retries = {Farewell(0, 1, 2, 0.5, 3).retry() for _ in range(100)}
    assert len(retries) > 50
    assert all(500 <= retry <= 3000 for retry in retries)


def peak(farewell: Farewell, clients: int) -> int:
    """Count the most clients that are to return within one second."""
    moments = farewell.moments(clients, elapsed=0)
    returns = sorted(moment + farewell.retry() / 1000 for moment in moments)
    return max(bisect.bisect_left(returns, at + 1) - number for number, at in enumerate(returns))


@pytest.mark.parametrize(("drain_max", "spread"), [(12.0, 3), (30.0, 7)])
def test_a_thousand_clients_do_not_return_at_once(drain_max: float, spread: int) -> None:
    chosen = Settings()
    shares = (chosen.stream_tell_first, chosen.stream_tell_last, chosen.stream_deadline)
    first, last, deadline = (share * drain_max for share in shares)
    default = Farewell(first, last, deadline, chosen.stream_retry_min, chosen.stream_retry_max)
    assert peak(default, 1000) < 1000 / spread
    assert peak(Farewell(2, 2, 8, 1, 1), 1000) == 1000  # without the spread


@given(st.text(max_size=15))
def test_any_id_is_a_ticks_number_or_none_or_reported(text: str) -> None:
    start = ticks.resume(("Last-Event-ID", [text]))
    if start.after is not None:
        assert start.after == int(text) <= ticks.now() + ticks.FUTURE
        assert start.problem == ""
    elif text.strip():
        assert repr(text.strip()) in start.problem
    else:
        assert start == ticks.Resume(None, "")


def test_an_id_of_the_first_source_wins_and_the_later_of_one_source() -> None:
    assert ticks.resume(("header", ["5"]), ("query", ["9"])).after == 5
    assert ticks.resume(("header", [""]), ("query", ["7", "x", "9"])).after == 9
    assert ticks.resume(("header", ["x"]), ("query", ["9"])).after == 9


def test_an_id_ahead_of_the_clock_is_reported() -> None:
    now = ticks.now()
    assert ticks.resume(("header", [str(now + 3)])).after == now + 3
    start = ticks.resume(("header", [str(now + 100)]))
    assert start.after is None
    assert f"header is '{now + 100}'" in start.problem


def test_a_long_id_is_shortened_in_the_report() -> None:
    assert len(ticks.resume(("header", ["9" * 10_000])).problem) < 300


@pytest.mark.parametrize("path", ["/api/events", "/api/ws"])
def test_without_gunicorn_there_is_no_connection_to_take(client: FlaskClient, path: str) -> None:
    handshake = {
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    answer = client.get(path, headers=handshake if path == "/api/ws" else {})
    assert answer.status_code == 501
    assert answer.mimetype == "application/problem+json"


def test_streams_are_counted_by_kind(drain: Drain) -> None:
    drain.declare_streams("events", "websocket")
    for kind, counter in (
        ("events", StreamCounter.OPENED),
        ("events", StreamCounter.OPEN),
        ("websocket", StreamCounter.OPEN),
        ("websocket", StreamCounter.NOTIFIED),
    ):
        drain.count_stream(kind, counter)
    drain.count_stream("events", StreamCounter.OPEN, -1)
    assert [drain.streams(StreamCounter.OPEN, kind) for kind in ("events", "websocket")] == [0, 1]
    assert drain.streams(StreamCounter.OPEN) == drain.status().streams == 1
    assert drain.streams(StreamCounter.NOTIFIED, "events") == 0
