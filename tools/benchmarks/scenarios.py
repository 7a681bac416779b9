"""Scenarios of the benchmarks. Each returns rows; compared servers run side by side and in turn."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import psutil

from kubectl_lossless.measure.report.figures import percentile
from tools.benchmarks.applications import APPLICATIONS, Application
from tools.benchmarks.curves import CURVES
from tools.benchmarks.figures import Row, Spread, slope_row, spread
from tools.benchmarks.instructions import instructions
from tools.benchmarks.load import LOAD_CPU, SERVER_CPU, open_connections, wrk
from tools.benchmarks.servers import (
    GRANIAN_NAME,
    GTHREAD,
    LANE,
    LEADER,
    STOCK,
    STOCK_NAME,
    Contender,
    Server,
    contenders,
    on_each_python,
)
from tools.benchmarks.waits import waits

GREEDY = {
    "64 busy connections": ("/api", 64, 1),
    "1,000 busy connections": ("/api", 1000, 1),
    "8 connections, 1,000 requests pipelined": ("/api", 8, 1000),
    "8 connections, 1,000 requests of the page pipelined": ("/", 8, 1000),
}
"""Path, number of connections, and number of requests that each connection sends at once."""

PIPELINE = """
init = function(args)
    local requests = {}
    for number = 1, tonumber(args[1]) do requests[number] = wrk.format() end
    burst = table.concat(requests)
end
request = function() return burst end
"""
"""wrk's script for pipelining."""

SAMPLERS = 8
"""Number of other clients, with a connection each."""

SAMPLED = 2.0
"""Duration for which the other clients send requests, in seconds."""


CONNECTIONS = 8, 64

WARM_UP = 3
"""Duration of the load before a Python is measured, in seconds: a compiler needs some."""

IDLE = 5000
LAZY = 20
STREAMS = 500
REQUEST = b"GET /api HTTP/1.1\r\nHost: a\r\n%b\r\n"

PROBE_TIMEOUT = 10.0
"""Timeout after which a probe counts as unanswered, in seconds; no kubelet waits that long."""

LOAD_AFTER_SIGTERM = 2, 4, 8
"""Durations for which clients continue after SIGTERM, as long as endpoints take to propagate, in seconds."""


RUNTIME_INTERVAL = 0.05
"""Interval between readings of the processor time of a server that stops, in seconds."""


def throughput(rounds: int) -> list[Row]:
    """Measure requests per second and their cost: each server and application, 8 and 64 connections.

    Ratios are to Gunicorn's gthread with the same application in the same round.
    """
    return [row for application in APPLICATIONS for row in _throughput(application, rounds)]


def _throughput(application: Application, rounds: int) -> Iterator[Row]:
    compared = contenders(application)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(each, cpu=SERVER_CPU)) for each in compared]
        for connections in CONNECTIONS:
            seen: dict[str, list[Cost]] = {each.name: [] for each in compared}
            for number in range(rounds):
                # There and back, so that no server always follows the same one.
                for server in servers if number % 2 else reversed(servers):
                    seen[server.contender.name].append(_cost_of(server, connections))
            base, granian = seen[STOCK_NAME], seen[GRANIAN_NAME]
            for name, costs in seen.items():
                yield {
                    "application": application.name,
                    "server": name,
                    "connections": connections,
                    "requests/s": round(statistics.median(each.rate for each in costs)),
                    "ratio": _ratio(costs, base, "rate"),
                    "CPU us/request": round(statistics.median(each.processor for each in costs) * 1e6),
                    "CPU ratio": _ratio(costs, base, "processor"),
                    "CPU to granian's": _ratio(costs, granian, "processor"),
                    "errors": sum(each.errors for each in costs),
                }


class Cost(NamedTuple):
    """Cost of a second of load for a server."""

    rate: float
    """Requests per second."""
    processor: float
    """Processor time of a request, all the server's processes together, in seconds."""
    errors: int


def _ratio(costs: Sequence[Cost], base: Sequence[Cost], figure: str) -> Spread:
    return spread(
        getattr(each, figure) / getattr(other, figure) for each, other in zip(costs, base, strict=True)
    )


def _cost_of(server: Server, connections: int) -> Cost:
    before = server.processor_seconds()
    measured = wrk(server.port, connections=connections, seconds=1, cpu=LOAD_CPU)
    processor = (server.processor_seconds() - before) / measured.rate
    return Cost(measured.rate, processor, measured.errors)


