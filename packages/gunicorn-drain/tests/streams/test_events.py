"""gunicorn_drain.streams.events, on real sockets and without Gunicorn."""

from __future__ import annotations

import asyncio
import socket

from gunicorn_drain import Drain, DrainPolicy
from gunicorn_drain.streams import EventStream, GoAwaySchedule, StreamLoop


def test_client_that_has_just_closed_its_stream_is_notified_without_an_error() -> None:
    streams = StreamLoop(Drain(), GoAwaySchedule.from_policy(DrainPolicy()), limit=1)
    stream = EventStream(streams, "HTTP/1.1")

    async def notify(client: socket.socket, server: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, server)
        client.close()
        stream.notify()  # the loop has not yet observed the close

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        server, _ = listener.accept()
    with client, server:
        asyncio.run(notify(client, server))
    assert stream.notified_at > 0
