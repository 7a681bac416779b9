"""Requests that Chromium repeats automatically, as the page's help and docs/clients.md state."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"


class Resets:
    """Server that resets one connection at a request of /poll: a reused connection, or a new one."""

    def __init__(self, used: bool) -> None:
        self.used = used
        self.methods: list[str] = []
        """Methods of the requests of /poll, from the request whose connection was reset."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._respond, args=(connection,), daemon=True).start()

    def _respond(self, connection: socket.socket) -> None:
        used = False
        with connection, contextlib.suppress(OSError):
            while head := connection.recv(65536):
                method, path, _ = head.decode().split(" ", 2)
                if path == "/poll":
                    reset = not self.methods and used is self.used
                    if reset or self.methods:
                        self.methods.append(method)
                    if reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                connection.sendall(ANSWER)
                if not self.used:
                    return
                used = True

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def fetch(browser: Browser) -> Iterator[Callable[[Resets, str], str]]:
    """Yield a function that loads the server's page and fetches /poll until a reset of a connection.

    The function returns the text of the response, or the name of the error.
    """
    context = browser.new_context()
    page = context.new_page()
    servers: list[Resets] = []

    def fetched(server: Resets, method: str) -> str:
        servers.append(server)
        page.goto(server.url)
        script = "method => fetch('/poll', {method}).then(reply => reply.text()).catch(error => error.name)"
        for _ in range(20):  # the browser may have opened a spare connection
            said = page.evaluate(script, method)
            assert isinstance(said, str)
            if server.methods:
                return said
        raise AssertionError("it had no such connection")

    yield fetched
    context.close()
    for server in servers:
        server.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reset_of_a_reused_connection_is_hidden_by_a_repeated_request(
    fetch: Callable[[Resets, str], str], method: str
) -> None:
    server = Resets(used=True)
    assert fetch(server, method) == "ok"
    assert server.methods == [method, method]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reset_of_a_new_connection_is_reported(fetch: Callable[[Resets, str], str], method: str) -> None:
    server = Resets(used=False)
    assert fetch(server, method) == "TypeError"
    assert server.methods == [method]