def pythons(rounds: int) -> list[Row]:
    """Measure the service on each Python set up here, with its JIT too; ratios are to the first one."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(each, cpu=SERVER_CPU)) for each in on_each_python(LEADER)]
        for server in servers:
            wrk(server.port, connections=8, seconds=WARM_UP, cpu=LOAD_CPU)
        seen: dict[str, list[Cost]] = {server.contender.name: [] for server in servers}
        for number in range(rounds):
            for server in servers if number % 2 else reversed(servers):
                seen[server.contender.name].append(_cost_of(server, 8))
        return [
            {
                "Python": name,
                "CPU us/request": round(statistics.median(each.processor for each in costs) * 1e6),
                "CPU ratio": _ratio(costs, next(iter(seen.values())), "processor"),
                "PSS MB": round(server.pss(), 1),
                "start s": round(server.start_seconds, 2),
            }
            for server, (name, costs) in zip(servers, seen.items(), strict=True)
        ]


def hooks(rounds: int) -> list[Row]:
    """Measure the processor time that the drain's two hooks add to a request, in microseconds."""
    from gunicorn.config import Config
    from gunicorn.http.message import Request
    from gunicorn.http.unreader import IterUnreader

    from app.settings import PROBES
    from gunicorn_drain import Drain, DrainPolicy

    drain = Drain()
    drain.configure(DrainPolicy(), PROBES)
    request = Request(Config(), IterUnreader([b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n"]), ("127.0.0.1", 1))

    def with_hooks() -> None:
        drain.worker.pre_request(None, request)
        request.should_close()
        drain.worker.post_request(None, request)

    costs = [_cost(with_hooks) - _cost(request.should_close) for _ in range(5 * rounds)]
    return [{"hooks us/request": spread(costs)}]


def _cost(action: Callable[[], object], times: int = 20_000) -> float:
    began = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - began) / times * 1e6


def idle(rounds: int) -> list[Row]:
    """Measure throughput with 5,000 idle connections, as a ratio to that without them."""
    return [_with_and_without(each, rounds, IDLE, REQUEST % b"", "idle") for each in (LEADER, LANE, STOCK)]


def streams(rounds: int) -> list[Row]:
    """Measure throughput during 500 event streams with an event per second, as a ratio to that without."""
    request = b"GET /api/events HTTP/1.1\r\nHost: a\r\n\r\n"
    return [_with_and_without(each, rounds, STREAMS, request, "streams") for each in (LEADER, LANE)]


def lazy(rounds: int) -> list[Row]:
    """Measure throughput during 20 clients that ignore `Connection: close`, as a ratio to that without."""
    return [
        _with_and_without(each, rounds, LAZY, REQUEST % b"Connection: close\r\n", "lazy")
        for each in (LEADER, LANE, STOCK)
    ]


def _with_and_without(contender: Contender, rounds: int, count: int, request: bytes, kind: str) -> Row:
    rates, p99s = [], []
    with Server(contender, cpu=SERVER_CPU) as server:
        for _ in range(rounds):
            without = wrk(server.port, connections=8, seconds=1, cpu=LOAD_CPU)
            with open_connections(server.port, count, request):
                beside = wrk(server.port, connections=8, seconds=1, cpu=LOAD_CPU)
            rates.append(beside.rate / without.rate)
            if beside.rate > 0:
                p99s.append(beside.p99 / without.p99)
    return {
        "server": contender.name,
        kind: count,
        "rate ratio": spread(rates),
        "p99 ratio": spread(p99s) if p99s else "no response",
    }


def probes(rounds: int) -> list[Row]:
    """Measure the time of /health while 50 and 500 requests sleep and 8 threads serve them."""
    rows = []
    for contender in (LEADER, LANE, STOCK):
        for sleeping in (50, 500):
            waits, unanswered = [], 0
            with (
                Server(contender, threads=8, cpu=SERVER_CPU) as server,
                _sleeping(server.port, sleeping),
            ):
                until = time.monotonic() + 1.5 * rounds
                while time.monotonic() < until:
                    began = time.monotonic()
                    try:
                        server.get("/health", timeout=PROBE_TIMEOUT)
                    except TimeoutError:
                        unanswered += 1
                    waits.append(time.monotonic() - began)
                    time.sleep(0.01)
            rows.append(
                {
                    "server": contender.name,
                    "sleeping": sleeping,
                    "probes": len(waits),
                    "unanswered": unanswered,
                    "median ms": round(statistics.median(waits) * 1e3, 2),
                    "p99 ms": round(percentile(waits, 0.99) * 1e3, 2),
                    "longest ms": round(max(waits) * 1e3, 2),
                }
            )
    return rows


@contextlib.contextmanager
def _sleeping(port: int, count: int) -> Iterator[None]:
    said = b"GET /api/sleep/5.0 HTTP/1.1\r\nHost: a\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)).sendall(said)
        yield


def fairness(rounds: int) -> list[Row]:
    """Measure the p99 of other clients during greedy load, as a ratio to gthread, same application."""
    rows = []
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(each, cpu=SERVER_CPU)) for each in (LEADER, GTHREAD)]
        for name, load in GREEDY.items():
            seen: dict[str, list[float]] = {server.contender.name: [] for server in servers}
            for number in range(rounds):
                for server in servers if number % 2 else reversed(servers):
                    seen[server.contender.name].append(_p99_beside(server.port, *load))
            ratio = spread(
                ours / stock for ours, stock in zip(seen[LEADER.name], seen[GTHREAD.name], strict=True)
            )
            rows.append(
                {
                    "greedy clients": name,
                    "leader p99 ms": round(statistics.median(seen[LEADER.name]) * 1e3, 1),
                    "gthread p99 ms": round(statistics.median(seen[GTHREAD.name]) * 1e3, 1),
                    "p99 ratio": ratio,
                }
            )
    return rows


