"""Real clients: one connection on a raw socket, and crowds of clients that record every failure.

A client library silently reopens a dropped connection, which these tests have to detect.
"""

from __future__ import annotations

import http.client
import io
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import requests
from requests.adapters import HTTPAdapter

from tests.waiting import CONDITION_TIMEOUT, wait_until

RESPONSE_TIMEOUT = 20.0
"""Timeout of a client for a response, in seconds; then the request counts as lost."""


class Lost(Exception):  # noqa: N818 - the request is lost
    """A request without a complete response."""


@dataclass(frozen=True)
class Response:
    """A response."""

    status: int
    headers: dict[str, str]
    """Headers by lower-case name."""
    body: bytes

    @property
    def closes(self) -> bool:
        """True if the response announces the close of its connection."""
        return "close" in self.headers.get("connection", "").lower().split(", ")


class Connection:
    """One connection, which is never reopened."""

    def __init__(self, port: int, timeout: float = RESPONSE_TIMEOUT, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's end."""
        self.socket.close()

    def ask(self, path: str = "/api", *headers: str) -> Response:
        """Send a GET and read its response. Raises Lost if there is no complete response."""
        self.send(path, *headers)
        return self.response()

    def send(self, path: str = "/api", *headers: str) -> None:
        """Send a GET."""
        lines = [f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""]
        try:
            self.socket.sendall("\r\n".join(lines).encode())
        except OSError as error:
            raise Lost(f"send: {error!r}") from error

    def response(self) -> Response:
        """Read one response with a Content-Length. Raises Lost if there is no complete response."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status_line, _, fields = head.partition(b"\r\n")
        message = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
        headers = {name.lower(): ", ".join(message.get_all(name, [])) for name in message}
        length = int(headers["content-length"])
        while len(self._buffer) < length:
            self._receive()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Response(int(status_line.split()[1]), headers, body)

    def _receive(self) -> None:
        try:
            data = self.socket.recv(65536)
        except OSError as error:
            raise Lost(f"receive: {error!r}") from error
        if not data:
            raise Lost(f"end of stream after {len(self._buffer)} bytes of a response")
        self._buffer += data

    def closed_within(self, seconds: float) -> bool:
        """Wait without reading; return True if the peer closes or resets the connection within `seconds`."""
        poll = select.poll()  # select() supports no descriptor from 1024 on
        poll.register(self.socket, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def rest(self) -> bytes:
        """Read until the peer closes or resets the connection; return the bytes."""
        said = self._buffer
        try:
            while data := self.socket.recv(65536):
                said += data
        except ConnectionError:
            pass
        return said


def get(port: int, path: str, *headers: str) -> Response:
    """Send one GET on a separate connection. Raises Lost or OSError if that fails."""
    with Connection(port) as connection:
        return connection.ask(path, *headers)


# ---- crowds ------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts of one kind of client."""

    responses: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    unannounced: int = 0
    """Connections closed without an announcement in the last response on them."""

    def __str__(self) -> str:
        text = f"{self.responses} responses, {self.lost.total()} lost, {self.unannounced} closed unannounced"
        return text + (f" {dict(self.lost)}" if self.lost else "")


@dataclass(frozen=True)
class Kind:
    """Kind of a client, which sends a request again and again, each after a random pause."""

    name: str
    path: str = "/api"
    kept: bool = True
    """True if the client keeps its connection for the next request."""
    pause: tuple[float, float] = (0.0, 0.04)
    """Limits of the pause, in seconds. With the default, a crowd sends hundreds of requests per second, and
    leaves most of two processors to the service."""
    session: bool = False
    """True if the client is a requests.Session instead of a raw socket."""


KINDS = (
    Kind("busy kept"),
    Kind("busy new", kept=False),
    Kind("idle kept", pause=(0.5, 4.0)),
    Kind("slow kept", path="/api/sleep"),
    Kind("slow new", path="/api/sleep", kept=False),
    Kind("session", session=True),
)

CALM_KINDS = tuple(replace(kind, pause=(0.0, 0.1)) if kind.pause == Kind.pause else kind for kind in KINDS)
"""Clients of the same kinds that send 20 requests per second, not 50: for tests that last long."""


class Router:
    """Destination port of NEW connections, like the endpoints of a Kubernetes Service."""

    def __init__(self, port: int) -> None:
        self.port = port

    def switch(self, port: int) -> None:
        """Send new connections to another port. Open connections stay."""
        self.port = port


class Crowd:
    """Clients of several kinds at once, each with a thread, from start to stop."""

    def __init__(
        self,
        port: Callable[[], int],
        kinds: tuple[Kind, ...] = KINDS,
        each: int = 2,
        connect: Callable[[int], Connection] = Connection,
    ) -> None:
        self.tallies = {kind.name: Tally() for kind in kinds}
        self._port = port
        self._connect = connect
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._session if kind.session else self._client, args=(kind,), name=kind.name
            )
            for kind in kinds
            for _ in range(each)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop every client after its current request, and wait for all of them."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def responses(self) -> int:
        """Responses so far, of all kinds."""
        return sum(tally.responses for tally in self.tallies.values())

    def wait_for_responses(self, number: int, what: str, seconds: float = CONDITION_TIMEOUT) -> None:
        """Wait until more than `number` responses have arrived from now on, named by `what`."""
        before = self.responses
        wait_until(lambda: self.responses > before + number, what, seconds)

    @property
    def lost(self) -> int:
        """Requests without a complete response so far, of all kinds."""
        return sum(tally.lost.total() for tally in self.tallies.values())

    @property
    def unannounced(self) -> int:
        """Connections closed unannounced so far, of all kinds."""
        return sum(tally.unannounced for tally in self.tallies.values())

    def everyone_served(self) -> bool:
        """Return True if every kind of client has received a response."""
        return all(tally.responses for tally in self.tallies.values())

    def __str__(self) -> str:
        return "\n".join(f"  {name}: {tally}" for name, tally in self.tallies.items())

    def _note(self, kind: Kind, responses: int = 0, lost: str = "", unannounced: int = 0) -> None:
        with self._lock:
            tally = self.tallies[kind.name]
            tally.responses += responses
            tally.unannounced += unannounced
            if lost:
                tally.lost[lost] += 1
        if lost:
            time.sleep(0.05)  # like a real client; a refused connect fails a thousand times a second

    def _client(self, kind: Kind) -> None:
        connection: Connection | None = None
        while not self._over.is_set():
            try:
                connection = connection or self._connect(self._port())
                response = connection.ask(kind.path)
            except (Lost, OSError) as error:
                self._note(kind, lost=f"{type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                connection = None
                continue
            if response.status == 200:
                self._note(kind, responses=1)
            else:
                self._note(kind, lost=f"status {response.status}")
            if response.closes or not kind.kept:
                connection.close()
                connection = None
            if self._pause(kind, connection):
                self._note(kind, unannounced=1)
                assert connection is not None
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _pause(self, kind: Kind, connection: Connection | None) -> bool:
        """Wait before the next request; return True if `connection` was closed meanwhile."""
        end = time.monotonic() + random.uniform(*kind.pause)
        while (left := end - time.monotonic()) > 0 and not self._over.is_set():
            if connection is None:
                time.sleep(min(left, 0.05))
            elif connection.closed_within(min(left, 0.05)):
                return True
        return connection is not None and connection.closed_within(0)

    def _session(self, kind: Kind) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", HTTPAdapter(max_retries=0))
            while not self._over.is_set():
                try:
                    response = session.get(
                        f"http://127.0.0.1:{self._port()}{kind.path}", timeout=RESPONSE_TIMEOUT
                    )
                except requests.RequestException as error:
                    self._note(kind, lost=type(error).__name__)
                    continue
                if response.status_code == 200:
                    self._note(kind, responses=1)
                else:
                    self._note(kind, lost=f"status {response.status_code}")
                time.sleep(random.uniform(*kind.pause))
