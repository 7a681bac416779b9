"""`python -m tools.benchmarks.soak`: a long run under a mixed load; fails if anything grows or is lost.

The first part of the run is disturbed: a SIGHUP and a SIGKILL of a worker every few minutes. The second is
not, so that the workers become old. Every sample is a line of JSON, so an interrupted run can be reported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import psutil

from app.settings import VERSION_PROBE_HEADER, WORKER_CLASSES
from gunicorn_drain.prometheus import VARIABLE
from gunicorn_fast import LEADER_WORKER
from gunicorn_fast.probe_worker import HEADER_TIMEOUT
from kubectl_lossless.measure.report.figures import percentile
from tools.benchmarks.applications import SERVICE
from tools.benchmarks.growth import slope
from tools.benchmarks.servers import Server, drained

WORKERS = 2

SAMPLE_INTERVAL = 30.0
"""Interval between two samples, in seconds."""

SETTLE_SHARE = 0.5
"""Share of each part of the run, its beginning, that no slope includes: a new worker grows while it warms up,
ever more slowly; a leak grows until the end."""

DISTURBED_SHARE = 0.55
"""Share of the run with SIGHUPs and SIGKILLs."""

DISTURBED, UNDISTURBED = "disturbed", "undisturbed"

GROWTH_LIMITS: Mapping[str, float] = {
    "memory MB": 0.02,
    "master memory MB": 0.02,
    "descriptors": 0.05,
    "threads": 0.05,
    "metrics files": 0.05,
    "shm KB": 0.05,
    "p50 ms": 0.2,
    "p99 ms": 0.5,
}
"""Growth within an hour that is a failure, as a share of the mean. Latencies depend on the machine most."""

TIMEOUT = 20.0
"""Timeout of a request, in seconds; none takes longer than 10."""

CONNECTING = 10.0
"""Time for which a killed worker's connection may not be known to its client yet, in seconds, on a busy
machine too."""

RELOAD = 25.0
"""Time after a SIGHUP within which the old workers retire, in seconds."""

HEADER_PAUSE = 0.2, 0.6
"""Shortest and longest pause between two pieces of slow headers, in seconds."""

BODY = b"x" * (1 << 20)

RANDOM = Random()  # noqa: S311 - pauses and choices of clients


# ---- load ------------------------------------------------------------------------------------------------


class Lost(Exception):  # noqa: N818 - a result of a request, and the clients' word for it
    """A request without its response, or with another one than expected."""


@dataclass
class Connection:
    """Connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    in_flight: bool = False
    """True while a request has no complete response."""
    killed: bool = False
    """True once the worker that had the connection was killed."""
    headers_since: float = math.inf
    """Time of the first byte of headers in pieces."""

    @property
    def port(self) -> int:
        """Port of the client."""
        return int(self.writer.get_extra_info("sockname")[1])

    @property
    def closed(self) -> bool:
        """True once the service has closed the connection and nothing is left to read."""
        return self.reader.at_eof() or self.reader.exception() is not None

    @property
    def overdue(self) -> bool:
        """True once the service may close the connection because its headers take too long."""
        return time.monotonic() >= self.headers_since + HEADER_TIMEOUT

    def abort(self) -> None:
        """Close with RST, as for a client that vanishes."""
        held: socket.socket = self.writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def headers(self) -> tuple[int, bytes]:
        """Return the status and the headers of the next response, in lower case. Raises Lost."""
        try:
            data = await self.reader.readuntil(b"\r\n\r\n")
            return int(data.split(b" ", 2)[1]), data.lower()
        except asyncio.IncompleteReadError as error:
            raise Lost(f"closed after {len(error.partial)} bytes of the headers") from None

    async def response(self, status: int) -> bool:
        """Read a response with a Content-Length; return whether the connection is kept. Raises Lost."""
        found, headers = await self.headers()
        if found != status:
            raise Lost(f"status {found}")
        length = int(headers.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        try:
            await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise Lost(f"closed after {len(error.partial)} of {length} bytes of the body") from None
        return b"connection: close" not in headers


def message(path: str, *headers: str, method: str = "GET") -> bytes:
    """Return a request without a body."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: soak", *headers, "", "")).encode()


class Load:
    """Clients of the service, and the fate of their requests."""

    def __init__(self, port: int, times: int = 1) -> None:
        """Create the load. `times`: number of clients of each kind, as a multiple of the usual one."""
        self.port = port
        self._times = times
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.waits: list[float] = []
        """Latencies of GET /api on kept connections since the last sample, in seconds."""
        self._open: dict[int, Connection] = {}
        self._killed: set[int] = set()
        self._killed_at = 0.0
        self._hup_at = -RELOAD

    def hup(self, master: subprocess.Popen[bytes]) -> None:
        """Send a SIGHUP."""
        master.send_signal(signal.SIGHUP)
        self._hup_at = time.monotonic()
        self.counts["SIGHUPs"] += 1

    def kill(self, worker: psutil.Process) -> None:
        """SIGKILL a worker, and mark its connections: their requests are expected to fail."""
        worker.send_signal(signal.SIGSTOP)  # it accepts no connection that is not marked
        self._killed = {each.raddr.port for each in worker.net_connections("tcp") if each.raddr}
        self._killed_at = time.monotonic()
        for port in self._killed & self._open.keys():
            self._open[port].killed = True
            self.counts["in flight in killed workers"] += self._open[port].in_flight
        worker.kill()
        self.counts["killed workers"] += 1

    @contextlib.asynccontextmanager
    async def connection(self, kind: str) -> AsyncIterator[Connection]:
        """Open a connection for some requests; count the lost ones."""
        connection = None
        try:
            connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
            recent = time.monotonic() < self._killed_at + CONNECTING
            connection.killed = recent and connection.port in self._killed
            self._open[connection.port] = connection
            yield connection
        except (Lost, OSError, TimeoutError) as error:
            if connection is not None and connection.killed:
                what = "requests failed" if connection.in_flight else "streams cut"
                self.counts[f"{what} by a SIGKILL"] += 1
            elif connection is not None and connection.overdue:
                # The load itself has stalled: on a busy machine a sample can take seconds.
                self.counts["headers later than their timeout"] += 1
            else:
                self.counts["lost"] += 1
                when = " during a reload" if time.monotonic() < self._hup_at + RELOAD else ""
                self.errors[f"{kind}{when}: {type(error).__name__} {error}"] += 1
        finally:
            if connection is not None:
                self._open.pop(connection.port, None)
                connection.writer.close()

    @contextlib.asynccontextmanager
    async def request(self, connection: Connection) -> AsyncIterator[None]:
        """Count a request that is sent and whose response is read."""
        self.counts["requests"] += 1
        connection.in_flight = True
        async with asyncio.timeout(TIMEOUT):
            yield
        connection.in_flight = False

    # ---- kinds of clients --------------------------------------------------------------------------------

    async def kept(self) -> None:
        """Send requests on a kept connection, for a while."""
        async with self.connection("kept") as connection:
            for _ in range(RANDOM.randint(20, 200)):
                await asyncio.sleep(RANDOM.uniform(0.1, 0.4))
                if connection.closed:  # while idle, which is no loss
                    self.counts["closed while idle"] += 1
                    return
                began = time.monotonic()
                async with self.request(connection):
                    connection.writer.write(message("/api"))
                    keep = await connection.response(200)
                self.waits.append(time.monotonic() - began)
                if not keep:
                    return

    async def once(self, kind: str, data: bytes, status: int = 200) -> None:
        """Send one request on a new connection."""
        async with self.connection(kind) as connection, self.request(connection):
            connection.writer.write(data)
            await connection.response(status)

    async def new(self) -> None:
        """Send a request with a new connection."""
        await self.once("new", message("/api", "Connection: close"))
        await asyncio.sleep(RANDOM.uniform(0.1, 0.5))

    async def sleeping(self) -> None:
        """Send a slow request."""
        await self.once("sleep", message(f"/api/sleep/{RANDOM.uniform(0.05, 0.6):.2f}"))

    async def page(self) -> None:
        """Request the page."""
        await self.once("page", message("/", "Connection: close"))
        await asyncio.sleep(RANDOM.uniform(0.5, 1.5))

    async def slow_headers(self) -> None:
        """Send the headers in pieces, over several seconds."""
        data = message("/api", "X-Slow: " + "s" * 40)
        async with self.connection("slow headers") as connection, self.request(connection):
            connection.headers_since = time.monotonic()
            for start in range(0, len(data), 8):
                connection.writer.write(data[start : start + 8])
                await asyncio.sleep(RANDOM.uniform(*HEADER_PAUSE))
            if not connection.overdue:
                connection.headers_since = math.inf
            await connection.response(200)

    async def large_body(self) -> None:
        """Send a body of 1 MiB to a route that takes none."""
        async with self.connection("large body") as connection, self.request(connection):
            connection.writer.write(message("/api", f"Content-Length: {len(BODY)}", method="POST") + BODY)
            await connection.response(405)
        await asyncio.sleep(RANDOM.uniform(1, 3))

    async def vanishing(self) -> None:
        """Close with RST in the middle of the headers, of a body, of a view or of a response."""
        first, wait, read = RANDOM.choice(
            (
                (message("/api")[:20], 0.2, 0),
                (message("/api", "Content-Length: 1000", method="POST") + b"x" * 10, 0.2, 0),
                (message("/api/sleep/0.4"), 0.2, 0),
                (message("/"), 0, 1),
            )
        )
        async with self.connection("vanishing") as connection, asyncio.timeout(TIMEOUT):
            connection.writer.write(first)
            await asyncio.sleep(wait)
            if read:
                await connection.reader.read(read)
            connection.abort()
            self.counts["vanished"] += 1
        await asyncio.sleep(RANDOM.uniform(0.2, 0.8))

    async def events(self) -> None:
        """Read an event stream for a while, then vanish; the service may end it before."""
        async with self.connection("event stream") as connection:
            async with self.request(connection):
                connection.writer.write(message("/api/events"))
                status, _ = await connection.headers()
                if status != 200:
                    raise Lost(f"status {status}")
            tail = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RANDOM.uniform(5, 60)):
                    while data := await connection.reader.read(4096):
                        tail = (tail + data)[-5:]
                    if tail != b"0\r\n\r\n":
                        raise Lost(f"closed after {tail!r}")
                    self.counts["streams ended by the service"] += 1
                    return
            connection.abort()
            self.counts["vanished"] += 1

    async def websocket(self) -> None:
        """Read a WebSocket for a while, then vanish; the service may close it before."""
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
        async with self.connection("WebSocket") as connection:
            async with self.request(connection):
                connection.writer.write(message("/api/ws", *upgrade))
                status, _ = await connection.headers()
                if status != 101:
                    raise Lost(f"status {status}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RANDOM.uniform(3, 15)):  # it sends no pong
                    await self._until_close_frame(connection)
                    self.counts["streams ended by the service"] += 1
                    return
            connection.abort()
            self.counts["vanished"] += 1

    async def _until_close_frame(self, connection: Connection) -> None:
        try:
            while True:
                first, length = await connection.reader.readexactly(2)
                if length == 126:
                    length = int.from_bytes(await connection.reader.readexactly(2), "big")
                await connection.reader.readexactly(length)
                if first == 0x88:
                    return
        except asyncio.IncompleteReadError:
            raise Lost("closed without a close frame") from None

    async def probe(self, data: bytes, interval: float) -> None:
        """Send a probe as a kubelet or Prometheus does."""
        await self.once("probe", data)
        await asyncio.sleep(interval)

    def clients(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the clients: about 40 requests a second, probes not multiplied."""
        close = "Connection: close"
        version = message("/api/nowater/version", f"{VERSION_PROBE_HEADER}: Awesome", close)
        clients: list[Callable[[], Awaitable[None]]] = [
            *[self.kept] * 5,
            *[self.new] * 2,
            *[self.sleeping] * 3,
            self.page,
            *[self.slow_headers] * 3,
            self.large_body,
            *[self.vanishing] * 2,
            *[self.events] * 15,
            *[self.websocket] * 10,
        ]
        return [
            *clients * self._times,
            lambda: self.probe(message("/health", close), 10),
            lambda: self.probe(version, 2),
            lambda: self.probe(message("/metrics", close), 15),
        ]

    async def forever(self, client: Callable[[], Awaitable[None]]) -> None:
        """Run a client again and again."""
        while True:
            before = self.counts["lost"]
            await client()
            if self.counts["lost"] > before:
                await asyncio.sleep(1)  # a service that is gone must not fill the errors


# ---- samples ---------------------------------------------------------------------------------------------


def own_memory(process: psutil.Process) -> float:
    """Return a process's proportional set size (PSS) without mapped files, in MB.

    Python's own pages are mapped by every Python process of the machine: a PSS with them grows whenever one
    of the others exits. Raises FileNotFoundError or ProcessLookupError for a process that has exited.
    """
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    return (sizes["Pss_Anon"] + sizes["Pss_Shmem"]) * 1024 / 1e6


def sample(server: Server, load: Load) -> dict[str, Any]:
    """Measure the server's processes.

    Raises psutil.NoSuchProcess, FileNotFoundError or ProcessLookupError for one that exits meanwhile.
    """
    family = server.family()
    sizes = [own_memory(each) for each in family]
    files = [each for each in server.metrics.rglob("*") if each.is_file()]
    waits = load.waits or [0.0]
    found = {
        "processes": len(family),
        "memory MB": round(sum(sizes), 2),
        "master memory MB": round(sizes[0], 2),
        "descriptors": sum(each.num_fds() for each in family),
        "threads": sum(each.num_threads() for each in family),
        "metrics files": len(files),
        "shm KB": round(sum(each.stat().st_size for each in files) / 1e3, 1),
        "p50 ms": round(percentile(waits, 0.5) * 1e3, 2),
        "p99 ms": round(percentile(waits, 0.99) * 1e3, 2),
        "CPU s": round(server.processor_seconds(), 2),
        **load.counts,
        "errors": dict(load.errors),
    }
    load.waits.clear()
    return found


async def settled_sample(server: Server, load: Load) -> dict[str, Any]:
    """Measure once no worker retires or starts; after 25 s in any case."""
    for attempt in range(26):
        try:
            if len(server.family()) == WORKERS + 1 or attempt == 25:
                return sample(server, load)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            pass
        await asyncio.sleep(1)
    return {}


@dataclass(frozen=True)
class Plan:
    """Durations of a run and its disturbances, in minutes, and its load."""

    minutes: float
    hup_every: float
    kill_every: float
    load: int


async def soak(server: Server, plan: Plan, output: Path) -> None:
    """Run the load, with SIGHUPs and SIGKILLs at intervals, and write samples."""
    load = Load(server.port, plan.load)
    began = time.monotonic()
    disturbed_until, until = began + 60 * plan.minutes * DISTURBED_SHARE, began + 60 * plan.minutes
    # Not at the time of a sample, by when the old workers have exited.
    next_hup, next_kill = began + 60 * plan.hup_every + 4, began + 60 * plan.kill_every + 4
    next_sample = began + SAMPLE_INTERVAL
    part = DISTURBED
    clients = [asyncio.create_task(load.forever(each)) for each in load.clients()]
    try:
        while (now := time.monotonic()) < until:
            if part == DISTURBED and now >= disturbed_until:
                part, next_hup, next_kill = UNDISTURBED, now, until
            if now >= next_hup:
                load.hup(server.process)
                next_hup = until if part == UNDISTURBED else next_hup + 60 * plan.hup_every
            if now >= next_kill:
                if len(family := server.family()) == WORKERS + 1:
                    load.kill(RANDOM.choice(family[1:]))
                next_kill += 60 * plan.kill_every
            if now >= next_sample:
                found = await settled_sample(server, load)
                line = {"seconds": round(now - began), "part": part, **found}
                with output.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                next_sample += SAMPLE_INTERVAL
            if ended := [each for each in clients if each.done()]:
                ended[0].result()
            await asyncio.sleep(0.5)
    finally:
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


# ---- report ----------------------------------------------------------------------------------------------


def growth(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each figure and part of the run: its mean, its slope per hour and the verdict."""
    rows = []
    for part in dict.fromkeys(each["part"] for each in samples):
        mine = [each for each in samples if each["part"] == part]
        first, last = mine[0]["seconds"], mine[-1]["seconds"]
        begin = first + SETTLE_SHARE * (last - first)
        counted = [each for each in mine if each["seconds"] >= begin]
        hours = [each["seconds"] / 3600 for each in counted]
        for figure, share in GROWTH_LIMITS.items():
            fit = slope(hours, [each[figure] for each in counted])
            rows.append(
                {
                    "part": f"{part}, {begin / 60:.0f}-{last / 60:.0f} min",
                    "figure": figure,
                    "samples": len(counted),
                    "mean": f"{fit.mean:.2f}",
                    "slope per hour": f"{fit.per_unit:+.2f} ± {fit.error:.2f}",
                    "verdict": "grows" if fit.grows(share) else "flat",
                }
            )
    return rows


TOTALS = (
    "requests",
    "lost",
    "in flight in killed workers",
    "requests failed by a SIGKILL",
    "streams cut by a SIGKILL",
    "headers later than their timeout",
    "closed while idle",
    "vanished",
    "streams ended by the service",
    "SIGHUPs",
    "killed workers",
)


def report(samples: Sequence[Mapping[str, Any]]) -> int:
    """Print the totals and the slopes; return 1 if something grows or was lost."""
    from tools.benchmarks.__main__ import table

    last, rows = samples[-1], growth(samples)
    print(table([{"total": name, "number": f"{last.get(name, 0):,}"} for name in TOTALS]), end="\n\n")
    print(table(rows))
    failed = [f"{each['figure']} grows ({each['part']})" for each in rows if each["verdict"] != "flat"]
    failed += [f"lost: {number} x {error}" for error, number in last["errors"].items()]
    for each in failed:
        print(f"beyond its limit: {each}", file=sys.stderr)
    return int(bool(failed))


def read(path: Path) -> list[dict[str, Any]]:
    """Read the samples of a run, finished or not."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> int:
    """Run, or report the samples of a run; return 1 if something grows or was lost."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120, help="duration (default 120)")
    parser.add_argument(
        "--worker-class", default=LEADER_WORKER, choices=WORKER_CLASSES, help="default: the service's"
    )
    parser.add_argument("--hup-every", type=float, default=5, help="minutes between SIGHUPs (default 5)")
    parser.add_argument("--kill-every", type=float, default=7, help="minutes between SIGKILLs (default 7)")
    parser.add_argument(
        "--load", type=int, default=1, help="times the usual load of 40 requests a second (default 1)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("reports/soak.jsonl"), help="file of the samples, a line each"
    )
    parser.add_argument("--report", type=Path, help="report this file of samples, and run nothing")
    asked = parser.parse_args()
    if asked.report:
        return report(read(asked.report))
    for name in ("minutes", "hup_every", "kill_every", "load"):
        if getattr(asked, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} is {getattr(asked, name):g}; allowed is more than 0")
    contender = drained(asked.worker_class, asked.worker_class, SERVICE)
    contender = replace(contender, environment={**contender.environment, VARIABLE: "{metrics}"})
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text("")
    log = asked.output.with_suffix(".log")
    with log.open("wb") as file, Server(contender, workers=WORKERS, log=file) as server:
        plan = Plan(asked.minutes, asked.hup_every, asked.kill_every, asked.load)
        asyncio.run(soak(server, plan, asked.output))
    return report(read(asked.output))


if __name__ == "__main__":
    sys.exit(main())