def _p99_beside(port: int, path: str, connections: int, pipelined: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(PIPELINE)
        script.flush()
        command = ["taskset", "-c", str(LOAD_CPU), "wrk", "-t", "1", "-c", str(connections)]
        command += ["-d", f"{SAMPLED + 1:g}s", "--timeout", "30s", "-s", script.name]
        load = subprocess.Popen(  # noqa: S603 - our own words and numbers
            [*command, f"http://127.0.0.1:{port}{path}", "--", str(pipelined)], stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(0.5)  # wrk does not report its start
            with ThreadPoolExecutor(SAMPLERS) as pool:
                waits = sorted(chain.from_iterable(pool.map(_waits, [port] * SAMPLERS)))
        finally:
            load.terminate()
            load.wait()
    return waits[int(len(waits) * 0.99)]


def _waits(port: int) -> list[float]:
    waits, until = [], time.monotonic() + SAMPLED
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT)
    with contextlib.closing(connection):
        while (began := time.monotonic()) < until:
            connection.request("GET", "/api")
            connection.getresponse().read()
            waits.append(time.monotonic() - began)
            time.sleep(0.005)
    return waits


def stop(rounds: int) -> list[Row]:
    """Measure the seconds from SIGTERM to exit with default settings: open connections, and full load."""
    rows = []
    for count in (0, 100, 1000, IDLE):
        took, processors = [], []
        for _ in range(max(1, rounds // 3)):
            with Server(LEADER) as server, open_connections(server.port, count, REQUEST % b""):
                seconds, processor = _stop_costs(server)
            took.append(seconds)
            processors.append(processor)
        rows.append(_stopped(took, connections=count) | {"CPU s": spread(processors)})
    names = {"server": LEADER.name, "full load continues for s": 0, "errors": 0}
    rows.append(slope_row(rows, "open connections", 1000, names=names))
    for lasting in LOAD_AFTER_SIGTERM:
        took, loads = [], []
        for _ in range(max(1, rounds // 3)):
            with Server(LEADER, cpu=SERVER_CPU) as server, ThreadPoolExecutor(1) as pool:
                load = pool.submit(wrk, server.port, connections=64, seconds=1 + lasting, cpu=LOAD_CPU)
                time.sleep(1)  # wrk does not report its start
                took.append(server.stop(signal.SIGTERM))
                loads.append(load.result())
        errors = sum(each.errors for each in loads)
        busy = _stopped(took, connections=64, lasting=lasting, errors=errors)
        rows.append(busy | {"CPU s": "serves the load"})
    return rows


def _stop_costs(server: Server) -> tuple[float, float]:
    """Terminate the server; return the duration and its processor time meanwhile, in seconds."""
    highest = before = server.runtime()
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(server.stop, signal.SIGTERM)
        while not stopping.done():
            with contextlib.suppress(psutil.Error, OSError):  # a process has exited meanwhile
                highest = max(highest, server.runtime())
            time.sleep(RUNTIME_INTERVAL)
    return stopping.result(), highest - before


def _stopped(took: list[float], connections: int, lasting: int = 0, errors: int = 0) -> Row:
    return {
        "server": LEADER.name,
        "open connections": connections,
        "full load continues for s": lasting,
        "exit s": spread(took),
        "errors": errors,
    }


SCENARIOS: dict[str, Callable[[int], list[Row]]] = {
    each.__name__: each
    for each in (
        throughput,
        waits,
        instructions,
        pythons,
        hooks,
        idle,
        lazy,
        streams,
        probes,
        fairness,
        stop,
        *CURVES,
    )
}
