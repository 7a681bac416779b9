"""Gunicorn's gthread worker with dedicated threads for probes and an event loop that waits for no client.

gthread assigns a thread to a connection before it has sent anything, responds to probes in the order of
their arrival after slow requests, and blocks the event loop while a client does not close its end. Here a
thread gets requests with complete headers only, a probe gets dedicated threads, and no request's thread waits
for data that no application reads. Parsing, responses and shutdown are Gunicorn's. Each override names the
replaced behavior of Gunicorn 27.0.1.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, ThreadWorker

from gunicorn_drain import get_drain, limit_connections
from gunicorn_fast.connection import Callback, Connection, HeaderLimits
from gunicorn_fast.deadlines import DeadlineQueue, Deadlines
from gunicorn_fast.malloc import limit_arenas
from gunicorn_fast.probe_pools import ProbePools
from gunicorn_fast.threads import ThreadPool
from gunicorn_fast.unsupported import unsupported

HEADER_TIMEOUT = 10.0
"""Timeout for the request line and headers, in seconds from their first byte."""

FIRST_BYTE_MIN = DEFAULT_WORKER_DATA_TIMEOUT
"""Minimum timeout for the first byte of a new connection, in seconds; KEEPALIVE is usually longer."""

LINGER_TIMEOUT = 2.0
"""Timeout for the client's close after ours, in seconds: that of close_graceful() (RFC 9112, 9.6)."""

LARGE_HEADERS_TOTAL = 32 * 1024 * 1024
"""Maximum memory for large incomplete headers, all connections together, in bytes.

Gunicorn's default limits allow 819,204 bytes of headers per connection: with 8,192 connections 6.7 GB. Above
this maximum the connection that has waited longest gets 431.
"""

UNREAD_THREADS = 2
"""Number of threads that wait for the rest of bodies that no application has read."""


