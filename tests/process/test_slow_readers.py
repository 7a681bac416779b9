"""Clients that do not read their responses, or read them slowly."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import WORKER_CLASSES
from gunicorn_drain.send_timeout import BLOCKED_AFTER
from gunicorn_fast import LEADER_WORKER
from tests.process.clients import Connection, Lost, get
from tests.process.service import QUICK, ROOT, Service
from tests.waiting import wait_until

THREADS = 2

STUCK = 3
"""Number of clients that do not read: more than threads."""

TIMEOUT = 4.0
"""Value of SEND_TIMEOUT, in seconds."""

RECEIVE_BYTES = 4096
"""Size of a client's receive buffer, in bytes: the service soon observes each read of a small buffer."""

CLOSED = "Closed a connection of 127.0.0.1"

SIZE = 8_000_000
"""Size of the responses, in bytes: more than the kernel buffers."""

APPLICATION = f"""
import tempfile
from flask import Response, send_file
from app import create_app

application = create_app()

@application.get("/bytes")
def whole():
    return b"x" * {SIZE}

@application.get("/stream")
def stream():
    return Response(b"x" * 10_000 for _ in range({SIZE} // 10_000))

@application.get("/file")
def file():
    kept = tempfile.TemporaryFile()
    kept.truncate({SIZE})
    return send_file(kept, mimetype="application/octet-stream")
"""

PIPELINED = "pipelined"
"""Requests of the page, sent at once, whose responses together exceed the buffers."""


@pytest.fixture
def large(tmp_path: Path) -> tuple[str, ...]:
    """Return Gunicorn's flags for a service with large responses."""
    (tmp_path / "large.py").write_text(APPLICATION)
    return "--pythonpath", f"{tmp_path},{ROOT}", "large:application"


def connect(port: int) -> Connection:
    """Open a connection with a small receive buffer."""
    connection = Connection.__new__(Connection)
    connection.socket = socket.socket()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.socket.settimeout(60)
    connection.socket.connect(("127.0.0.1", port))
    connection._buffer = b""
    return connection


def start(worker_class: str, *flags: str, send_timeout: float = TIMEOUT) -> Service:
    """Start one worker with THREADS threads."""
    return Service(*flags, WORKER_CLASS=worker_class, WORKERS=1, THREADS=THREADS, SEND_TIMEOUT=send_timeout)


@contextlib.contextmanager
def stuck_clients(port: int, path: str, count: int = STUCK) -> Iterator[list[Connection]]:
    """Yield clients that have sent a request, or many, and do not read."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(count)]
        for each in clients:
            if path == PIPELINED:
                each.socket.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 1000)
            else:
                each.send(path)
        yield clients


def stalled(service: Service) -> float:
    """Return the number of connections closed for a stalled response."""
    return service.metric("http_responses_stalled_total")


@pytest.mark.long
@pytest.mark.parametrize(
    ("worker_class", "path"),
    [
        *((each, "/bytes") for each in WORKER_CLASSES),
        *((LEADER_WORKER, each) for each in ("/stream", "/file", PIPELINED)),
        ("gevent", "/file"),
        ("gthread", PIPELINED),
    ],
)
def test_clients_that_do_not_read_are_closed(worker_class: str, path: str, large: tuple[str, ...]) -> None:
    with start(worker_class, *large) as service:
        port = service.ready().port
        with stuck_clients(port, path) as clients:
            # In a class with threads, the last stuck clients wait for the first ones.
            began = time.monotonic()
            assert get(port, "/api").status == 200
            waited = time.monotonic() - began
            wait_until(lambda: stalled(service) == len(clients), "every stuck client closed", 6 * TIMEOUT)
        print(f"{worker_class} {path}: /api waited {waited:.1f} s")
        assert service.said(CLOSED) == 1  # one line a minute
        assert service.said("Traceback") == 0


@pytest.mark.long
@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_slow_client_is_served(worker_class: str, large: tuple[str, ...]) -> None:
    """Read 8 KB/s for three times SEND_TIMEOUT, and then the rest at once."""
    with start(worker_class, *large) as service:
        port = service.ready().port
        with connect(port) as client:
            client.send("/bytes")
            end = time.monotonic() + 3 * TIMEOUT
            received = 0
            while time.monotonic() < end:
                received += len(client.socket.recv(2048))
                time.sleep(0.25)
            assert 0 < received < SIZE / 2
            while received < SIZE and (data := client.socket.recv(1 << 20)):
                received += len(data)
        assert received >= SIZE
        assert stalled(service) == 0


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_response_that_is_computed_slowly_is_sent(worker_class: str) -> None:
    with start(worker_class, send_timeout=1) as service, Connection(service.ready().port) as client:
        assert client.ask("/api/sleep/4").status == 200
        assert stalled(service) == 0


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_drain_does_not_wait_for_clients_that_do_not_read(worker_class: str, large: tuple[str, ...]) -> None:
    stuck = 1 if worker_class == "sync" else THREADS
    settings: dict[str, Any] = {"WORKER_CLASS": worker_class, "WORKERS": 1, "THREADS": THREADS}
    settings |= {**QUICK, "DRAIN_MAX": 12}
    with Service(*large, **settings) as service:
        port = service.ready().port
        with stuck_clients(port, "/bytes", stuck) as clients:
            assert all(select.select([each.socket], [], [], 10)[0] for each in clients)  # being sent
            service.signal(signal.SIGTERM)
            service.wait()
        assert service.said("Drain ended: quiet") == 1
        assert service.said(CLOSED) >= 1


@pytest.mark.long
@pytest.mark.parametrize("worker_class", [LEADER_WORKER, "gthread"])
def test_service_without_a_free_thread_is_not_ready(worker_class: str) -> None:
    settings: dict[str, Any] = {"WORKER_CLASS": worker_class, "WORKERS": 2, "THREADS": THREADS}
    with Service(**settings) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        clients = [stack.enter_context(Connection(port, 60)) for _ in range(8 * THREADS)]
        for each in clients:
            each.send(f"/api/sleep/{BLOCKED_AFTER + 8:g}")

        def state() -> bytes | None:
            with contextlib.suppress(Lost, OSError):
                return service.get("/health/ready").body
            return None

        if worker_class == LEADER_WORKER:  # in gthread the probes wait, too
            wait_until(lambda: state() == b'{"state": "blocked"}\n', "503")
            assert service.get("/health/ready").status == 503
            assert service.get("/health").status == 200
            assert service.metric("lifecycle_ready") == 0
        wait_until(lambda: service.said("Not ready: ") >= 1, "the reason in the log")
        for each in clients:
            each.close()
        wait_until(lambda: service.said("No longer blocked") >= 1, "the end in the log", 60)


@pytest.mark.long
def test_busy_service_that_makes_progress_stays_ready() -> None:
    with Service(WORKER_CLASS=LEADER_WORKER, WORKERS=1, THREADS=THREADS) as service:
        port = service.ready().port
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(Connection(port, 60)).send("/api/sleep/3")
            end = time.monotonic() + BLOCKED_AFTER + 4  # 18 s of work wait
            while time.monotonic() < end:
                assert service.get("/health/ready").status == 200
                time.sleep(0.2)
            assert service.metric("lifecycle_requests_in_flight") == THREADS
        assert service.said("Not ready: ") == 0
