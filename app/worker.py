"""Gunicorn's gthread worker with a lane for probes and an event loop that waits for no peer.

Stock gthread gives a connection to a thread before it has said anything, answers probes in the
order of their arrival behind slow requests, and lingers in the event loop on a peer that does not
close its end. Here a thread is given to whole request heads only, a probe goes to threads of its
own, and no request's thread waits for what no application asked for. The parsing, the answering
and the shutdown are Gunicorn's. Each override says what it replaces in Gunicorn 27.0.1. Copy this
file together with app/lifecycle.py and app/probe_rule.py.
"""

from __future__ import annotations

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
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

from app.lifecycle import SERVICE

HEAD_TIMEOUT = 10.0
"""Seconds a connection has for the head of a request, from its first byte or from the connect."""

LINGER_TIMEOUT = 2.0
"""Seconds to wait for the peer's close after ours, as Gunicorn's close_graceful() does (RFC 9112, 9.6)."""

LINGER_BYTES = 65536
"""Bytes to take from a peer that goes on sending after our close, before hanging up on it."""

HEAD_BYTES = 65536
"""What one connection may keep us holding before Gunicorn's parser has its say on the size."""

STOP_LINGER = 2.0
"""Seconds that a stopping worker leaves those who say nothing (gthread's STOP_KEEPALIVE_LINGER)."""

PROBE_THREADS = 2

UNREAD_THREADS = 2
"""Threads that wait for the rest of bodies which no application has read."""

SPARE_FILES = 64
"""File descriptors to keep for everything that is no client connection."""

END_OF_HEAD = b"\r\n\r\n"
BARE_LF = re.compile(rb"(?<!\r)\n")
REQUEST_LINE = re.compile(rb"[!-~]+ [!-~]+ HTTP/1\.[01]\r\n")


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


class Connection(TConn):  # type: ignore[misc] # Gunicorn has no types
    """A connection whose requests' heads the event loop reads."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.head = b""  # what has come of the next request's head
        self.unread_since = 0.0  # when a request was answered of whose body the rest is still to come
        self.place = Waiting()  # where it waits
        self.lingered = 0  # bytes taken after our close

    def receive(self) -> bool:
        """Take what there is; tell whether the wait for a head is over. `head` is b"" if the peer left."""
        try:
            data = self.sock.recv(HEAD_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.head = self.head + data if data else b""
        return not data or self.has_head()

    def has_head(self) -> bool:
        """Whether Gunicorn's parser can do its work without waiting, if only to refuse the request."""
        head = self.head
        if END_OF_HEAD in head or len(head) >= HEAD_BYTES or BARE_LF.search(head):
            return True
        if b"\n" not in head:
            # Two more than the limit, because the line may end with them. 0 is no limit.
            return bool(len(head) - 2 > self.cfg.limit_request_line > 0)
        return REQUEST_LINE.match(head) is None

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
        self.pending_conns = Waiting()  # have not said a whole head yet
        self.lingering_conns = Waiting()  # closed by us and not by the peer yet
        self.probes = SERVICE.probes
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
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.worker_connections: int = min(self.cfg.worker_connections, soft - SPARE_FILES)
        self.max_keepalived = self.worker_connections - self.cfg.threads
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
            for conn in self.pending_conns:
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
        self.hear(self.connection_class(self.cfg, client, address, listener.getsockname()))

    def wait(
        self, conn: Connection, place: Waiting, seconds: float, callback: Callable[[Connection, Any], None]
    ) -> None:
        """Let `conn` wait in `place` until it says something or its time is up."""
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + seconds
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
        """Take what `conn`, which waits nowhere, says of its next request."""
        if conn.receive():
            self.go_on(conn)
        else:
            self.await_head(conn)

    def await_head(self, conn: Connection) -> None:
        """Let `conn` wait for the rest of a head, which may be all of it."""
        self.wait(conn, self.pending_conns, HEAD_TIMEOUT, self.on_pending_socket_readable)

    def go_on(self, conn: Connection) -> None:
        """The wait for a head is over: hand the request to a thread, or close if the peer left."""
        if conn.head:
            self.enqueue_req(conn)
        else:
            self.drop(conn)

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

    def enqueue_req(self, conn: Connection) -> None:
        """Give the request to a thread, a probe to one of the lane's (gthread: the same for all)."""
        if not isinstance(conn, Connection):
            super().enqueue_req(conn)
            return
        head, conn.head = conn.head, b""
        conn.init()
        conn.parser.unreader.unread(head)
        pool = self.lane_pool if self.probes.matches_head(head, self.cfg, conn.client) else self.tpool
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
        conn.head = conn.parser.unreader.take_buffered()  # what a pipelining client sent early
        if not conn.head:
            self.wait(conn, self.keepalived_conns, self.cfg.keepalive, self.on_client_socket_readable)
        elif conn.has_head():
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
        """Close whose time is up, those that linger too."""
        super().murder_pending()
        now = time.monotonic()
        while self.lingering_conns and self.lingering_conns[0].timeout <= now:
            conn = self.lingering_conns[0]
            self.leave(conn)
            self.drop(conn)
