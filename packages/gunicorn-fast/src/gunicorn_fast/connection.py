"""Connections whose request line and headers the event loop reads, and the queues in which they wait."""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.errors import InvalidHeader, InvalidRequestLine, LimitRequestHeaders, LimitRequestLine
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.workers.gthread import TConn

RECEIVE_BYTES = 65536
"""Maximum size of one read of request headers, in bytes."""

LARGE_HEADERS = 65536
"""Size of buffered, incomplete headers above which a HeaderQueue counts them, in bytes."""

END_OF_HEADERS = b"\r\n\r\n"
BARE_LF = re.compile(rb"(?<!\r)\n")

Callback = Callable[[Any, Any], None]
"""Function that is called with a connection and its socket when the socket is readable."""


def ignore_late_event(conn: Connection, client: Any) -> None:
    """Ignore an event that a poll reported before the wait of `conn` ended."""


class DeadlineQueue:
    """Connections in the order of their timeouts; supports the methods of a deque that gthread uses.

    Removing a connection takes the same time for any number of them, which a deque does not offer. Nor does
    a dict for the first connection: it skips all that were removed before.
    """

    def __init__(self) -> None:
        self._connections: OrderedDict[TConn, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[TConn]:
        return iter(self._connections)

    def __getitem__(self, index: int) -> TConn:
        assert index == 0  # noqa: S101 - gthread reads the first only
        return next(iter(self._connections))

    def append(self, connection: TConn) -> None:
        """Add a connection whose timeout ends after all the others'."""
        self._connections[connection] = None

    def remove(self, connection: TConn) -> None:
        """Remove a connection at any position."""
        del self._connections[connection]

    def popleft(self) -> TConn:
        """Remove and return the first connection."""
        first = self[0]
        del self._connections[first]
        return first


class HeaderQueue(DeadlineQueue):
    """Connections with incomplete headers, and the memory that large ones take."""

    def __init__(self) -> None:
        super().__init__()
        self.large: dict[Connection, int] = {}  # by the time at which they became large
        self.large_total = 0

    def grow(self, conn: Connection) -> None:
        """Count the headers of `conn` if they are large."""
        size = len(conn.partial.data) if conn.partial is not None else 0
        if size > LARGE_HEADERS:
            self.large_total += size - self.large.get(conn, 0)
            self.large[conn] = size

    def remove(self, connection: TConn) -> None:
        """Remove a connection at any position."""
        super().remove(connection)
        self.large_total -= self.large.pop(connection, 0)

    def popleft(self) -> TConn:
        """Remove and return the first connection."""
        first = super().popleft()
        self.large_total -= self.large.pop(first, 0)
        return first


class HeaderLimits:
    """Gunicorn's limits of the request line and headers, and its check of the request line."""

    def __init__(self, cfg: Any) -> None:
        self._simplest = Request(cfg, IterUnreader([b"GET / HTTP/1.1\r\n\r\n"]), ("127.0.0.1", 0))
        self.line: int = self._simplest.limit_request_line
        self.headers: int = self._simplest.max_buffer_headers

    def check_line(self, line: bytes) -> None:
        """Raise Gunicorn's exception for a malformed request line."""
        copy.copy(self._simplest).parse_request_line(line)


class PartialHeaders:
    """Request line and headers that are still incomplete.

    `add` follows Gunicorn's parser (Request._parse_python) step by step, so that a request reaches a thread
    exactly when the parser needs no more data. Each byte is scanned once, however small the pieces are.
    """

    def __init__(self, limits: HeaderLimits) -> None:
        self.data = bytearray()
        self._limits = limits
        self._fields = 0  # offset of the first header; 0 before the request line is complete

    def add(self, data: bytes) -> bool:
        """Append `data`; return whether the headers are complete. Raises exceptions of Gunicorn's parser."""
        seen = len(self.data)
        self.data += data
        if not self._fields and not self._has_line(seen):
            return False
        if self.data.find(END_OF_HEADERS, max(self._fields - 2, seen - 3)) >= 0:
            return True
        if BARE_LF.search(self.data, max(self._fields, seen)):
            raise InvalidHeader("bare LF as line terminator")
        if len(self.data) - self._fields > self._limits.headers:
            raise LimitRequestHeaders("max buffer headers")
        return False

    def _has_line(self, seen: int) -> bool:
        start = 2 if self.data[:2] == b"\r\n" else 0  # one empty line may come first (RFC 9112, 2.2)
        limit, end = self._limits.line, self.data.find(b"\n", max(start, seen))
        if end < 0:
            if len(self.data) - start - 2 > limit > 0:
                raise LimitRequestLine(len(self.data) - start, limit)
            return False
        if end == start or self.data[end - 1 : end] != b"\r":
            raise InvalidRequestLine("bare LF as line terminator")
        if end - 1 - start > limit > 0:
            raise LimitRequestLine(end - 1 - start, limit)
        self._limits.check_line(bytes(self.data[start : end - 1]))
        self._fields = end + 1
        return True


class Refusal:
    """Parser of a connection whose headers are refused before they are complete."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __next__(self) -> None:
        raise self._error


class Connection(TConn):  # type: ignore[misc] # Gunicorn has no types
    """A connection whose request line and headers the event loop reads."""

    limits: HeaderLimits
    parser: Any

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.headers = b""  # complete request line and headers of the next request, and data after them
        self.partial: PartialHeaders | None = None
        self.closed = False  # by the client
        self.unread_since = 0.0  # time of a response whose request's body is still to come
        self.queue = DeadlineQueue()  # in which it waits
        self.callback: Callback = ignore_late_event  # for its next event
        self.since = 0.0  # beginning of the wait
        self.discarded = 0  # bytes received after our close

    def receive(self) -> bool:
        """Read received data; return whether the wait for headers is over.

        Then `closed` is true if the client has closed, `parser` is a Refusal if the headers are refused, and
        `headers` has them otherwise.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return True
        return self.has_headers(data)

    def has_headers(self, data: bytes) -> bool:
        """Append `data`; return whether Gunicorn's parser can finish without waiting, if only to refuse."""
        if self.partial is None:
            if END_OF_HEADERS in data:
                self.headers = data
                return True
            self.partial = PartialHeaders(self.limits)
        try:
            if not self.partial.add(data):
                return False
        except Exception as error:  # noqa: BLE001 - any refusal of Gunicorn's parser
            self.refuse(error)
            return True
        self.headers, self.partial = bytes(self.partial.data), None
        return True

    def refuse(self, error: Exception) -> None:
        """Set the response to the one for `error`, as if the parser had raised it."""
        self.parser, self.partial = Refusal(error), None
        self.data_ready = True  # the parser reads nothing

    def has_unread_body(self) -> bool:
        """Return whether a part of the last request's body may still have to be received."""
        reader = self.parser.mesg.body.reader
        if isinstance(reader, LengthReader):
            return bool(reader.length > self.parser.unreader.buf.getbuffer().nbytes)
        return getattr(reader, "parser", None) is not None  # chunked, and the last chunk was not read
