"""Connections whose request line and headers the event loop reads."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from selectors import BaseSelector
from socket import MSG_DONTWAIT
from typing import Any

from gunicorn.config import Config
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import (
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn

from gunicorn_fast.deadlines import DeadlineQueue

RECEIVE_BYTES = 65536
"""Maximum size of one read of request headers, in bytes."""

LINGER_BYTES = 65536
"""Maximum number of bytes to discard from a client that keeps sending after our close."""

_received = memoryview(bytearray(RECEIVE_BYTES))
"""Memory for the data of one read, which only the event loop uses.

`recv(RECEIVE_BYTES)` allocates that much for each request and shrinks it to the data. The headers that a kept
connection holds then lie between free pieces that are too small for the next read, and the heap grows.
"""

END_OF_HEADERS = b"\r\n\r\n"
BARE_LF = re.compile(rb"(?<!\r)\n")

Callback = Callable[["Connection"], None]
"""Function that is called with a connection when its socket is readable."""


def ignore_late_event(conn: Connection) -> None:
    """Ignore an event that a poll reported before the wait of `conn` ended."""


class HeaderLimits:
    """Gunicorn's limits of the request line and headers, and its check of the request line."""

    def __init__(self, cfg: Config) -> None:
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

    last_simple = b""
    """As of ConnectionParser."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __next__(self) -> None:
        raise self._error


class Connection(TConn):
    """A connection whose request line and headers the event loop reads.

    Once a request has arrived its socket stays blocking, as the application needs it: to switch it for each
    request would take two system calls. The loop reads with MSG_DONTWAIT.
    """

    limits: HeaderLimits
    parser: Any
    poller: BaseSelector

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.headers = b""  # complete request line and headers of the next request, and data after them
        self.partial: PartialHeaders | None = None
        self.closed = False  # by the client
        self.unread_since = 0.0  # time of a response whose request's body is still to come
        self.queue: DeadlineQueue[Any] = DeadlineQueue()  # in which it waits
        self.callback: Callback = ignore_late_event  # for its next event
        self.since = 0.0  # beginning of the wait
        self.polled = False  # true while the poller has the connection
        self.early = False  # the request arrived before the response to the previous one was sent
        self.discarded = 0  # bytes received after our close

    def receive(self) -> bool:
        """Read received data without waiting; return whether the wait for headers is over.

        Then `closed` is true if the client has closed, `parser` is a Refusal if the headers are refused, and
        `headers` has them otherwise.
        """
        try:
            received = self.sock.recv_into(_received, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            received = 0
        if not received:
            self.closed = True
            return True
        return self.has_headers(bytes(_received[:received]))

    def has_headers(self, data: bytes) -> bool:
        """Append `data`; return whether Gunicorn's parser can finish without waiting, if only to refuse."""
        if self.partial is None:
            # It is almost always at the end, where it is found sooner.
            if data.endswith(END_OF_HEADERS) or END_OF_HEADERS in data:
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

    @property
    def buffered(self) -> int:
        """Size of the incomplete headers, in bytes."""
        return len(self.partial.data) if self.partial is not None else 0

    def leave_loop(self) -> None:
        """Remove the connection from the poller: the loop continues while its request is served."""
        if self.polled:
            self.polled = False
            self.callback = ignore_late_event
            self.poller.unregister(self.sock)

    def discard(self) -> bool:
        """Discard received data; return whether the client has closed, or has sent more than LINGER_BYTES."""
        try:
            received = self.sock.recv_into(_received, 0, MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self.discarded += received
        return not received or self.discarded > LINGER_BYTES

    def finish_body(self) -> bool:
        """Read the rest of the last request's body; return whether it is complete. Raises parsers' errors."""
        deadline, self.unread_since = self.unread_since + DEFAULT_WORKER_DATA_TIMEOUT, 0.0
        try:
            return bool(self.parser.finish_body(deadline=deadline))
        except (NoMoreData, OSError):
            return False

    def has_unread_body(self) -> bool:
        """Return whether a part of the last request's body may still have to be received."""
        reader = self.parser.mesg.body.reader
        if isinstance(reader, LengthReader):
            return bool(reader.length > self.parser.unreader.buf.getbuffer().nbytes)
        return getattr(reader, "parser", None) is not None  # chunked, and the last chunk was not read
