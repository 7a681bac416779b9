"""Reaction of requests and urllib3 to the close of a kept connection, as docs/clients.md states it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from docs.examples import requests_keepalive
from tests.ports import reserve_port
from tests.waiting import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANNOUNCED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
TRUNCATED = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"


class Server:
    """Server that handles each request by the next action of the script, and repeats the last one.

    `answer`: respond; `announce`: respond with `Connection: close`, and close; `close`: respond, and close
    without notice; `hang up` or `reset`: close or reset without a response; `cut`: close within the body.
    """

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.methods: list[str] = []
        self.connections = 0
        self.closed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._answer(connection)
                connection.close()
                self.closed += 1

    def _answer(self, connection: socket.socket) -> None:
        while head := connection.recv(65536):
            self.methods.append(head.split()[0].decode())
            act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if act == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif act != "hang up":
                connection.sendall({"announce": ANNOUNCED, "cut": TRUNCATED}.get(act, ANSWER))
            if act != "answer":
                return

    def close(self) -> None:
        # close() does not wake accept(), shutdown() does.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def started(*script: str) -> Server:
        servers.append(Server(*script))
        return servers[-1]

    yield started
    for server in servers:
        server.close()


@pytest.fixture
def plain() -> Iterator[requests.Session]:
    """Yield a session with the defaults of requests, which repeats no request."""
    with requests.Session() as session:
        yield session


@pytest.fixture
def careful() -> Iterator[requests.Session]:
    """Yield the session of the example, which repeats requests."""
    with requests_keepalive.session() as session:
        yield session


def test_announced_close_fails_no_request(serve: Serve, plain: requests.Session) -> None:
    server = serve("announce")
    for _ in range(3):
        assert plain.post(server.url, timeout=10).text == "ok"
    assert (server.connections, len(server.methods)) == (3, 3)


def test_close_before_the_request_is_noticed(serve: Serve, plain: requests.Session) -> None:
    """Use a new connection for any method: nothing was sent on the closed one."""
    server = serve("close")
    for turn in range(1, 4):
        assert plain.post(server.url, timeout=10).text == "ok"
        wait_until(lambda turn=turn: server.closed == turn, "the close")  # type: ignore[misc]
    assert len(server.methods) == 3


@pytest.mark.parametrize("how", ["hang up", "reset"])
def test_close_during_the_request_is_an_error(serve: Serve, plain: requests.Session, how: str) -> None:
    server = serve("answer", how)
    plain.get(server.url, timeout=10)
    with pytest.raises(requests.ConnectionError, match="Connection aborted"):
        plain.get(server.url, timeout=10)


@pytest.mark.parametrize("how", ["hang up", "reset"])
def test_idempotent_request_is_repeated(serve: Serve, careful: requests.Session, how: str) -> None:
    server = serve("answer", how, how, "answer")
    assert careful.get(server.url, timeout=10).text == "ok"
    assert careful.get(server.url, timeout=10).text == "ok"
    assert server.methods == ["GET"] * 4


@pytest.mark.parametrize("how", ["hang up", "reset"])
def test_request_that_is_not_idempotent_is_not_repeated(
    serve: Serve, careful: requests.Session, how: str
) -> None:
    server = serve("answer", how, "answer")
    assert careful.post(server.url, timeout=10).text == "ok"
    with pytest.raises(requests.ConnectionError):
        careful.post(server.url, timeout=10)
    assert server.methods == ["POST"] * 2


def test_request_that_never_reached_the_server_is_repeated_whatever_its_method(
    serve: Serve, careful: requests.Session
) -> None:
    port = reserve_port()
    late: list[socket.socket] = []

    def listen_late() -> None:
        late.append(socket.create_server(("127.0.0.1", port)))
        connection, _ = late[0].accept()
        connection.recv(65536)
        connection.sendall(ANNOUNCED)
        connection.close()

    starting = threading.Timer(0.5, listen_late)
    starting.start()
    assert careful.post(f"http://127.0.0.1:{port}/", timeout=10).text == "ok"
    starting.join()
    late[0].close()


def test_response_cut_in_its_body_is_not_repeated_by_urllib3(serve: Serve, careful: requests.Session) -> None:
    server = serve("cut", "cut", "answer")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        careful.get(server.url, timeout=10)
    assert requests_keepalive.get(careful, server.url).text == "ok"
    assert len(server.methods) == 3
