"""leader/worker.py: who has the loop. tests/process has the worker at work."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from app.worker import HeaderLimits
from leader.worker import ACCEPTS, LeaderWorker, Member, TeamConnection


class Window:
    """A lock that notes what others may see each time it is given back."""

    def __init__(self, worker: LeaderWorker) -> None:
        self.lock, self.worker = threading.Lock(), worker
        self.seen: list[tuple[TeamConnection | None, Member | None]] = []

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.seen.append((self.worker.serving, self.worker.leader))
        self.lock.release()


@pytest.fixture
def worker() -> Iterator[LeaderWorker]:
    cfg = Config()
    cfg.set("worker_tmp_dir", "/dev/shm")
    worker = LeaderWorker(1, os.getpid(), [], None, 30, cfg, Logger(cfg))
    worker.limits = HeaderLimits(cfg)
    yield worker
    worker.tmp.close()


def test_a_relieved_leader_never_sees_itself_leading(worker: LeaderWorker) -> None:
    """Else it goes on with the loop while the next one begins, and a connection is served twice."""
    relieved, successor = Member(worker, 1), Member(worker, 2)
    window: Any = Window(worker)
    worker.team = window
    worker.leader, worker.followers, worker.members = relieved, [successor], 2
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker.serving = TeamConnection(worker.cfg, ours, "", "")
        worker.relieve(worker.served)
    assert window.seen
    assert all(leader is successor for serving, leader in window.seen if serving is None)
    assert worker.leader is successor
    assert successor.call.acquire(blocking=False)  # it was called


def test_connections_that_come_together_are_taken_in_together(worker: LeaderWorker) -> None:
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


def test_a_signal_that_takes_longer_than_the_wait_only_ends_it(worker: LeaderWorker) -> None:
    """Else the main thread waits for ever: no sign of life, no more signals heard, no stop."""
    interrupted = threading.Event()

    def slow(*_: object) -> None:
        interrupted.set()
        time.sleep(0.2)  # not a wait for something: how long it takes

    def others() -> None:
        time.sleep(0.02)  # into the wait
        os.kill(os.getpid(), signal.SIGUSR1)
        over.wait(10)
        worker.ring()  # so that a failure is no hang

    over, thread = threading.Event(), threading.Thread(target=others)
    before = signal.signal(signal.SIGUSR1, slow)
    signal.siginterrupt(signal.SIGUSR1, False)  # as Gunicorn does with SIGTERM
    try:
        thread.start()
        began = time.monotonic()
        while not interrupted.is_set():
            worker.hear_bell(0.1)
        took = time.monotonic() - began
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert took < 5
