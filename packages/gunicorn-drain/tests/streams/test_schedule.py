"""gunicorn_drain.streams.schedule: times at which connections are notified."""

from __future__ import annotations

import bisect
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_drain import DrainPolicy
from gunicorn_drain.streams import GoAwaySchedule

shares = st.floats(0, 100)
schedules = st.tuples(shares, shares, shares).map(
    lambda three: GoAwaySchedule(min(three), statistics.median(three), max(three), 0.5, 3)
)


@given(schedules, st.integers(1, 50), shares)
def test_every_connection_is_notified_in_time(schedule: GoAwaySchedule, count: int, elapsed: float) -> None:
    moments = schedule.moments(count, elapsed)
    assert len(moments) == count
    for moment in moments:
        assert moment >= max(schedule.first, elapsed)
        assert moment <= max(schedule.deadline, elapsed) + 1e-9
        if elapsed <= schedule.last:
            assert moment <= schedule.last + 1e-9


@given(st.integers(1, 200))
def test_share_of_notified_connections_grows_evenly(count: int) -> None:
    moments = sorted(GoAwaySchedule(2, 6, 8, 0.5, 3).moments(count, elapsed=0))
    for part, moment in enumerate(moments):
        assert 2 + 4 * part / count <= moment <= 2 + 4 * (part + 1) / count


def test_without_a_span_all_connections_are_notified_at_once() -> None:
    assert set(GoAwaySchedule(3, 3, 8, 1, 1).moments(5, elapsed=0)) == {3}


def test_reconnects_are_spread_too() -> None:
    retries = {GoAwaySchedule(0, 1, 2, 0.5, 3).retry() for _ in range(100)}
    assert len(retries) > 50
    assert all(500 <= retry <= 3000 for retry in retries)


def peak(schedule: GoAwaySchedule, clients: int) -> int:
    """Return the maximum number of clients that return within one second."""
    moments = schedule.moments(clients, elapsed=0)
    returns = sorted(moment + schedule.retry() / 1000 for moment in moments)
    return max(bisect.bisect_left(returns, at + 1) - number for number, at in enumerate(returns))


@pytest.mark.parametrize(("drain_max", "spread"), [(12.0, 3), (30.0, 7)])
def test_thousand_clients_do_not_return_at_once(drain_max: float, spread: int) -> None:
    assert peak(GoAwaySchedule.from_policy(DrainPolicy(maximum=drain_max)), 1000) < 1000 / spread
    assert peak(GoAwaySchedule(2, 2, 8, 1, 1), 1000) == 1000  # without the spread
