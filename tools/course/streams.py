"""Clients of event streams and WebSockets, which reconnect as the service asks.

    with Streams("http://10.0.0.1:30007", events=500, sockets=500) as streams:
        subprocess.run(["kubectl", "rollout", "restart", "deployment/flask-deployment"], check=True)
        streams.wait_until(lambda: streams.stats.notified, timeout=60)
    assert streams.stats.lost == streams.stats.repeated == 0

Each client keeps the number of its last tick and requests the later ones, so that every tick that is missing
or repeated is counted. The clients run on asyncio in a dedicated thread. HTTP and WebSockets are those of h11
and wsproto, which open no connection and so hide none.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from types import TracebackType

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage

from kubectl_lossless.measure.load.connection import Target

RETRY = 1.0
"""Delay before a client reconnects if the service has not sent a delay, in seconds."""

SILENCE = 10.0
"""Timeout without a tick after which a client closes its connection, in seconds."""

STARTED_PER_SECOND = 200
"""Number of clients that connect per second at the start; more would measure the start."""

SERVICE_RESTART = 1012
KINDS = ("events", "websocket")


class Aborted(Exception):  # noqa: N818 - the connection was cut
    """A connection that ended without notice, or could not be opened."""


@dataclass
class StreamStats:
    """Counts of all clients of one run, written by their thread; each number is consistent at any time."""

    ticks: int = 0
    lost: int = 0
    """Ticks that a client never got although it got a later one."""
    repeated: int = 0
    notified: list[float] = field(default_factory=list)
    """Times at which clients were asked to reconnect, in seconds since the epoch."""
    aborted: Counter[str] = field(default_factory=Counter)
    """Connections that ended or failed otherwise, by reason."""
    connects: list[float] = field(default_factory=list)
    """Times at which connections were opened again, in seconds since the epoch."""
    pods: Counter[str] = field(default_factory=Counter)
    """Ticks by the pod that sent them."""

    def peak(self) -> int:
        """Return the maximum number of connections that were opened again within one second."""
        times = sorted(self.connects)
        first, most = 0, 0
        for last, at in enumerate(times):
            while times[first] <= at - 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    def __str__(self) -> str:
        text = (
            f"{self.ticks} ticks, {self.lost} lost, {self.repeated} repeated; "
            f"{len(self.notified)} notifications, {self.aborted.total()} aborted; "
            f"{len(self.connects)} reconnects, at most {self.peak()} a second"
        )
        return text + (f" {dict(self.aborted)}" if self.aborted else "")


class Client:
    """One client, which connects, receives and reconnects until it is cancelled."""

    path: str

    def __init__(self, target: Callable[[], Target], stats: StreamStats) -> None:
        self._target = target
        self._stats = stats
        self.last: int | None = None
        """Number of the last tick."""
        self.connected = False
        self._retry: float | None = None
        """Delay before the reconnect, in seconds; None if the service has not sent one."""

    async def run(self) -> None:
        """Connect, receive and reconnect until cancelled."""
        again = False
        while True:
            notified = False
            try:
                async with contextlib.aclosing(self._connection()) as connection:
                    async for data in connection:
                        if again:
                            self._stats.connects.append(time.time())
                            again = False
                        if self.receive(data):
                            self._stats.notified.append(time.time())
                            notified = True
            except (OSError, Aborted, h11.RemoteProtocolError, TimeoutError) as error:
                if not notified:
                    self._stats.aborted[f"{type(error).__name__}: {error}"] += 1
            else:
                if not notified:
                    self._stats.aborted["ended without notice"] += 1
            again, self.connected = True, False
            await asyncio.sleep(RETRY if self._retry is None else self._retry)

    async def _connection(self) -> AsyncGenerator[bytes, None]:
        """Open a connection; yield the data as it is received."""
        target = self._target()
        async with asyncio.timeout(SILENCE):
            reader, self.writer = await asyncio.open_connection(target.address, target.port)
        try:
            self.writer.write(self.opening(target))
            self._retry = None
            while not self.over:
                async with asyncio.timeout(SILENCE):
                    data = await reader.read(65536)
                if not data:
                    return
                yield data
        finally:
            self.writer.close()

    over = False
    """True after the regular end of the connection."""

    def opening(self, target: Target) -> bytes:
        """Create the request."""
        raise NotImplementedError

    def receive(self, data: bytes) -> bool:
        """Process received data; return whether the service asks to reconnect."""
        raise NotImplementedError

    def _tick(self, tick: dict[str, object]) -> None:
        number = int(str(tick["sequence"]))
        self.connected = True
        stats = self._stats
        stats.ticks += 1
        stats.pods[str(tick["pod"])] += 1
        if self.last is not None:
            stats.lost += max(number - self.last - 1, 0)
            stats.repeated += number <= self.last
        self.last = number if self.last is None else max(number, self.last)


class EventClient(Client):
    """A client of /api/events."""

    def opening(self, target: Target) -> bytes:
        """Create the request."""
        self._http = h11.Connection(h11.CLIENT)
        self._text = ""
        self.over = False
        headers = [("Host", target.host), ("Accept", "text/event-stream"), ("User-Agent", "rollout-streams")]
        if self.last is not None:
            headers.append(("Last-Event-ID", str(self.last)))
        request = h11.Request(method="GET", target="/api/events", headers=headers)
        return (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> bool:
        """Process events; return whether the service asks to reconnect."""
        self._http.receive_data(data)
        notified = False
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response) and event.status_code != 200:
                raise Aborted(f"status {event.status_code}")
            if isinstance(event, h11.Data):
                self._text += event.data.decode()
                *whole, self._text = self._text.split("\n\n")
                notified = sum(self._event(each) for each in whole) > 0 or notified
            if isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                self.over = True
                break
        return notified

    def _event(self, text: str) -> bool:
        """Process one event; return whether it asks to reconnect."""
        fields = dict(line.split(": ", 1) for line in text.split("\n") if not line.startswith(":"))
        if "retry" in fields:
            self._retry = int(fields["retry"]) / 1000
        if fields.get("event") == "tick":
            self._tick(json.loads(fields["data"]))
        return fields.get("event") == "restart"


class SocketClient(Client):
    """A client of /api/ws."""

    def opening(self, target: Target) -> bytes:
        """Create the handshake."""
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._text = ""
        self.over = False
        path = "/api/ws" if self.last is None else f"/api/ws?last={self.last}"
        return self._protocol.send(Request(host=target.host, target=path))

    def receive(self, data: bytes) -> bool:
        """Process messages, and respond to pings and closes; return whether the service asks to reconnect."""
        self._protocol.receive_data(data)
        notified = False
        for event in self._protocol.events():
            if isinstance(event, RejectConnection):
                raise Aborted(f"status {event.status_code}")
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    message, self._text = json.loads(self._text), ""
                    if message["type"] == "tick":
                        self._tick(message)
            elif isinstance(event, Ping):
                self.writer.write(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.over = True
                if event.code != SERVICE_RESTART:
                    raise Aborted(f"closed with {event.code}")
                self._retry = json.loads(event.reason or "{}").get("retry", 0) / 1000
                self.writer.write(self._protocol.send(event.response()))
                notified = True
            elif not isinstance(event, AcceptConnection):
                continue
        return notified


class Streams:
    """Many clients at once, from the start of the `with` block to its end."""

    def __init__(
        self, url: str | Callable[[], str], *, events: int = 0, sockets: int = 0, host: str | None = None
    ) -> None:
        """Create the clients. `url`: or a function called for each connection. `host`: the Host header."""
        self.stats = StreamStats()
        where = url if callable(url) else lambda: url
        self.clients: list[Client] = [
            *(EventClient(lambda: Target.of(where(), host), self.stats) for _ in range(events)),
            *(SocketClient(lambda: Target.of(where(), host), self.stats) for _ in range(sockets)),
        ]
        random.shuffle(self.clients)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="streams", daemon=True)

    def __enter__(self) -> "Streams":
        """Connect all clients; return when each has received a tick. Raises TimeoutError otherwise."""
        self._thread.start()
        self._running = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        try:
            self.wait_until(
                lambda: all(client.last is not None for client in self.clients),
                60 + len(self.clients) / STARTED_PER_SECOND,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect all clients."""
        self._end()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Wait until the condition holds. Raises TimeoutError after `timeout` seconds."""
        until = time.monotonic() + timeout
        while not condition():
            if self._running.done():
                self._running.result()
            if time.monotonic() > until:
                raise TimeoutError(f"not within {timeout:g} s: {self.stats}")
            time.sleep(0.05)

    def wait_until_current(self, timeout: float = 30.0) -> None:
        """Wait until every client is connected and has a tick that is not older than this call.

        Raises TimeoutError after `timeout` seconds.
        """
        now = int(time.time())
        self.wait_until(
            lambda: all(client.connected and (client.last or 0) >= now for client in self.clients), timeout
        )

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(client.run())
                await asyncio.sleep(1 / STARTED_PER_SECOND)

    def _end(self) -> None:
        self._running.cancel()
        cancelled = asyncio.run_coroutine_threadsafe(self._wait_for_the_cancelled(), self._loop)
        cancelled.result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _wait_for_the_cancelled(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
