"""Load of the long run: clients of several kinds, and the outcome of each request."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random

import psutil

from app.settings import VERSION_PROBE_HEADER
from gunicorn_fast.probe_worker import HEADER_TIMEOUT

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
    """Clients of the service, and the outcome of their requests."""

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
