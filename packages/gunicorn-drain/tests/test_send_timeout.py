"""Progress of a response between polls, and readiness of a service with a blocked worker."""

from __future__ import annotations

import pytest

from gunicorn_drain import Drain, State
from gunicorn_drain.send_timeout import PROGRESS_MIN, Progress


def test_response_without_progress_stalls_since_its_last_progress() -> None:
    progress = Progress(since=1.0, acknowledged=1000)
    progress.update(2.0, 1000, unsent=True)
    assert (progress.since, progress.moved, progress.unsent) == (1.0, False, True)
    progress.update(3.0, 1000 + PROGRESS_MIN, unsent=True)
    assert (progress.since, progress.moved) == (3.0, True)
    progress.update(4.0, 1000 + PROGRESS_MIN, unsent=True)
    assert (progress.since, progress.moved) == (3.0, True)


def test_progress_byte_by_byte_does_not_count() -> None:
    progress = Progress(since=0.0, acknowledged=0)
    for each in range(1, PROGRESS_MIN):
        progress.update(float(each), each, unsent=True)
    assert (progress.since, progress.moved) == (0.0, False)


def test_response_with_nothing_unsent_does_not_stall() -> None:
    progress = Progress(since=0.0, acknowledged=10)
    progress.update(5.0, 10, unsent=False)
    assert (progress.since, progress.moved, progress.unsent) == (5.0, False, False)


@pytest.fixture
def drain() -> Drain:
    """Return the drain of a ready service."""
    made = Drain()
    made.mark_ready()
    return made


def test_blocked_worker_makes_the_service_not_ready(drain: Drain) -> None:
    drain.worker.blocked = True
    assert (drain.state, drain.ready) == (State.BLOCKED, False)
    drain.worker.blocked = False
    assert (drain.state, drain.ready) == (State.READY, True)


def test_drain_takes_precedence_over_a_blocked_worker(drain: Drain) -> None:
    drain.worker.blocked = True
    drain.begin_drain()
    assert drain.state is State.DRAINING


def test_request_resets_the_time_since_the_last_request(drain: Drain) -> None:
    class Request:
        method, path = "GET", "/api"

        def should_close(self) -> bool:
            return False

    before = drain.page.seconds_since_request
    drain.worker.pre_request(None, Request())
    assert 0 <= drain.page.seconds_since_request < before
    assert 0 <= drain.worker.seconds_since_request < before
