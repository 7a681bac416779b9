"""Connections of Gunicorn's ASGI worker, on sockets of a real event loop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gunicorn_drain.idle import IDLE, IdleConnections

TIMEOUT = 20.0
"""Timeout of one test, in seconds."""


def gunicorns(worker: Any, counts_its_own_closes: bool) -> Any:
    """Return a protocol that counts connections as Gunicorn's does, or as that of Gunicorn 25 does."""

    class Protocol(asyncio.Protocol):
        reader = None
        _current_request: object = None
        _closed = False

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            worker.nr_conns += 1

        def data_received(self, data: bytes) -> None:
            if data == b"close":
                self._closed = True
                self.transport.close()
            else:
                self._current_request = data

        def connection_lost(self, exc: Exception | None) -> None:
            if counts_its_own_closes or not self._closed:
                worker.nr_conns -= 1

    return Protocol


@pytest.mark.parametrize("counts_its_own_closes", [True, False])
def test_connection_is_closed_when_idle_and_counted_out_once(counts_its_own_closes: bool) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        worker = SimpleNamespace(loop=loop, nr_conns=0)
        protocol = gunicorns(worker, counts_its_own_closes)
        connections = IdleConnections(worker, protocol)
        server = await loop.create_server(protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(TIMEOUT), server:
            clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            (_, busy), (closed_reader, closed), (idle_reader, idle) = clients
            busy.write(b"request")
            closed.write(b"close")
            assert await closed_reader.read() == b""
            began = loop.time()
            connections.close_from_now_on()
            assert await idle_reader.read() == b""
            assert loop.time() - began >= IDLE
            while worker.nr_conns > 1:
                await asyncio.sleep(0.01)
            assert not busy.is_closing()
            busy.close()
            while worker.nr_conns > 0:
                await asyncio.sleep(0.01)
            for each in (closed, idle):
                each.close()
        assert worker.nr_conns == 0

    asyncio.run(serve())
