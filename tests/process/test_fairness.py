"""Greedy clients beside another client: the count, not the time, of requests served before the other's.

`make bench ARGS=fairness` measures the times and compares them with those of stock gthread.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.process.clients import Connection, get
from tests.process.service import ROOT, Service
from tests.waiting import wait_until

GREEDY = 8
"""Number of greedy connections."""

PIPELINED = 1500
"""Number of requests that each greedy connection sends at once: less than the 64 kB of one receive."""

BUSY = 1000
"""Number of connections with one request each."""

SCRAPES = 200
"""Number of connections that scrape /metrics."""

TRIGGER = 100
"""Number of the greedy request during which the other client's request arrives."""

TURNS = 500
"""Maximum number of greedy requests served before the other's. Two turns of the leader are some 50."""

# The service itself sends the other client's request, in the middle of a greedy one: it arrives at a known
# count, whatever the load of the machine.
APPLICATION = f"""
import socket
from flask import request
from app import create_app

application = create_app()
other = []
served = 0

@application.after_request
def count(response):
    response.headers["X-Served"] = str(served)
    return response

def serve(body):
    global served
    served += 1
    if served == {TRIGGER}:
        other[0].sendall(other[1])
    return body

@application.before_request
def scrape():
    if request.path == "/metrics":
        serve(b"")

@application.get("/quick")
def quick():
    return serve(b"quick")

@application.get("/huge")
def huge():
    return serve(b"x" * 100_000)

@application.get("/arm/<path:path>")
def arm(path):
    client = socket.create_connection(("127.0.0.1", int(request.args["port"])))
    other[:] = client, b"GET /%b HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n" % path.encode()
    return b""

@application.get("/response")
def response():
    other[0].settimeout(60)
    return other[0].recv(65536)
"""


@pytest.fixture
def counting(tmp_path: Path) -> tuple[str, ...]:
    """Return Gunicorn's flags for a service that counts the greedy requests."""
    (tmp_path / "counting.py").write_text(APPLICATION)
    return "--pythonpath", f"{tmp_path},{ROOT}", "counting:application"


class GreedyClients:
    """Connections that send many requests at once and read the responses. A context manager."""

    def __init__(self, port: int, path: str, connections: int, requests: int) -> None:
        self.responses = 0
        self._burst = f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode() * requests
        self._stack = contextlib.ExitStack()
        self._connections = [self._stack.enter_context(Connection(port)) for _ in range(connections)]
        self._threads = [
            threading.Thread(target=self._read, args=(each,), daemon=True) for each in self._connections
        ]

    def __enter__(self) -> GreedyClients:
        for each in self._connections:
            each.socket.sendall(self._burst)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            for each in self._connections:
                with contextlib.suppress(OSError):  # closed by the service already
                    each.socket.shutdown(socket.SHUT_RDWR)  # ends the thread's recv()
            for thread in self._threads:
                thread.join()

    def _read(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):  # the test is over
            while data := connection.socket.recv(1 << 18):
                self.responses += data.count(b"HTTP/1.1 200")


def served_before(
    counting: tuple[str, ...],
    greedy: str,
    path: str,
    connections: int,
    requests: int,
    *,
    worker_class: str = LEADER_WORKER,
) -> int:
    """Count the greedy requests served between the arrival of a request of `path` and its response."""
    with Service(*counting, WORKER_CLASS=worker_class, WORKERS=1) as service:
        port = service.ready().port
        assert get(port, f"/arm/{path}?port={port}").status == 200
        assert get(port, "/api").status == 200  # the leader has polled: the other connection is accepted
        with GreedyClients(port, greedy, connections, requests) as clients:
            wait_until(lambda: clients.responses > TRIGGER, "greedy responses")
            with Connection(port, timeout=60) as connection:
                response = connection.ask("/response").body
    match = re.search(rb"X-Served: ([0-9]+)", response)
    assert match, response
    return int(match[1]) - TRIGGER


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, PROBE_LANE_WORKER])
@pytest.mark.parametrize("path", ["api", "health/ready"])
@pytest.mark.parametrize("greedy", ["/quick", "/huge"])
def test_requests_and_probes_are_served_between_pipelined_requests(
    counting: tuple[str, ...], greedy: str, path: str, worker_class: str
) -> None:
    served = served_before(counting, greedy, path, GREEDY, PIPELINED, worker_class=worker_class)
    print(f"{greedy}: {served} of {GREEDY * PIPELINED} served before /{path}")
    assert served < TURNS


def test_probes_are_served_between_requests_of_busy_connections(counting: tuple[str, ...]) -> None:
    served = served_before(counting, "/quick", "health/ready", BUSY, 20)
    print(f"{served} of {20 * BUSY} served before the probe")
    assert served < TURNS


@pytest.mark.parametrize("path", ["health/ready", "api"])
def test_other_probes_and_requests_are_served_between_scrapes(counting: tuple[str, ...], path: str) -> None:
    served = served_before(counting, "/metrics", path, SCRAPES, 2)
    print(f"{served} of {2 * SCRAPES} scrapes before /{path}")
    assert served < SCRAPES / 2


def test_busy_connections_are_served_in_the_order_of_arrival(counting: tuple[str, ...]) -> None:
    served = served_before(counting, "/quick", "api", BUSY, 3)
    print(f"{served} of {3 * BUSY} served before the other's")
    assert served < BUSY + TURNS


def test_worker_notifies_the_master_between_pipelined_requests(counting: tuple[str, ...]) -> None:
    timeout = 2
    flags = ("--timeout", str(timeout), *counting)
    with Service(*flags, WORKER_CLASS=LEADER_WORKER, WORKERS=1) as service:
        port = service.ready().port
        workers = service.workers
        with GreedyClients(port, "/huge", 40, PIPELINED) as clients:
            # The duration of the load, not a wait for a condition: the worker always has a next request.
            end = time.monotonic() + 2.5 * timeout
            while time.monotonic() < end:
                time.sleep(0.05)
                assert service.workers == workers, service.log
            assert clients.responses < 40 * PIPELINED  # otherwise the worker was idle
        assert service.said("WORKER TIMEOUT") == 0
