"""leader/worker.py: who has the loop. tests/process has the worker at work."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from leader.worker import LeaderWorker, Member, TeamConnection


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


def test_a_relieved_leader_never_sees_itself_leading() -> None:
    """Else it goes on with the loop while the next one begins, and a connection is served twice."""
    cfg = Config()
    cfg.set("worker_tmp_dir", "/dev/shm")
    worker = LeaderWorker(1, os.getpid(), [], None, 30, cfg, Logger(cfg))
    relieved, successor = Member(worker, 1), Member(worker, 2)
    window: Any = Window(worker)
    worker.team = window
    worker.leader, worker.followers, worker.members = relieved, [successor], 2
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker.serving = TeamConnection(cfg, ours, "", "")
        worker.relieve(worker.served)
    assert window.seen
    assert all(leader is successor for serving, leader in window.seen if serving is None)
    assert worker.leader is successor
    assert successor.call.acquire(blocking=False)  # it was called
    worker.tmp.close()
