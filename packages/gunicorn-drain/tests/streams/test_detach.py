"""gunicorn_drain.streams.detach, on real sockets and without Gunicorn."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator

import pytest

from gunicorn_drain.streams import detach


class Owner:
    """Owner that records refusals."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def admit(self) -> None: ...

    def take(
        self, connection: socket.socket, early: bytes, status: str, headers: list[tuple[str, str]]
    ) -> None:
        raise AssertionError("there is nothing to take")

    def refuse(self, reason: str) -> None:
        self.refused.append(reason)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10)
        server, _ = listener.accept()
    with client, server:
        yield client, server


def test_connection_outlives_its_original_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    number = server.fileno()
    connection, discard = detach.replace(server)
    with connection:
        assert server.fileno() == number
        assert connection.fileno() != number
        server.sendall(b"to the placeholder")
        discard()
        assert server.recv(1) == b""  # the peer of the placeholder has closed
        server.close()
        connection.sendall(b"to the client")
        assert client.recv(100) == b"to the client"


def test_socket_is_as_before_where_files_are_exhausted(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    try:
        # One of the two descriptors of the placeholder is free, or both and none for the connection.
        for spare in (1, 2):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, hard))
            with pytest.raises(OSError, match="Too many open files"):
                detach.replace(server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.sendall(b"still here")
    assert client.recv(100) == b"still here"


@pytest.mark.parametrize("environ", [{}, {"gunicorn.socket": socket.socket(), "HTTP_VERSION": "2"}])
def test_request_without_a_separate_connection_is_refused(environ: dict[str, object]) -> None:
    owner = Owner()
    with pytest.raises(detach.StreamRefusedError, match="without TLS") as refused:
        detach.check(environ, owner)
    assert refused.value.status == 501
    assert owner.refused == [detach.WITHOUT_CONNECTION]
