"""gunicorn_drain.streams.loop, in a process of its own and without Gunicorn."""

from __future__ import annotations

import socket
import subprocess
import sys

EXIT_AFTER_THE_REQUEST = """
import socket, sys
from gunicorn_drain import Drain, DrainPolicy
from gunicorn_drain.streams import EventStream, GoAwaySchedule, StreamLoop

drain = Drain()
drain.configure(DrainPolicy())
streams = StreamLoop(drain, GoAwaySchedule.from_policy(DrainPolicy()), limit=1)
stream = EventStream(streams, "HTTP/1.1")
connection = socket.socket(fileno=int(sys.argv[1]))
connection.setblocking(False)
stream.take(connection, b"", "200 OK", [])
"""


def test_stream_of_a_request_that_ends_with_its_process_is_notified() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        server, _ = listener.accept()
    with client:
        with server:
            command = [sys.executable, "-c", EXIT_AFTER_THE_REQUEST, str(server.fileno())]
            subprocess.run(command, pass_fds=[server.fileno()], check=True, timeout=60)
        received = b""
        while data := client.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"event: restart\n" in received
    assert received.endswith(b"0\r\n\r\n")
