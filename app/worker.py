"""Gunicorn's gthread worker with a lane for probes and an event loop that waits for no peer.

Stock gthread gives a connection to a thread before it has said anything, answers probes in the
order of their arrival behind slow requests, and lingers in the event loop on a peer that does not
close its end. Here a thread is given to whole request heads only, a probe goes to threads of its
own, and no request's thread waits for what no application asked for. The parsing, the answering
and the shutdown are Gunicorn's. Each override says what it replaces in Gunicorn 27.0.1.
"""

from __future__ import annotations

import contextlib
import copy
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from typing import Any

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
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

from gunicorn_drain import get_drain

HEAD_TIMEOUT = 10.0
"""Timeout for the request line and headers, in seconds from their first byte."""

GIVE_WAY = 1.0
"""Minimum age of a silent connection that is closed for a new one when the worker has no room, in seconds."""

FIRST_BYTE_MIN = DEFAULT_WORKER_DATA_TIMEOUT
"""Minimum timeout for the first byte of a new connection, in seconds; KEEPALIVE is longer mostly."""

LINGER_TIMEOUT = 2.0
"""Seconds to wait for the peer's close after ours, as Gunicorn's close_graceful() does (RFC 9112, 9.6)."""

LINGER_BYTES = 65536
"""Bytes to take from a peer that goes on sending after our close, before hanging up on it."""

RECEIVE_BYTES = 65536
"""Maximum size of one read of request headers."""

LARGE_HEADERS = 65536
"""Size of buffered, incomplete headers above which they count towards LARGE_HEADERS_TOTAL."""

LARGE_HEADERS_TOTAL = 32 * 1024 * 1024
"""Maximum memory for large incomplete headers, all connections together, in bytes.

Gunicorn's default limits allow 819,204 bytes of headers per connection: with 8,192 connections 6.7 GB. Above
this maximum the connection that has waited longest gets 431.
"""

STOP_LINGER = 2.0
"""Seconds that a stopping worker leaves those who say nothing (gthread's STOP_KEEPALIVE_LINGER)."""

PROBE_THREADS = 2

UNREAD_THREADS = 2
"""Threads that wait for the rest of bodies which no application has read."""

SPARE_FILES = 64
"""File descriptors to keep for everything that is no client connection."""

END_OF_HEAD = b"\r\n\r\n"
BARE_LF = re.compile(rb"(?<!\r)\n")


