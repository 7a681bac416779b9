"""LeaderWorker's loop, in one process; tests/process runs the worker in a service."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from gunicorn_fast.connection import HeaderLimits
from gunicorn_fast.leader_worker import ACCEPTS, LeaderWorker
from gunicorn_fast.probe_worker import ProbeLaneWorker


@pytest.fixture(params=[LeaderWorker])
def worker(request: pytest.FixtureRequest) -> Iterator[Any]:
    cfg = Config()
    cfg.set("worker_tmp_dir", "/dev/shm")
    worker = request.param(1, os.getpid(), [], None, 30, cfg, Logger(cfg))
    worker.limits = HeaderLimits(cfg)
    yield worker
    worker.tmp.close()


@pytest.mark.parametrize("worker", [ProbeLaneWorker, LeaderWorker], indirect=True)
def test_connection_closed_while_its_event_waits_is_closed_once(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One poll reports a timeout's callback and data that a slow client has sent too late."""
    with contextlib.ExitStack() as stack:
        worker.poller = stack.enter_context(selectors.DefaultSelector())
        worker.method_queue.init()
        stack.callback(worker.method_queue.close)
        worker.poller.register(
            worker.method_queue.fileno(), selectors.EVENT_READ, worker.method_queue.run_callbacks
        )
        worker.method_queue.defer(worker.deadlines.expire)
        waits = [
            (worker.deadlines.idle, worker.on_next_request),
            (worker.deadlines.partial, worker.on_more_headers),
            (worker.deadlines.lingering, worker.on_lingering_readable),
        ]
        for queue, callback in waits:
            client, server = socket.socketpair()
            stack.enter_context(client)
            conn = worker.connection_class(worker.cfg, server, ("", 0), ("", 0))
            worker.nr_conns += 1
            worker.wait(conn, queue, 0.0, callback)
            client.send(b"GET / HTTP/1.1\r\n\r\n")
        with caplog.at_level("ERROR", "gunicorn.error"):
            worker.log.error_log.propagate = True
            if isinstance(worker, LeaderWorker):
                worker.poll(block=False)
            else:
                worker.wait_for_and_dispatch_events(0)
        assert worker.nr_conns == 0
        assert [len(queue) for queue, _ in waits] == [0, 0, 0]
        assert caplog.messages == []


def test_simultaneous_connections_are_accepted_together(worker: LeaderWorker) -> None:
    """Otherwise each waits for a round of the loop, which is as long as all requests served in it."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2 * ACCEPTS) as listener,
        contextlib.ExitStack() as stack,
    ):
        listener.setblocking(False)
        for _ in range(ACCEPTS + 1):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        worker.sockets, worker.poller = [listener], stack.enter_context(selectors.DefaultSelector())
        worker.worker_connections = ACCEPTS + 2
        worker.set_accept_enabled(True)
        worker.accept(listener)
        assert worker.nr_conns == ACCEPTS  # the others are for other workers, or for the next round
        worker.accept(listener)
        assert worker.nr_conns == ACCEPTS + 1
        for conn in list(worker.deadlines.unused):
            conn.close()
