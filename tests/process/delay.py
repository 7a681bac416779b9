"""TCP proxy that adds a round-trip time to connections, for machines without the kernel's netem."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

ROUND_TRIP = 0.04
"""Round-trip time between the far clients of the tests and the service, in seconds."""


class _End(asyncio.Protocol):
    """One end of a proxied connection. The other end sends received data half a round trip later."""

    def __init__(self, proxy: DelayProxy, other: _End | None = None) -> None:
        self.proxy = proxy
        self.other = other
        self.transport: asyncio.Transport | None = None
        self.under_way: deque[Callable[[_End], None]] = deque()  # received here, not yet sent there
        self.ended = False  # the peer has sent FIN
        self.finished = False  # FIN is sent to the peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.other is None:
            self.other = _End(self.proxy, self)
            self.later(_End.connect)

    def later(self, what: Callable[[_End], None]) -> None:
        """Call `what` with the other end after half a round trip."""
        self.under_way.append(what)
        asyncio.get_running_loop().call_later(self.proxy.one_way, self.arrive)

    def arrive(self) -> None:
        """Perform the next event that was received here, in order and not before the connect."""
        assert self.other is not None
        if self.other.transport is None and self.other.connecting:
            asyncio.get_running_loop().call_later(0.001, self.arrive)
        else:
            self.under_way.popleft()(self.other)

    connecting = False

    def connect(self) -> None:
        if self.proxy.stopping:
            return
        self.connecting = True
        task = asyncio.get_running_loop().create_task(self._connect())
        self.proxy.tasks.add(task)
        task.add_done_callback(self.proxy.tasks.discard)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.proxy.target)
        except OSError:
            self.later(_End.reset)
        self.connecting = False

    def data_received(self, data: bytes) -> None:
        self.later(lambda end: end.write(data))

    def eof_received(self) -> bool:
        self.ended = True
        self.later(_End.finish)
        return not self.finished  # if true, the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.later(_End.reset)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def finish(self) -> None:
        """Send FIN."""
        if self.transport is None or self.transport.is_closing():
            return
        with contextlib.suppress(OSError):
            self.transport.write_eof()
        self.finished = True
        if self.ended:
            self.transport.close()

    def reset(self) -> None:
        """Send RST."""
        if self.transport is None or self.transport.is_closing():
            return
        connection = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class DelayProxy:
    """Proxy that passes bytes, FIN and RST to `target` and back, each `round_trip / 2` seconds late."""

    def __init__(self, target: int, round_trip: float, port: int = 0) -> None:
        """Listen on `port`, or on a free port. Entering raises OSError if the port is in use."""
        self.target = target
        self.one_way = round_trip / 2
        self.port = port
        self._error: OSError | None = None
        self.stopping = False
        self.tasks: set[asyncio.Task[None]] = set()  # asyncio itself keeps no reference
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delay proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(5)
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        ends: list[_End] = []

        def end() -> _End:
            ends.append(_End(self))
            return ends[-1]

        try:
            server = loop.run_until_complete(loop.create_server(end, "127.0.0.1", self.port, backlog=1024))
        except OSError as error:
            self._error = error
            loop.close()
            self._up.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        loop.run_forever()
        self.stopping = True
        # Not closed yet: a task of asyncio's opens each accepted connection, and needs an open server.
        loop.remove_reader(server.sockets[0])
        while tasks := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.wait(tasks))
        server.close()
        for each in ends:
            for one in (each, each.other):
                if one is not None and one.transport is not None:
                    one.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()
