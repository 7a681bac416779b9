"""A real HTTP/2 client: one connection at a time, over TLS, which follows the server's GOAWAY."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.process.clients import RESPONSE_TIMEOUT, Connection, Lost, Response

ERRORS = h2.errors.ErrorCodes


class Unprocessed(Exception):  # noqa: N818 - a request to repeat
    """A request that the server has not processed, as it reports: the client may repeat it."""


def create_certificate(directory: Path) -> tuple[Path, Path]:
    """Create a key and a certificate that signs itself; return both files."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


class Http2Connection(Connection):
    """A connection that is opened again after a GOAWAY, as every HTTP/2 client does.

    A request above the GOAWAY's last stream, or refused with REFUSED_STREAM, is sent again. `streams`: number
    of requests that `ask()` sends at the same time.
    """

    def __init__(self, port: Callable[[], int], streams: int = 1) -> None:
        self.goaways = 0
        """GOAWAY frames so far, of all connections."""
        self._port, self._streams = port, streams
        self._open()

    def _open(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        connected = socket.create_connection(("127.0.0.1", self._port()), RESPONSE_TIMEOUT)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = context.wrap_socket(connected, server_hostname="test")
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._last_stream: int | None = None  # of the GOAWAY
        self._pending: dict[int, _Response] = {}
        self.socket.sendall(self._h2.data_to_send())

    def ask(self, path: str = "/", *headers: str) -> Response:
        """Send `streams` GETs and return the last response; repeat those that were not processed."""
        missing = self._streams
        response: Response | None = None
        while missing:
            if self._last_stream is not None:
                self.close()
                self._open()
            numbers: list[int] = []
            with contextlib.suppress(Unprocessed):
                for _ in range(missing):
                    numbers.append(self._request(path, headers))
            for number in numbers:
                with contextlib.suppress(Unprocessed):
                    response = self._response(number)
                    missing -= 1
        assert response is not None
        return response

    def send(self, path: str = "/", *headers: str) -> None:
        """Send one GET, whose response `response()` returns."""
        self._sent = self._request(path, headers)

    def response(self) -> Response:
        """Return the response to the request of `send()`."""
        return self._response(self._sent)

    def closed_within(self, seconds: float) -> bool:
        """Read frames for `seconds`; return True if the peer closes the connection without a GOAWAY."""
        if self._last_stream is not None:
            return False
        self.socket.settimeout(max(seconds, 0.001))
        try:
            self._receive()
        except Lost:
            return self._last_stream is None
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(RESPONSE_TIMEOUT)
        return False

    def _request(self, path: str, headers: Collection[str]) -> int:
        if self._last_stream is not None:  # it came while a request before this one was sent
            raise Unprocessed
        number = self._h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "test")]
        for each in headers:
            name, _, value = each.partition(":")
            fields.append((name.lower(), value.strip()))
        self._pending[number] = _Response()
        self._h2.send_headers(number, fields, end_stream=True)
        try:
            self.socket.sendall(self._h2.data_to_send())
        except OSError as error:
            # The server may have sent a GOAWAY before it closed.
            with contextlib.suppress(Lost, TimeoutError):
                while True:
                    self._receive()
            if self._last_stream is None:
                raise Lost(f"send: {error!r}") from error
        return number

    def _response(self, number: int) -> Response:
        response = self._pending[number]
        while not response.complete:
            if response.refused or (self._last_stream is not None and number > self._last_stream):
                raise Unprocessed
            if response.reset:
                raise Lost(response.reset)
            try:
                self._receive()
            except TimeoutError as error:
                raise Lost(f"receive: {error!r}") from error
        del self._pending[number]
        return Response(int(response.headers[":status"]), response.headers, response.body)

    def _receive(self) -> None:
        """Read once from the connection. Raises Lost at its end, TimeoutError."""
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise
        except OSError as error:
            raise Lost(f"receive: {error!r}") from error
        if not data:
            raise Lost(f"end of the connection, {len(self._pending)} streams without a response")
        for event in self._h2.receive_data(data):
            self._handle(event)
        with contextlib.suppress(OSError):
            self.socket.sendall(self._h2.data_to_send())

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=int(number), headers=fields):
                self._pending[number].headers = {str(name): str(value) for name, value in fields or ()}
            case h2.events.DataReceived(stream_id=int(number), data=data):
                self._pending[number].body += data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
            case h2.events.StreamEnded(stream_id=int(number)):
                self._pending[number].complete = True
            case h2.events.StreamReset(stream_id=int(number)) if number in self._pending:
                self._pending[number].refused = event.error_code == ERRORS.REFUSED_STREAM
                self._pending[number].reset = f"stream reset: {event.error_code!r}"
            case h2.events.ConnectionTerminated():
                self.goaways += 1
                self._last_stream = event.last_stream_id or 0


def get(port: int, path: str, *headers: str) -> Response:
    """Send one GET on a separate connection. Raises Lost or OSError if that fails."""
    with Http2Connection(lambda: port) as connection:
        return connection.ask(path, *headers)


class _Response:
    """Response to one stream, as far as it has arrived."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self.refused = False
        self.reset = ""
