"""Scenarios that show the growth of a cost: each returns the points of curves, and a row with their slopes.

Most figures are processor time, which others on the same machine change little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from app.settings import VERSION_PROBE_HEADER
from gunicorn_drain.prometheus import VARIABLE
from tools.benchmarks.figures import Row, slope_row, spread
from tools.benchmarks.growth import slope
from tools.benchmarks.load import open_connections, wrk
from tools.benchmarks.servers import LANE, LEADER, STOCK, STOCK_PRELOADED, Contender, Server

WORKERS = 1, 2, 4, 8
SERIES = 10, 100, 1000
IDLE = 0, 1000, 5000, 10_000

PODS_WORKERS = 2
"""Number of workers of a pod, the service's default."""

POD = {"GRACEFUL_TIMEOUT": "65", "LOG_FORMAT": "json"}
"""Settings of a pod of v7 and its image that differ from the defaults."""

PROBES: tuple[tuple[str, dict[str, str], int], ...] = (
    ("/health", {}, 10),
    ("/api/nowater/version", {VERSION_PROBE_HEADER: "Awesome"}, 2),
)
"""v7's probes: path, headers and interval in seconds. The startup probe ends with the start."""

SETTLE = 3.0
"""Time after a load before an idle service is measured, in seconds."""

IDLE_FOR = 20.0
"""Duration for which idle connections are measured, in seconds."""

SCRAPED_SECONDS = 0.3
"""Minimum processor time of the scrapes of one measurement, in seconds."""


def memory(rounds: int) -> list[Row]:
    """Proportional set size after some load, and the start until the first response, by number of workers."""
    rows = []
    for contender in (LEADER, LANE, STOCK, STOCK_PRELOADED):
        points: list[Row] = []
        for workers in WORKERS:
            sizes, starts, processors = [], [], []
            for _ in range(rounds):
                with Server(contender, workers=workers) as server:
                    processors.append(server.processor_seconds())
                    starts.append(server.start_seconds)
                    wrk(server.port, connections=32, seconds=1)
                    sizes.append(server.pss())
            points.append(
                {
                    "server": contender.name,
                    "workers": workers,
                    "PSS MB": spread(sizes),
                    "start s": spread(starts),
                    "start CPU s": spread(processors),
                }
            )
        rows += [*points, slope_row(points, "workers", names={"server": contender.name})]
    return rows


def pod(rounds: int) -> list[Row]:
    """Processor time of an idle pod with and without v7's probes: a round is a minute."""
    contender = replace(LEADER, environment={**LEADER.environment, **POD})
    rows: list[Row] = []
    with (
        Server(contender, workers=PODS_WORKERS) as probed,
        Server(contender, workers=PODS_WORKERS) as alone,
    ):
        time.sleep(SETTLE)
        began = time.monotonic()
        due = dict.fromkeys(range(len(PROBES)), began)
        for minute in range(1, rounds + 1):
            before = probed.runtime(), alone.runtime()
            while (now := time.monotonic()) < began + 60 * minute:
                for number, (path, headers, interval) in enumerate(PROBES):
                    if now >= due[number]:
                        probed.get(path, headers=headers)
                        due[number] += interval
                time.sleep(0.1)
            rows.append(
                {
                    "minute": minute,
                    "CPU ms": round((probed.runtime() - before[0]) * 1e3, 1),
                    "without probes": round((alone.runtime() - before[1]) * 1e3, 1),
                    "PSS MB": round(probed.pss(), 2),
                }
            )
    return [*rows, slope_row(rows, "minute", names={})] if rounds > 1 else rows


def scrape(rounds: int) -> list[Row]:
    """Processor time of /metrics in ms, by number of workers and of series that each of them has."""
    reference = "tools.benchmarks.applications.many_series:app"
    rows: list[Row] = []
    for workers in WORKERS:
        row: Row = {"workers": workers}
        for series in SERIES:
            environment = {**LEADER.environment, VARIABLE: "{metrics}", "SERIES": f"{series}"}
            contender = replace(LEADER, command=(*LEADER.command, reference), environment=environment)
            with Server(contender, workers=workers) as server:
                _count_in_every_worker(server)
                row[f"{series:,} series"] = spread(_scrape(server) * 1e3 for _ in range(rounds))
        fit = slope([each / 1000 for each in SERIES], [each.median for each in list(row.values())[1:]])
        rows.append(row | {"slope per 1,000 series": f"{fit}"})
    return [*rows, slope_row(rows, "workers", names={"slope per 1,000 series": ""})]


def _count_in_every_worker(server: Server) -> None:
    """Send requests until each worker has a file of its counters. Raises TimeoutError."""
    until = time.monotonic() + 30
    while True:
        processes = {str(each.pid) for each in server.family()[1:]}
        files = {each.stem.rpartition("_")[2] for each in server.metrics.glob("counter_*.db")}
        if len(processes) == server.workers and processes <= files:
            return
        if time.monotonic() > until:
            raise TimeoutError(f"workers {sorted(processes)}, files of {sorted(files)}")
        wrk(server.port, connections=32, seconds=1)


def _scrape(server: Server) -> float:
    """Return the processor time of one scrape, in seconds."""
    before, scrapes = server.runtime(), 0
    while (used := server.runtime() - before) < SCRAPED_SECONDS:
        server.get("/metrics")
        scrapes += 1
    return used / scrapes


def connected(rounds: int) -> list[Row]:
    """Memory and processor time of idle connections, and the cost of opening and closing them."""
    rows = []
    for contender in (LEADER, LANE):
        points = [_connected(contender, count, rounds) for count in IDLE]
        rows += [*points, slope_row(points, "connections", 1000, names={"server": contender.name})]
    return rows


def _connected(contender: Contender, count: int, rounds: int) -> Row:
    sizes, idle, moves = [], [], []
    for _ in range(max(1, rounds // 3)):
        with Server(contender, workers=PODS_WORKERS) as server:
            wrk(server.port, connections=32, seconds=1)
            before = _settled(server)
            with open_connections(server.port, count, b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n"):
                opened = _settled(server)
                time.sleep(IDLE_FOR)
                end = server.runtime()
                sizes.append(server.pss())
            idle.append((end - opened) * 60 / IDLE_FOR * 1e3)
            moves.append((opened - before + _settled(server) - end) * 1e3)
    return {
        "server": contender.name,
        "connections": count,
        "PSS MB": spread(sizes),
        "CPU ms a minute": spread(idle),
        "to open and close, CPU ms": spread(moves),
    }


def _settled(server: Server) -> float:
    """Return the processor time once nothing is left to do, in seconds."""
    time.sleep(SETTLE)
    return server.runtime()


CURVES: tuple[Callable[[int], list[Row]], ...] = (memory, pod, scrape, connected)
