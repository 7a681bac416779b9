"""The load generator wrk, and its report."""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

SERVER_CPU, LOAD_CPU = 1, 0
"""Processors of the server and of its load."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Measured:
    """Figures of one run of wrk."""

    rate: float
    """Requests per second."""
    median: float
    """Median latency, in seconds."""
    p99: float
    """99th percentile of the latency, in seconds."""
    errors: int
    """Number of unsuccessful responses and of socket errors."""


def wrk(
    port: int, path: str = "/api", connections: int = 8, seconds: int = 2, cpu: int | None = None
) -> Measured:
    """Request `path` on kept connections, as fast as responses arrive, for `seconds`."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "--timeout", "10s"]
    if cpu is not None:
        command = ["taskset", "-c", str(cpu), *command]
    done = subprocess.run(  # noqa: S603 - our own words and numbers
        [*command, f"http://127.0.0.1:{port}{path}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
    )
    return parse(done.stdout)


def parse(said: str) -> Measured:
    """Parse the report of wrk. Raises ValueError."""
    return Measured(
        float(_found(r"Requests/sec: +([0-9.]+)", said)[0]),
        _time(_found(r" 50% +([0-9.]+)([a-z]+)", said)),
        _time(_found(r" 99% +([0-9.]+)([a-z]+)", said)),
        sum(
            int(number)
            for line in re.findall(r"(?:Socket errors|Non-2xx or 3xx).*", said)
            for number in re.findall(r"[0-9]+", line.removeprefix("Non-2xx or 3xx"))
        ),
    )


def _found(pattern: str, said: str) -> tuple[str, ...]:
    match = re.search(pattern, said)
    if match is None:
        raise ValueError(f"wrk did not report {pattern!r}:\n{said}")
    return match.groups()


def _time(found: tuple[str, ...]) -> float:
    return float(found[0]) * _UNITS[found[1]]


@contextlib.contextmanager
def open_connections(port: int, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    """Keep `count` connections open that have sent `said` and do not read the response."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 500), hard), hard))
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            one.sendall(said)
            opened.append(one)
            if len(opened) % 100 == 0:
                opened[-1].recv(1)
        yield opened
