"""One HTTP/1.1 connection that hides nothing.

Client libraries hide the losses that this program counts: requests and urllib3 put a fresh connection under a
request when the pooled one turns out dead, geventhttpclient sends a request again on a dropped
connection, and http.client itself reconnects (`auto_open`) and tries every address of a name. Here one
request is sent once, on one connection, to one address.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl

from kubectl_lossless.measure.load.lost import Kind, Lost
from kubectl_lossless.measure.load.target import Target

__all__ = ["Connection", "Lost", "Target", "lost_by"]

USER_AGENT = "kubectl-lossless"


class Connection:
    """A connection that is opened by `get` and kept until either side closes it."""

    def __init__(self, target: Target, timeout: float) -> None:
        """`timeout`: seconds to wait for the connection, and for each step of a response."""
        self._target = target
        self._timeout = timeout
        self._http: http.client.HTTPConnection | None = None
        self._context = target.context() if target.tls else None
        self._headers = {"Accept": "application/json" if target.strict else "*/*", "User-Agent": USER_AGENT}
        self._headers |= dict(target.headers)
        if not any(name.lower() == "host" for name in self._headers):
            self._headers["Host"] = target.host
        self._body = target.body.encode() or None

    @property
    def open(self) -> bool:
        """True while a connection is kept, as far as this side knows."""
        return self._http is not None

    def close(self) -> None:
        """Close this side."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def get(self, path: str = "", takes: float = 0.0) -> dict[str, str]:
        """Send the target's request once and return the response's version and pod.

        `path` is appended to the target's. The connection stays open unless the response announced its end.
        `takes` is added to the timeout. Raises Lost; the connection is then closed, except after a complete
        response.
        """
        try:
            return self._get(path, self._timeout + takes)
        except Lost as lost:
            if not lost.status:
                self.close()
            raise

    def _get(self, path: str, timeout: float) -> dict[str, str]:
        if self._http is None:
            self._http = self._connect(timeout)
        connection, target = self._http, self._target
        assert connection.sock is not None  # noqa: S101 - for mypy: opened above, and auto_open is off
        try:
            connection.sock.settimeout(timeout)
            connection.request(
                target.method, (target.path + path) or "/", body=self._body, headers=self._headers
            )
            response = connection.getresponse()
            body = response.read()
        except http.client.RemoteDisconnected:  # is a ConnectionResetError too, so it comes first
            raise Lost(Kind.CLOSED, "the server closed the connection instead of responding") from None
        except http.client.IncompleteRead as error:
            raise Lost(
                Kind.CLOSED, f"the response ended after {len(error.partial)} bytes of its body"
            ) from None
        except http.client.HTTPException as error:
            raise Lost(Kind.OTHER, f"no HTTP response: {error!r}") from None
        except OSError as error:
            raise lost_by(error, "while sending or waiting for the response") from None
        if response.will_close:
            self.close()
        return target.check(
            response.status, {name.lower(): value for name, value in response.getheaders()}, body
        )

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        target = self._target
        try:
            # The first address only: trying the next one would be a retry.
            family, kind, protocol, _, address = socket.getaddrinfo(
                target.address, target.port, type=socket.SOCK_STREAM
            )[0]
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            raise lost_by(error, "while looking up the address", "connecting") from None
        try:
            sock.settimeout(timeout)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise lost_by(error, "while connecting", "connecting") from None
        if self._context is not None:
            try:
                sock = self._context.wrap_socket(sock, server_hostname=target.server_name)
            except (OSError, ValueError) as error:
                sock.close()
                found = error if isinstance(error, OSError) else OSError(str(error))
                raise lost_by(found, "in the TLS handshake", "handshake") from None
        connection = http.client.HTTPConnection(target.address, target.port)
        connection.auto_open = 0
        connection.sock = sock
        return connection

    def closed_within(self, seconds: float) -> bool:
        """Wait idle on the kept connection; return whether the server ended it within that time.

        It does so without notice: after an announced close no connection is kept.
        """
        if self._http is None or self._http.sock is None:
            return False
        sock = self._http.sock
        try:
            if isinstance(sock, ssl.SSLSocket):
                # A server may send session tickets at any time: they are read, and are no end.
                sock.settimeout(max(seconds, 0.001))
                sock.recv(1)
            elif select_readable(sock, seconds):
                sock.settimeout(0)
                sock.recv(1, socket.MSG_PEEK)
            else:
                return False
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            pass
        # An end, a reset, or bytes that nobody asked for (a 408 before the close): unusable either way.
        self.close()
        return True


def select_readable(sock: socket.socket, seconds: float) -> bool:
    """Return whether there is something to read within that time, also for descriptors over 1023."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    with contextlib.suppress(InterruptedError):
        return bool(poll.poll(max(seconds, 0) * 1000))
    return False


def lost_by(error: OSError, when: str, phase: str = "waiting") -> Lost:
    """Return the kind of loss behind an error of the socket."""
    match error:
        case ssl.SSLCertVerificationError():
            return Lost(Kind.OTHER, f"the certificate is not trusted: {error.verify_message}", phase=phase)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Lost(Kind.CLOSED, f"the server closed the connection {when}", phase=phase)
        case TimeoutError():
            kind = Kind.TIMEOUT
        case ConnectionRefusedError():
            kind = Kind.REFUSED
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            kind = Kind.RESET
        case _:
            kind = Kind.OTHER
    return Lost(kind, f"{error.strerror or error} {when}", phase=phase)