class ProbeLaneWorker(ThreadWorker):
    """Worker with dedicated threads for probes: `worker_class = "gunicorn_fast.ProbeLaneWorker"`."""

    connection_class = Connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deadlines: Deadlines[Any] = Deadlines(self.drop, self.method_queue.defer)
        # gthread's own names
        self.keepalived_conns, self.pending_conns = self.deadlines.idle, self.deadlines.partial
        self.probes = get_drain().probes
        self.probe_pools = ProbePools()
        self.unread_pool = ThreadPool(UNREAD_THREADS, thread_name_prefix="unread")

    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        """Refuse unsupported settings in the master, before the first worker."""
        if (sentence := unsupported(cfg)) is not None:
            log.critical("%s", sentence)
            sys.exit(1)
        super().check_config(cfg, log)

    def init_process(self) -> None:
        """Limit the connections to the number of files that can be open: one too many ends the worker."""
        limit_arenas()  # before the first thread
        # A reload does not check the worker class; Gunicorn then exits with this status.
        if (sentence := unsupported(self.cfg)) is not None:
            self.log.critical("%s", sentence)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        limit_connections(self)
        self.limits = HeaderLimits(self.cfg)
        super().init_process()

    def get_thread_pool(self) -> ThreadPool:
        """Create a pool that serves with fewer threads where no more can be started (gthread: ends)."""
        return ThreadPool(self.cfg.threads)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Exit without the pool's lock: the signal may have interrupted its holder (gthread: hangs then)."""
        # Python's exit ends the pool's threads as shutdown(wait=False) does.
        super(ThreadWorker, self).handle_quit(sig, frame)

    # ---- new connections -----------------------------------------------------------------------------

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; at the stop, first accept queued connections (gthread: reset them).

        Also shorten the timeouts of silent connections (gthread: from 27.0.1 on, and of kept ones only).
        """
        if not enabled and not self.alive:
            for listener in self.sockets:
                before = -1
                while before < self.nr_conns < self.worker_connections:
                    before = self.nr_conns
                    self.accept(listener)
            self.deadlines.stop()
        super().set_accept_enabled(enabled)

    def accept(self, listener: socket.socket) -> None:
        """Accept, and let the connection wait in the poller (gthread: in a thread)."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        conn = self.connection_class(self.cfg, client, address, listener.getsockname())
        conn.limits = self.limits
        self.read_headers(conn)
        self.make_room()

    def make_room(self) -> None:
        """Close a silent connection if there is no room for a new one."""
        if self.nr_conns >= self.worker_connections:
            self.deadlines.make_room()

    # ---- waiting connections -------------------------------------------------------------------------

    def wait(self, conn: Connection, queue: DeadlineQueue[Any], seconds: float, callback: Callback) -> None:
        """Let `conn` wait in `queue` until it is readable, at most `seconds`; it may be in the poller."""
        self.deadlines.wait(conn, queue, seconds)
        conn.callback = callback
        conn.early = False
        if not conn.polled:
            conn.polled = True
            conn.poller = self.poller
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_readable, conn))

    def on_readable(self, conn: Connection, client: socket.socket) -> None:  # noqa: ARG002 - the poller's
        """Call the callback of `conn`; an exception costs this connection alone."""
        try:
            conn.callback(conn)
        except Exception:  # noqa: BLE001 - it is logged
            self.abandon(conn)

    def abandon(self, conn: Connection) -> None:
        """Close `conn` after an exception in the loop."""
        self.log.exception("Unexpected end of a connection")
        with contextlib.suppress(KeyError):
            conn.queue.remove(conn)
        self.drop(conn)

    def drop(self, conn: Connection) -> None:
        """Close `conn`, which is in no queue."""
        conn.leave_loop()
        self.nr_conns -= 1
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Leave timeouts to `murder_pending`, except at the end (gthread: close all expired connections)."""
        if force:
            super().murder_keepalived(force=True)

    def murder_pending(self) -> None:
        """Close the connections whose timeout has passed, new and lingering ones too."""
        self.deadlines.expire()
        self.make_room()

    # ---- requests ------------------------------------------------------------------------------------

    def read_headers(self, conn: Connection) -> None:
        """Read the headers of the next request of `conn`, which is in no queue."""
        if conn.receive():
            self.dispatch(conn)
        elif conn.partial is None:
            seconds = max(self.cfg.keepalive, FIRST_BYTE_MIN)
            self.wait(conn, self.deadlines.unused, seconds, self.on_next_request)
        else:
            self.await_headers(conn)

    def await_headers(self, conn: Connection) -> None:
        """Wait for the rest of the headers of `conn`."""
        self.wait(conn, self.deadlines.partial, HEADER_TIMEOUT, self.on_more_headers)
        self.deadlines.partial.grow(conn, conn.buffered)

    def dispatch(self, conn: Connection) -> None:
        """Queue the request of `conn`, or close `conn` if the client has closed it."""
        if conn.closed:
            self.drop(conn)
        else:
            self.enqueue_req(conn)

    def on_next_request(self, conn: Connection) -> None:
        """Read from a new or idle connection (gthread: a thread does, and waits)."""
        conn.queue.remove(conn)
        self.read_headers(conn)

    def on_more_headers(self, conn: Connection) -> None:
        """Read more of the headers, without renewing their timeout."""
        if conn.receive():
            conn.queue.remove(conn)
            self.dispatch(conn)
        else:
            self.deadlines.partial.grow(conn, conn.buffered)
            if self.deadlines.partial.large_total > LARGE_HEADERS_TOTAL:
                self.refuse_large()

    def refuse_large(self) -> None:
        """Refuse the headers that have been large for the longest time."""
        conn = next(iter(self.deadlines.partial.large))
        conn.queue.remove(conn)
        conn.refuse(LimitRequestHeaders("too many large headers at once"))
        self.dispatch(conn)

    def enqueue_req(self, conn: Connection) -> None:
        """Submit the request to a thread, a probe to a dedicated one (gthread: the same for all)."""
        probe = self.probes.route_of_head(conn.headers, self.cfg, conn.client)
        self.submit(conn, self.tpool if probe is None else self.probe_pools[probe])

    def submit(self, conn: Connection, pool: ThreadPoolExecutor) -> None:
        """Submit the request of `conn` to a thread of `pool`."""
        conn.leave_loop()
        headers, conn.headers = conn.headers, b""
        conn.init()
        if headers:  # else the parser is a Refusal
            conn.parser.unreader.unread(headers)
        try:
            future = pool.submit(self.handle, conn)
        except RuntimeError:  # the pool has no thread and cannot start one
            self.abandon(conn)
            return
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    # ---- after a response ----------------------------------------------------------------------------

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        """Keep the connection or close it, in either case without waiting (gthread: up to 2 s).

        SystemExit from the application costs this connection alone (gthread: the worker).
        """
        error = None if fs.cancelled() else fs.exception()
        if error is not None:
            self.log.error("Unexpected end of a request", exc_info=error)
        self.keep_or_close(conn, keep=not fs.cancelled() and error is None and fs.result())

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Let other threads wait for the rest of a body (gthread: 5 s, in the request's thread)."""
        if keepalive and conn.has_unread_body():
            conn.unread_since = time.monotonic()
            return True
        return super()._keepalive_after(conn, keepalive)

    def discard_body(self, conn: Connection) -> None:
        """Let another thread discard the rest of a body, to keep `conn`; close it after a timeout."""
        conn.leave_loop()  # the poller would report the body
        future = self.unread_pool.submit(self.finish_body, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_body(self, conn: Connection) -> bool:
        """Read the rest of a body; return whether it is complete, so that `conn` can be kept."""
        try:
            return conn.finish_body()
        except Exception as error:  # noqa: BLE001 - Gunicorn responds to the error, as in handle()
            self.handle_error(conn.parser.mesg, conn.sock, conn.client, error)
            return False

    def keep_or_close(self, conn: Connection, keep: bool) -> None:
        """Keep `conn` after a response, or close it; a request that follows at once is early."""
        conn.early = True
        if not keep:
            self.linger(conn)
            return
        if conn.unread_since:
            self.discard_body(conn)
            return
        early = conn.parser.unreader.take_buffered()  # sent by a pipelining client
        if not early:
            self.wait(conn, self.deadlines.idle, self.cfg.keepalive, self.on_next_request)
        elif conn.has_headers(early):
            self.enqueue_req(conn)
        else:
            self.await_headers(conn)

    def linger(self, conn: Connection) -> None:
        """Close our end and wait for the client's, so that no reset overtakes the response."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
        else:
            self.wait(conn, self.deadlines.lingering, LINGER_TIMEOUT, self.on_lingering_readable)

    def on_lingering_readable(self, conn: Connection) -> None:
        """Discard data that the client still sends, until it closes its end too."""
        if conn.discard():
            conn.queue.remove(conn)
            self.drop(conn)
