"""gunicorn_drain.drain, master and worker, without Gunicorn. The sample's process tests send real signals."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest

from gunicorn_drain import Drain, DrainPolicy, Probe, State, StreamCounter


class Request:
    """A request as Gunicorn passes it to the hooks: method, path, headers and should_close()."""

    def __init__(
        self, path: str = "/", headers: list[tuple[str, str]] | None = None, method: str = "GET"
    ) -> None:
        self.path, self.headers, self.must_close = path, headers or [], False
        self.method = method

    def force_close(self) -> None:
        self.must_close = True

    def should_close(self) -> bool:
        return self.must_close


WORKER: Any = None  # the hooks do not use it


@pytest.fixture
def drain() -> Drain:
    return Drain()


def test_requests_are_counted_and_probes_are_not(drain: Drain) -> None:
    drain.configure(DrainPolicy(), ["/health", Probe("/version", header="X-Probe")])
    clients = [Request("/"), Request("/version"), Request("/health/more"), Request("/health", method="POST")]
    platform = [Request("/health"), Request("/version", [("X-PROBE", "1")])]
    for each in clients + platform:
        drain.worker.pre_request(WORKER, each)
    assert drain.in_flight == len(clients)
    drain.begin_drain()
    for each in clients + platform:
        drain.worker.post_request(WORKER, each)
    assert drain.in_flight == 0
    assert drain.responses_while_draining == len(clients)


def test_request_that_began_before_the_drain_announces_the_close(drain: Drain) -> None:
    request = Request()
    drain.worker.pre_request(WORKER, request)
    drain.begin_drain()
    assert request.should_close()  # called when Gunicorn writes the headers
    assert request.must_close


def test_connection_announced_as_kept_is_kept(drain: Drain) -> None:
    request = Request()
    drain.worker.pre_request(WORKER, request)
    assert not request.should_close()  # the headers have keep-alive
    drain.begin_drain()
    assert not request.should_close()  # called again after the body


def test_disabled_drain_announces_nothing(drain: Drain) -> None:
    drain.configure(None)
    request = Request()
    drain.worker.pre_request(WORKER, request)
    drain.begin_drain()
    assert not request.should_close()


class ClosedRequest(Request):
    """A request that takes no attributes, as the one of Gunicorn's ASGI worker."""

    @property
    def should_close(self) -> bool:  # type: ignore[override]
        return False


def test_request_does_not_fail_because_of_a_hook(drain: Drain, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            request = ClosedRequest()
            drain.worker.pre_request(WORKER, request)
            drain.worker.post_request(WORKER, request)
    assert [record.getMessage() for record in caplog.records] == [
        "The drain's pre_request hook failed; requests are served without it"
    ]


def test_workers_share_one_page_and_exited_workers_leave_no_count(drain: Drain) -> None:
    server = SimpleNamespace(WORKERS={}, log=None)
    worker = SimpleNamespace(handle_exit=None, notify=lambda: None)
    drain.master.pre_fork(server, worker)
    server.WORKERS[1] = worker
    drain.begin_drain()
    pid = os.fork()
    if pid == 0:  # a worker that is killed in the middle of its second request
        try:
            drain.configure(None)
            drain.worker.post_fork(server, worker)
            drain.worker.post_worker_init(worker)
            done = Request()
            drain.worker.pre_request(worker, done)
            drain.worker.post_request(worker, done)
            drain.worker.pre_request(worker, Request())
        finally:  # an exception must not let two processes run the other tests
            os._exit(0)
    os.waitpid(pid, 0)
    assert (drain.in_flight, drain.responses_while_draining) == (1, 1)
    assert drain.status().in_flight == 1
    assert 0 < drain.last_arrival_seconds <= drain.drain_seconds
    assert drain.aborted == 0
    arrived = drain.last_arrival_seconds
    drain.master.child_exit(server, worker)
    assert (drain.in_flight, drain.responses_while_draining, drain.aborted) == (0, 1, 1)
    assert drain.last_arrival_seconds == arrived  # the figure by which DRAIN_MIN is chosen
    assert drain.status().quiet < drain.status().elapsed


def test_request_before_the_drain_does_not_count_as_arrival(drain: Drain) -> None:
    drain.worker.pre_request(WORKER, Request())
    drain.begin_drain()
    assert drain.last_arrival_seconds == 0
    drain.worker.pre_request(WORKER, Request())
    assert drain.last_arrival_seconds > 0


def test_states_follow_in_order(drain: Drain) -> None:
    assert (drain.state, drain.ready) == (State.STARTING, False)
    drain.mark_ready()
    assert (drain.state, drain.ready) == (State.READY, True)
    drain.begin_drain()
    assert (drain.state, drain.ready) == (State.DRAINING, False)
    drain.mark_ready()  # a worker that boots in the middle of a drain
    assert (drain.state, drain.ready) == (State.DRAINING, False)


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
