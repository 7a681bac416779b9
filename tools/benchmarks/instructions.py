"""Instructions for a request, which valgrind's callgrind counts: other programs hardly change them."""

from __future__ import annotations

import contextlib
import http.client
import re
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tools.benchmarks import slow_clock
from tools.benchmarks.applications import SERVICE
from tools.benchmarks.figures import Row
from tools.benchmarks.servers import FLOOR_NAME, GRANIAN_NAME, LEADER_NAME, Contender, Server, contenders

CONNECTIONS = 8

WARM_UP = 10
"""Number of requests on each connection that are not counted: caches are filled by then."""

COUNTED = 200
"""Number of requests on each connection that are counted."""

TIMEOUT = 60.0
"""Timeout for a response, in seconds."""

ENVIRONMENT = {
    "PYTHONPATH": str(Path(slow_clock.__file__).parent),
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "",  # no module is compiled while instructions are counted
    "WORKER_TIMEOUT": "3600",
}
"""Environment of the servers, so that each request is the same."""


def instructions(_rounds: int) -> list[Row]:
    """Count the instructions outside the kernel for a request to this service, 8 kept connections."""
    chosen = {each.name: each for each in contenders(SERVICE)}
    counts = {name: _for_request(chosen[name]) for name in (LEADER_NAME, GRANIAN_NAME, FLOOR_NAME)}
    return [
        {
            "server": name,
            "instructions/request": round(count),
            "to granian's": round(count / counts[GRANIAN_NAME], 3),
        }
        for name, count in counts.items()
    ]


def _for_request(contender: Contender) -> float:
    """Count twice, so that start and end do not count."""
    contender = replace(contender, environment={**contender.environment, **ENVIRONMENT})
    with Server(contender):  # Python compiles every module
        pass
    few, many = (_of_processes(contender, count) for count in (WARM_UP, WARM_UP + COUNTED))
    return (many - few) / (COUNTED * CONNECTIONS)


def _of_processes(contender: Contender, requests: int) -> int:
    """Count the instructions of a server that responds to `requests` on each connection."""
    with tempfile.TemporaryDirectory() as directory:
        callgrind = ("valgrind", "--tool=callgrind", "--trace-children=yes", "--fair-sched=yes")
        counted = replace(contender, under=(*callgrind, f"--callgrind-out-file={directory}/%p"))
        with Server(counted) as server, ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(_request, [server.port] * CONNECTIONS, [requests] * CONNECTIONS))
        return total(each.read_text() for each in Path(directory).iterdir())


def total(profiles: Iterable[str]) -> int:
    """Add up the instructions of callgrind's profiles, one for each process. ValueError without any."""
    counts = [int(count) for each in profiles for count in re.findall(r"^totals: (\d+)$", each, re.MULTILINE)]
    if not counts:
        raise ValueError("callgrind wrote no profile")
    return sum(counts)


def _request(port: int, count: int) -> None:
    """Request /api `count` times on one connection."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        for _ in range(count):
            connection.putrequest("GET", "/api", skip_accept_encoding=True)  # as short as wrk's
            connection.endheaders()
            response = connection.getresponse()
            if not response.read() or response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"the response is {response.status}")
