"""Memory that a worker must not keep when it has served."""

from __future__ import annotations

import contextlib
import ctypes
import re
from pathlib import Path

import pytest

from app.settings import WORKER_CLASSES
from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from gunicorn_fast.malloc import ARENAS
from tests.process.clients import Connection
from tests.process.service import Service
from tests.process.test_unfinished import resident

ARENA_BYTES = 64 * 2**20
"""Address space that glibc reserves for each arena but the first, in bytes; it begins at a multiple."""

THREADS = 12


@pytest.mark.long
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="arenas are glibc's")
@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_threads_of_a_worker_share_the_arenas(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=THREADS) as service:
        port, worker = service.ready().port, service.workers[0]
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(Connection(port)) for _ in range(THREADS)]
            for each in slow:
                each.send("/api/sleep/0.3", "Connection: close")
            assert [each.response().status for each in slow] == [200] * THREADS
        assert arenas(worker) < ARENAS  # the first is not counted


def arenas(pid: int) -> int:
    """Count the arenas of a process except the first."""
    begins = re.findall(r"^([0-9a-f]+)-[0-9a-f]+ rw-p 0+ 00:00 0 *$", maps(pid), re.MULTILINE)
    reserved = re.findall(r"^[0-9a-f]+-([0-9a-f]+) ---p 0+ 00:00 0 *$", maps(pid), re.MULTILINE)
    ends = {int(each, 16) for each in reserved}
    return sum(
        begin % ARENA_BYTES == 0 and begin + ARENA_BYTES in ends
        for begin in (int(each, 16) for each in begins)
    )


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.long
@pytest.mark.parametrize("worker_class", [LEADER_WORKER, PROBE_LANE_WORKER])
def test_idle_connection_holds_no_body(worker_class: str) -> None:
    count, size = 300, 60_000
    request = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=2) as service, contextlib.ExitStack() as stack:
        port, worker = service.ready().port, service.workers[0]
        before = resident(worker)
        for _ in range(count):
            kept = stack.enter_context(Connection(port))
            kept.socket.sendall(request)
            response = kept.response()
            assert (response.status, response.closes) == (405, False)
        assert resident(worker) - before < count * size / 3
