"""Latencies on more kept connections than a server has threads, and the connections without any response.

A generator such as wrk reports the latencies of the responses that it got. A server that keeps a thread for
each connection lets the others wait, and the fewer it serves, the lower its latencies are.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kubectl_lossless.measure.report.figures import percentile
from tools.benchmarks.applications import SERVICE
from tools.benchmarks.figures import Row, spread
from tools.benchmarks.load import LOAD_CPU, SERVER_CPU
from tools.benchmarks.servers import (
    GRANIAN_NAME,
    LEADER_NAME,
    STOCK_NAME,
    THREADS,
    UWSGI_NAME,
    WAITRESS_NAME,
    Contender,
    Server,
    contenders,
)

CONNECTIONS = 64
SECONDS = 2.0
"""Duration of the load of one server in one round."""

REQUEST = b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n"
RECEIVE_BYTES = 65536
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class Client:
    """A kept connection that sends a request as soon as it has the response to the last one."""

    socket: socket.socket
    sent_at: float = 0.0
    waits: list[float] = field(default_factory=list)
    """Latencies of the responses, in seconds."""
    _received: bytes = b""

    def send(self, now: float) -> None:
        """Send a request."""
        self.sent_at, self._received = now, b""
        self.socket.sendall(REQUEST)

    def receive(self, now: float) -> bool:
        """Receive a part of a response; return True if it is complete. Raises ConnectionError."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed a connection")
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n") if separator else None
        if length is None or len(body) < int(length[1]):
            return False
        self.waits.append(now - self.sent_at)
        return True


@dataclass(frozen=True)
class Waits:
    """Latencies of one server in one round."""

    rate: float
    """Responses per second."""
    served: int
    """Number of connections with a response."""
    p50: float
    """Median latency of the responses, in seconds."""
    p99: float
    """99th percentile of the latency of the responses, in seconds."""
    longest: float
    """Longest wait, in seconds, also for a response that had not arrived in the end."""


def measure(port: int, connections: int = CONNECTIONS, seconds: float = SECONDS) -> Waits:
    """Request /api on kept connections for `seconds`. Raises ConnectionError if the server closes one."""
    with contextlib.ExitStack() as stack:
        poller = stack.enter_context(selectors.DefaultSelector())
        clients = []
        for _ in range(connections):
            client = Client(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            poller.register(client.socket, selectors.EVENT_READ, client)
            clients.append(client)
        began = time.monotonic()
        for client in clients:
            client.send(time.monotonic())
        while (now := time.monotonic()) < began + seconds:
            for key, _ in poller.select(began + seconds - now):
                now = time.monotonic()
                if key.data.receive(now):
                    key.data.send(now)
        waits = [wait for client in clients for wait in client.waits]
        return Waits(
            len(waits) / (now - began),
            sum(bool(client.waits) for client in clients),
            statistics.median(waits),
            percentile(waits, 0.99),
            max(*waits, *(now - client.sent_at for client in clients)),
        )


def waits(rounds: int) -> list[Row]:
    """Measure latencies on 64 kept connections; ratios are to uWSGI with a thread for each of them."""
    chosen = {each.name: each for each in contenders(SERVICE)}
    base = f"{UWSGI_NAME}, {CONNECTIONS} threads"
    compared: dict[str, tuple[Contender, int]] = {
        name: (chosen[name], THREADS)
        for name in (LEADER_NAME, STOCK_NAME, GRANIAN_NAME, WAITRESS_NAME, UWSGI_NAME)
    } | {base: (chosen[UWSGI_NAME], CONNECTIONS)}
    seen: dict[str, list[Waits]] = {name: [] for name in compared}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(Server(contender, threads=threads, cpu=SERVER_CPU))
            for name, (contender, threads) in compared.items()
        }
        stack.enter_context(_on_processor(LOAD_CPU))
        for number in range(rounds):
            for name, server in servers.items() if number % 2 else reversed(servers.items()):
                seen[name].append(measure(server.port))
    return [_row(name, found, seen[base]) for name, found in seen.items()]


def _row(name: str, found: Sequence[Waits], base: Sequence[Waits]) -> Row:
    return {
        "server": name,
        "responses/s": round(statistics.median(each.rate for each in found)),
        "connections served": min(each.served for each in found),
        "p50 ms": spread(each.p50 * 1e3 for each in found),
        "p99 ms": spread(each.p99 * 1e3 for each in found),
        "p99 to uWSGI's": spread(each.p99 / other.p99 for each, other in zip(found, base, strict=True)),
        "longest wait ms": round(max(each.longest for each in found) * 1e3),
    }


@contextlib.contextmanager
def _on_processor(number: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
