"""One HTTP/1.1 connection that hides nothing.

Client libraries hide what this experiment is about: requests and urllib3 put a fresh connection under a
request when the pooled one turns out dead, geventhttpclient sends a request again on a dropped
connection, and http.client itself reconnects (`auto_open`) and tries every address of a name. Here one
request is sent once, on one connection, to one address.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from rollout.load.record import Kind


class Lost(Exception):  # noqa: N818 - a lost request is what it is called everywhere here
    """A request that got no good answer, and how it was lost."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. `host` is the Host header; it is the URL's own unless given."""

    address: str
    port: int
    host: str

    @classmethod
    def of(cls, url: str, host: str | None = None) -> "Target":
        """Read http://name[:port].

        Raises ValueError for anything else.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{url!r} is no base URL of the form http://name[:port]")
        return cls(parts.hostname, parts.port or 80, host or parts.netloc)


class Connection:
    """A connection that is opened by `get` and kept until either side closes it."""

    def __init__(self, target: Target, timeout: float) -> None:
        """`timeout`: seconds to wait for the connection, and for each step of an answer."""
        self._target = target
        self._timeout = timeout
        self._http: http.client.HTTPConnection | None = None
        self._headers = {"Host": target.host, "Accept": "application/json", "User-Agent": "rollout-load"}

    @property
    def open(self) -> bool:
        """Whether a connection is kept, as far as this side knows."""
        return self._http is not None

    def close(self) -> None:
        """Close this side."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def get(self, path: str, takes: float = 0.0) -> dict[str, object]:
        """Send one GET and return its JSON object.

        The connection stays open unless the answer announced its end. `takes` is added to the timeout.
        Raises Lost; the connection is then closed, except after a complete answer (5xx, other).
        """
        try:
            return self._get(path, self._timeout + takes)
        except Lost as lost:
            if lost.kind not in (Kind.SERVER_ERROR, Kind.OTHER):
                self.close()
            raise

    def _get(self, path: str, timeout: float) -> dict[str, object]:
        if self._http is None:
            self._http = self._connect(timeout)
        connection = self._http
        assert connection.sock is not None  # noqa: S101 - for mypy: opened above, and auto_open is off
        try:
            connection.sock.settimeout(timeout)
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            body = response.read()
        except http.client.RemoteDisconnected:  # is a ConnectionResetError too, so it comes first
            raise Lost(Kind.CLOSED, "the server closed the connection instead of answering") from None
        except http.client.IncompleteRead as error:
            raise Lost(
                Kind.CLOSED, f"the answer ended after {len(error.partial)} bytes of its body"
            ) from None
        except http.client.HTTPException as error:
            self.close()
            raise Lost(Kind.OTHER, f"no HTTP answer: {error!r}") from None
        except OSError as error:
            raise lost_by(error, "while sending or waiting for the answer") from None
        if response.will_close:
            self.close()
        return checked(response.status, body)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        target = self._target
        try:
            # The first address only: trying the next one would be a retry.
            family, kind, protocol, _, address = socket.getaddrinfo(
                target.address, target.port, type=socket.SOCK_STREAM
            )[0]
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            raise lost_by(error, "while looking up the address") from None
        try:
            sock.settimeout(timeout)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise lost_by(error, "while connecting") from None
        connection = http.client.HTTPConnection(target.address, target.port)
        connection.auto_open = 0
        connection.sock = sock
        return connection

    def closed_within(self, seconds: float) -> bool:
        """Wait idle on the kept connection; whether the server ended it within that time.

        It does so without notice: after an announced close no connection is kept.
        """
        if self._http is None or self._http.sock is None:
            return False
        sock = self._http.sock
        sock.settimeout(seconds)  # 0 only looks
        try:
            sock.recv(1, socket.MSG_PEEK)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            pass
        # An end, a reset, or bytes that nobody asked for (a 408 before the close): unusable either way.
        self.close()
        return True


def lost_by(error: OSError, when: str) -> Lost:
    """The kind of loss behind an error of the socket."""
    match error:
        case TimeoutError():
            kind = Kind.TIMEOUT
        case ConnectionRefusedError():
            kind = Kind.REFUSED
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            kind = Kind.RESET
        case _:
            kind = Kind.OTHER
    return Lost(kind, f"{error.strerror or error} {when}")


def checked(status: int, body: bytes) -> dict[str, object]:
    """The service's JSON in an answer.

    Raises Lost for any other status than 2xx, and for a body that is not the service's.
    """
    start = body[:120].decode(errors="replace")
    if status >= 500:
        raise Lost(Kind.SERVER_ERROR, f"status {status}: {start}")
    if not 200 <= status < 300:
        raise Lost(Kind.OTHER, f"status {status}: {start}")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "version" not in answer:
        raise Lost(Kind.OTHER, f"status {status} without a version: {start}")
    return answer
