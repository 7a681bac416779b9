"""Latencies on many connections, measured at a server that responds on some of them only."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import pytest

from tools.benchmarks.waits import REQUEST, measure

SERVED = 2


class Handler(socketserver.BaseRequestHandler):
    """A server that responds on the first connections, in pieces, and lets the others wait."""

    server: Server

    def handle(self) -> None:
        if not self.server.places.acquire(blocking=False):
            self.server.stopped.wait()
        while not self.server.stopped.is_set() and self.request.recv(len(REQUEST)):
            for part in (b"HTTP/1.1 200 OK\r\nConten", b"t-Length: 2\r\n\r\n", b"o", b"k"):
                self.request.sendall(part)


class Server(socketserver.ThreadingTCPServer):
    """Server with places for a number of connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.places = threading.Semaphore(SERVED)
        self.stopped = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


def test_connections_without_a_response_are_reported(server: Server) -> None:
    measured = measure(server.server_address[1], connections=5, seconds=0.3)
    assert measured.served == SERVED
    assert measured.longest >= 0.3 > measured.p99 >= measured.p50 > 0
    assert measured.rate > SERVED


def test_closed_connection_is_an_error(server: Server) -> None:
    server.stopped.set()  # the handlers return, and the server closes their connections
    with pytest.raises(ConnectionError):
        measure(server.server_address[1], connections=1, seconds=5)