class Waiting:
    """Connections in the order in which their time is up; what gthread needs of a deque.

    A deque takes as long to give one up as it is long, which thousands of idle connections make felt.
    """

    def __init__(self) -> None:
        self._connections: dict[TConn, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[TConn]:
        return iter(self._connections)

    def __getitem__(self, index: int) -> TConn:
        assert index == 0  # noqa: S101 - gthread asks for the first only
        return next(iter(self._connections))

    def append(self, connection: TConn) -> None:
        """Add one whose time is up after all the others'."""
        self._connections[connection] = None

    def remove(self, connection: TConn) -> None:
        """Give one up, wherever it stands."""
        del self._connections[connection]

    def popleft(self) -> TConn:
        """Give up the first."""
        first = self[0]
        del self._connections[first]
        return first


class WaitingHeaders(Waiting):
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
        """Remove a connection, wherever it stands."""
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
        """Raise what Gunicorn raises for a malformed request line."""
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
        """Append `data`; return whether the headers are complete. Raises what Gunicorn's parser raises."""
        seen = len(self.data)
        self.data += data
        if not self._fields and not self._has_line(seen):
            return False
        if self.data.find(END_OF_HEAD, max(self._fields - 2, seen - 3)) >= 0:
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
    """A connection whose requests' heads the event loop reads."""

    limits: HeaderLimits
    parser: Any

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.head = b""  # the next request's headers once they are complete, and what came with them
        self.partial: PartialHeaders | None = None
        self.closed = False  # by the client
        self.unread_since = 0.0  # when a request was answered of whose body the rest is still to come
        self.place = Waiting()  # where it waits
        self.since = 0.0  # since when
        self.lingered = 0  # bytes taken after our close

    def receive(self) -> bool:
        """Read what has arrived; return whether the wait for headers is over.

        Then `closed` is true if the client has closed, `parser` is a Refusal if the headers are refused, and
        `head` has them otherwise.
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
            if END_OF_HEAD in data:
                self.head = data
                return True
            self.partial = PartialHeaders(self.limits)
        try:
            if not self.partial.add(data):
                return False
        except Exception as error:  # noqa: BLE001 - whatever Gunicorn's parser refuses with
            self.refuse(error)
            return True
        self.head, self.partial = bytes(self.partial.data), None
        return True

    def refuse(self, error: Exception) -> None:
        """Have the request answered with `error`, as if the parser had raised it."""
        self.parser, self.partial = Refusal(error), None
        self.data_ready = True  # the parser reads nothing

    def has_unread_body(self) -> bool:
        """Whether more of the answered request's body may have to be waited for."""
        reader = self.parser.mesg.body.reader
        if isinstance(reader, LengthReader):
            return bool(reader.length > self.parser.unreader.buf.getbuffer().nbytes)
        return getattr(reader, "parser", None) is not None  # chunked, and the last chunk was not read


class ProbeLaneWorker(ThreadWorker):  # type: ignore[misc] # Gunicorn has no types
    """The worker: `worker_class = "app.worker.ProbeLaneWorker"`."""

    connection_class = Connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keepalived_conns = Waiting()  # said nothing since the last answer
        self.unused_conns = Waiting()  # new, no byte received yet
        self.pending_conns = WaitingHeaders()  # have sent a part of their headers
        self.lingering_conns = Waiting()  # closed by us and not by the peer yet
        self.probes = get_drain().probes
        self.lane_pool = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        self.unread_pool = ThreadPoolExecutor(UNREAD_THREADS, thread_name_prefix="unread")
        # What comes first there is no HTTP/1 head: such connections go gthread's own way.
        self.plain = not (
            self.cfg.is_ssl or self.cfg.proxy_protocol != "off" or "h2" in self.cfg.http_protocols
        )

    def init_process(self) -> None:
        """Take in no more connections than there can be open files: one too many ends the worker."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        soft = min(max(soft, self.cfg.worker_connections + SPARE_FILES), hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that `hard` does not show
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.worker_connections: int = min(self.cfg.worker_connections, soft - SPARE_FILES)
        self.max_keepalived = self.worker_connections - self.cfg.threads
        self.limits = HeaderLimits(self.cfg)
        super().init_process()

    def set_accept_enabled(self, enabled: bool) -> None:
        """At the stop, first take in whom the kernel has accepted for us (gthread: they are reset).

        And cut the time of connections that say nothing (gthread: from 27.0.1 on, and of kept ones only).
        """
        if not enabled and not self.alive:
            for listener in self.sockets:
                before = -1
                while before < self.nr_conns < self.worker_connections:
                    before = self.nr_conns
                    self.accept(listener)
            for waiting in (self.unused_conns, self.pending_conns):
                for conn in waiting:
                    self.cut_wait(conn)
        super().set_accept_enabled(enabled)

    def accept(self, listener: Any) -> None:
        """Accept, and let the connection wait in the poller (gthread: in a thread)."""
        if not self.plain:
            super().accept(listener)
            return
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        conn = self.connection_class(self.cfg, client, address, listener.getsockname())
        conn.limits = self.limits
        self.hear(conn)
        self.make_room()

    def make_room(self) -> None:
        """Close the oldest silent connection if there is no room for a new one.

        Otherwise a flood of silent connections would keep everybody out until their timeouts.
        """
        if self.nr_conns < self.worker_connections:
            return
        latest = time.monotonic() - GIVE_WAY
        for waiting in (self.lingering_conns, self.unused_conns, self.pending_conns):
            if waiting and waiting[0].since <= latest:
                conn = waiting[0]
                self.leave(conn)
                self.drop(conn)
                return

    def wait(
        self, conn: Connection, place: Waiting, seconds: float, callback: Callable[[Connection, Any], None]
    ) -> None:
        """Let `conn` wait in `place` until it says something or its time is up."""
        conn.sock.setblocking(False)
        conn.since = time.monotonic()
        conn.timeout = conn.since + seconds
        if not self.alive:
            self.cut_wait(conn)
        conn.place = place
        place.append(conn)
        self.listen(conn, callback)

    def cut_wait(self, conn: Connection) -> None:
        """Leave `conn` as long as a stopping worker waits for those who say nothing."""
        conn.timeout = min(conn.timeout, time.monotonic() + STOP_LINGER)

    def listen(self, conn: Connection, callback: Callable[[Connection, Any], None]) -> None:
        """Let the poller call back when `conn` says something."""
        self.poller.register(conn.sock, EVENT_READ, partial(callback, conn))

    def leave(self, conn: Connection) -> None:
        """End the wait of `conn`."""
        conn.place.remove(conn)
        self.poller.unregister(conn.sock)

    def drop(self, conn: Connection) -> None:
        """Close `conn`, which waits nowhere."""
        self.nr_conns -= 1
        conn.close()

    def hear(self, conn: Connection) -> None:
        """Read the headers of the next request of `conn`, which waits nowhere."""
        if conn.receive():
            self.go_on(conn)
        elif conn.partial is None:
            seconds = max(self.cfg.keepalive, FIRST_BYTE_MIN)
            self.wait(conn, self.unused_conns, seconds, self.on_client_socket_readable)
        else:
            self.await_head(conn)

    def await_head(self, conn: Connection) -> None:
        """Wait for the rest of the headers of `conn`."""
        self.wait(conn, self.pending_conns, HEAD_TIMEOUT, self.on_pending_socket_readable)
        self.pending_conns.grow(conn)

    def go_on(self, conn: Connection) -> None:
        """Hand the request of `conn` to a thread, or close `conn` if the client has closed it."""
        if conn.closed:
            self.drop(conn)
        else:
            self.enqueue_req(conn)

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        """A kept connection says something again (gthread: a thread is to hear it out)."""
        if not isinstance(conn, Connection):
            super().on_client_socket_readable(conn, client)
            return
        self.leave(conn)
        self.hear(conn)

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        """More of a head. Its time runs on, however slowly the rest comes."""
        if not isinstance(conn, Connection):
            super().on_pending_socket_readable(conn, client)
        elif conn.receive():
            self.leave(conn)
            self.go_on(conn)
        else:
            self.pending_conns.grow(conn)
            if self.pending_conns.large_total > LARGE_HEADERS_TOTAL:
                self.refuse_large()

    def refuse_large(self) -> None:
        """Refuse the headers that have been large for the longest time."""
        conn = next(iter(self.pending_conns.large))
        self.leave(conn)
        conn.refuse(LimitRequestHeaders("too many large headers at once"))
        self.go_on(conn)

    def enqueue_req(self, conn: Connection) -> None:
        """Give the request to a thread, a probe to one of the lane's (gthread: the same for all)."""
        if not isinstance(conn, Connection):
            super().enqueue_req(conn)
            return
        is_probe = self.probes.matches_head(conn.head, self.cfg, conn.client)
        self.submit(conn, self.lane_pool if is_probe else self.tpool)

    def submit(self, conn: Connection, pool: ThreadPoolExecutor) -> None:
        """Give the request of `conn` to a thread of `pool`."""
        head, conn.head = conn.head, b""
        conn.init()
        if head:  # else the parser is a Refusal
            conn.parser.unreader.unread(head)
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        """Keep the connection or close it, in either case without waiting (gthread: up to 2 s)."""
        if not isinstance(conn, Connection):
            super().finish_request(conn, fs)
            return
        try:
            keep = not fs.cancelled() and fs.result()
        except Exception:
            self.log.exception("Unexpected end of a request")
            keep = False
        self.keep_or_close(conn, keep)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Leave it to other threads to wait for the rest of a body (gthread: 5 s, in the request's)."""
        if keepalive and isinstance(conn, Connection) and conn.has_unread_body():
            conn.unread_since = time.monotonic()
            return True
        return bool(super()._keepalive_after(conn, keepalive))

    def discard_body(self, conn: Connection) -> None:
        """Have the rest of a body read and thrown away, to keep `conn`; closed if that takes too long."""
        future = self.unread_pool.submit(self.finish_body, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_body(self, conn: Connection) -> bool:
        """Read the rest of a body; tell whether that is done, which is when `conn` can be kept."""
        deadline, conn.unread_since = conn.unread_since + DEFAULT_WORKER_DATA_TIMEOUT, 0.0
        try:
            return bool(conn.parser.finish_body(deadline=deadline))
        except (NoMoreData, OSError):
            return False
        except Exception as error:  # noqa: BLE001 - Gunicorn answers what is wrong with it, as handle() does
            self.handle_error(conn.parser.mesg, conn.sock, conn.client, error)
            return False

    def keep_or_close(self, conn: Connection, keep: bool) -> None:
        """Go on with `conn`, whose request is answered, or close it."""
        if not keep:
            self.linger(conn)
            return
        if conn.unread_since:
            self.discard_body(conn)
            return
        early = conn.parser.unreader.take_buffered()  # sent by a pipelining client
        if not early:
            self.wait(conn, self.keepalived_conns, self.cfg.keepalive, self.on_client_socket_readable)
        elif conn.has_headers(early):
            self.enqueue_req(conn)
        else:
            self.await_head(conn)

    def linger(self, conn: Connection) -> None:
        """Close our end and wait for the peer's, so that no reset overtakes the answer."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
        else:
            self.wait(conn, self.lingering_conns, LINGER_TIMEOUT, self.on_lingering_socket_readable)

    def on_lingering_socket_readable(self, conn: Connection, client: Any) -> None:
        """Throw away what the peer still says, until it closes its end too."""
        try:
            said = len(client.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            said = 0
        conn.lingered += said
        if not said or conn.lingered > LINGER_BYTES:
            self.leave(conn)
            self.drop(conn)

    def murder_pending(self) -> None:
        """Close the connections whose timeout has passed, new and lingering ones too."""
        super().murder_pending()
        now = time.monotonic()
        for waiting in (self.unused_conns, self.lingering_conns):
            while waiting and waiting[0].timeout <= now:
                conn = waiting[0]
                self.leave(conn)
                self.drop(conn)
        self.make_room()
