"""LeaderWorker's loop, in one process; tests/process has the worker at work."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from gunicorn_fast.connection import HeaderLimits
from gunicorn_fast.leader_worker import ACCEPTS, LeaderWorker


@pytest.fixture
def worker() -> Iterator[LeaderWorker]:
    cfg = Config()
    cfg.set("worker_tmp_dir", "/dev/shm")
    worker = LeaderWorker(1, os.getpid(), [], None, 30, cfg, Logger(cfg))
    worker.limits = HeaderLimits(cfg)
    yield worker
    worker.tmp.close()


def test_simultaneous_connections_are_accepted_together(worker: LeaderWorker) -> None:
    """Else each waits for a round of the loop, and a round is as long as all that is served in it."""
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
        for conn in list(worker.unused_conns):
            conn.close()
