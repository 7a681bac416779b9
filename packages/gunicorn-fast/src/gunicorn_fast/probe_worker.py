"""Gunicorn's gthread worker with dedicated threads for probes and an event loop that waits for no client.

gthread assigns a thread to a connection before it has sent anything, responds to probes in the order of
their arrival after slow requests, and blocks the event loop while a client does not close its end. Here a
thread gets requests with complete headers only, a probe gets dedicated threads, and no request's thread waits
for data that no application reads. Parsing, responses and shutdown are Gunicorn's. Each override names the
replaced behavior of Gunicorn 27.0.1.
"""

from __future__ import annotations

import socket
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, ThreadWorker

from gunicorn_drain import get_drain, raise_file_limit
from gunicorn_fast.connection import (
    Callback,
    Connection,
    DeadlineQueue,
    HeaderLimits,
    HeaderQueue,
    ignore_late_event,
)

HEADER_TIMEOUT = 10.0
"""Timeout for the request line and headers, in seconds from their first byte."""

GIVE_WAY = 1.0
"""Minimum age of a silent connection that is closed for a new one when the worker has no room, in seconds."""

FIRST_BYTE_MIN = DEFAULT_WORKER_DATA_TIMEOUT
"""Minimum timeout for the first byte of a new connection, in seconds; KEEPALIVE is usually longer."""

LINGER_TIMEOUT = 2.0
"""Timeout for the client's close after ours, in seconds: that of close_graceful() (RFC 9112, 9.6)."""

LINGER_BYTES = 65536
"""Maximum number of bytes to discard from a client that keeps sending after our close."""

LARGE_HEADERS_TOTAL = 32 * 1024 * 1024
"""Maximum memory for large incomplete headers, all connections together, in bytes.

Gunicorn's default limits allow 819,204 bytes of headers per connection: with 8,192 connections 6.7 GB. Above
this maximum the connection that has waited longest gets 431.
"""

STOP_LINGER = 2.0
"""Timeout of silent connections in a stopping worker, in seconds (gthread's STOP_KEEPALIVE_LINGER)."""

PROBE_THREADS = 2
"""Maximum number of threads for each probe."""

EXPIRED_AT_ONCE = 5
"""Maximum number of connections to close at once because of their timeouts, before the loop continues.

Gunicorn's queue of callbacks runs up to 60 of them in a row: 300 connections, some 3 ms.
"""

UNREAD_THREADS = 2
"""Number of threads that wait for the rest of bodies that no application has read."""


def unsupported(cfg: Any) -> str | None:
    """Return a sentence about a setting that the workers of this package do not support, else None."""
    if cfg.is_ssl:
        found, instead = f"certfile is {cfg.certfile}, keyfile {cfg.keyfile}", "terminate TLS in a proxy"
    elif cfg.proxy_protocol != "off":
        found = f"proxy_protocol is {cfg.proxy_protocol}"
        instead = "have the proxy send X-Forwarded-For instead of the PROXY protocol"
    elif "h2" in cfg.http_protocols:
        found, instead = f"http_protocols is {','.join(cfg.http_protocols)}", "terminate HTTP/2 in a proxy"
    elif cfg.protocol != "http":
        found, instead = f"protocol is {cfg.protocol}", "have the proxy send HTTP/1.1"
    else:
        return None
    return (
        f"{found}; the worker class {cfg.worker_class_str} supports HTTP/1 only, without TLS and without the "
        f"PROXY protocol. Use the worker class gthread, or {instead}"
    )


class ProbeLaneWorker(ThreadWorker):  # type: ignore[misc] # Gunicorn has no types
    """Worker with dedicated threads for probes: `worker_class = "gunicorn_fast.ProbeLaneWorker"`."""

    connection_class = Connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keepalived_conns = DeadlineQueue()  # idle since the last response
        self.unused_conns = DeadlineQueue()  # new, no byte received yet
        self.pending_conns = HeaderQueue()  # have sent a part of their headers
        self.lingering_conns = DeadlineQueue()  # closed by us and not by the client yet
        self.probes = get_drain().probes
        self.probe_pools: dict[bytes, ThreadPoolExecutor] = {}  # by the probe's route
        self.expiring = False
        self.unread_pool = ThreadPoolExecutor(UNREAD_THREADS, thread_name_prefix="unread")

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse unsupported settings in the master, before the first worker."""
        if (sentence := unsupported(cfg)) is not None:
            log.critical("%s", sentence)
            sys.exit(1)
        super().check_config(cfg, log)

    def init_process(self) -> None:
        """Limit the connections to the number of files that can be open: one too many ends the worker."""
        # A reload does not check the worker class; Gunicorn then exits with this status.
        if (sentence := unsupported(self.cfg)) is not None:
            self.log.critical("%s", sentence)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        self.worker_connections = raise_file_limit(self.cfg.worker_connections)
        self.max_keepalived = self.worker_connections - self.cfg.threads
        self.limits = HeaderLimits(self.cfg)
        super().init_process()

    def handle_quit(self, sig: int, frame: Any) -> None:
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
            for queue in (self.unused_conns, self.pending_conns):
                for conn in queue:
                    self.shorten_timeout(conn)
        super().set_accept_enabled(enabled)

    def accept(self, listener: Any) -> None:
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
        """Close the oldest silent connection if there is no room for a new one.

        Otherwise a flood of silent connections would exclude other clients until their timeouts.
        """
        if self.nr_conns < self.worker_connections:
            return
        latest = time.monotonic() - GIVE_WAY
        for queue in (self.lingering_conns, self.unused_conns, self.pending_conns):
            if queue and queue[0].since <= latest:
                conn = queue[0]
                self.unregister(conn)
                self.drop(conn)
                return

    # ---- waiting connections -------------------------------------------------------------------------

    def wait(self, conn: Connection, queue: DeadlineQueue, seconds: float, callback: Callback) -> None:
        """Let `conn` wait in `queue` until it is readable or its timeout has passed."""
        conn.sock.setblocking(False)
        conn.since = time.monotonic()
        conn.timeout = conn.since + seconds
        if not self.alive:
            self.shorten_timeout(conn)
        conn.queue = queue
        queue.append(conn)
        self.register(conn, callback)

    def shorten_timeout(self, conn: Connection) -> None:
        """Shorten the timeout of `conn` to STOP_LINGER."""
        conn.timeout = min(conn.timeout, time.monotonic() + STOP_LINGER)

    def register(self, conn: Connection, callback: Callback) -> None:
        """Let the poller call back when `conn` is readable."""
        conn.callback = callback
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_readable, conn))

    def on_readable(self, conn: Connection, client: Any) -> None:
        """Call the callback of `conn`."""
        conn.callback(conn, client)

    def unregister(self, conn: Connection) -> None:
        """End the wait of `conn`."""
        conn.queue.remove(conn)
        self.poller.unregister(conn.sock)
        conn.callback = ignore_late_event

    def drop(self, conn: Connection) -> None:
        """Close `conn`, which is in no queue."""
        self.nr_conns -= 1
        conn.callback = ignore_late_event
        conn.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Leave timeouts to `murder_pending`, except at the end (gthread: close all expired connections)."""
        if force:
            super().murder_keepalived(force=True)

    def murder_pending(self) -> None:
        """Close the connections whose timeout has passed, new and lingering ones too."""
        if not self.expiring:
            self.expire()
        self.make_room()

    def expire(self) -> None:
        """Close some of the connections whose timeout has passed, and the others later.

        Thousands of clients that connected at the same time have the same timeout: closing all at once would
        delay other clients and probes.
        """
        now, left = time.monotonic(), EXPIRED_AT_ONCE
        for queue in (self.keepalived_conns, self.pending_conns, self.unused_conns, self.lingering_conns):
            while queue and queue[0].timeout <= now:
                if not left:
                    self.expiring = True
                    self.method_queue.defer(self.expire)
                    return
                left -= 1
                conn = queue[0]
                self.unregister(conn)
                self.drop(conn)
        self.expiring = False

    # ---- requests ------------------------------------------------------------------------------------

    def read_headers(self, conn: Connection) -> None:
        """Read the headers of the next request of `conn`, which is in no queue."""
        if conn.receive():
            self.dispatch(conn)
        elif conn.partial is None:
            seconds = max(self.cfg.keepalive, FIRST_BYTE_MIN)
            self.wait(conn, self.unused_conns, seconds, self.on_client_socket_readable)
        else:
            self.await_headers(conn)

    def await_headers(self, conn: Connection) -> None:
        """Wait for the rest of the headers of `conn`."""
        self.wait(conn, self.pending_conns, HEADER_TIMEOUT, self.on_pending_socket_readable)
        self.pending_conns.grow(conn)

    def dispatch(self, conn: Connection) -> None:
        """Queue the request of `conn`, or close `conn` if the client has closed it."""
        if conn.closed:
            self.drop(conn)
        else:
            self.enqueue_req(conn)

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:  # noqa: ARG002 - gthread's
        """Read from a new or idle connection (gthread: a thread does, and waits)."""
        self.unregister(conn)
        self.read_headers(conn)

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:  # noqa: ARG002 - gthread's
        """Read more of the headers, without renewing their timeout."""
        if conn.receive():
            self.unregister(conn)
            self.dispatch(conn)
        else:
            self.pending_conns.grow(conn)
            if self.pending_conns.large_total > LARGE_HEADERS_TOTAL:
                self.refuse_large()

    def refuse_large(self) -> None:
        """Refuse the headers that have been large for the longest time."""
        conn = next(iter(self.pending_conns.large))
        self.unregister(conn)
        conn.refuse(LimitRequestHeaders("too many large headers at once"))
        self.dispatch(conn)

    def enqueue_req(self, conn: Connection) -> None:
        """Submit the request to a thread, a probe to a dedicated one (gthread: the same for all)."""
        probe = self.probes.route_of_head(conn.headers, self.cfg, conn.client)
        self.submit(conn, self.tpool if probe is None else self.probe_pool(probe))

    def probe_pool(self, route: bytes) -> ThreadPoolExecutor:
        """Return the threads of a probe: scrapes take long, and many of them must not delay liveness."""
        if route not in self.probe_pools:
            self.probe_pools[route] = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        return self.probe_pools[route]

    def submit(self, conn: Connection, pool: ThreadPoolExecutor) -> None:
        """Submit the request of `conn` to a thread of `pool`."""
        headers, conn.headers = conn.headers, b""
        conn.init()
        if headers:  # else the parser is a Refusal
            conn.parser.unreader.unread(headers)
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    # ---- after a response ----------------------------------------------------------------------------

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        """Keep the connection or close it, in either case without waiting (gthread: up to 2 s)."""
        try:
            keep = not fs.cancelled() and fs.result()
        except Exception:
            self.log.exception("Unexpected end of a request")
            keep = False
        self.keep_or_close(conn, keep)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Let other threads wait for the rest of a body (gthread: 5 s, in the request's thread)."""
        if keepalive and conn.has_unread_body():
            conn.unread_since = time.monotonic()
            return True
        return bool(super()._keepalive_after(conn, keepalive))

    def discard_body(self, conn: Connection) -> None:
        """Let another thread discard the rest of a body, to keep `conn`; close it after a timeout."""
        future = self.unread_pool.submit(self.finish_body, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_body(self, conn: Connection) -> bool:
        """Read the rest of a body; return whether it is complete, so that `conn` can be kept."""
        deadline, conn.unread_since = conn.unread_since + DEFAULT_WORKER_DATA_TIMEOUT, 0.0
        try:
            return bool(conn.parser.finish_body(deadline=deadline))
        except (NoMoreData, OSError):
            return False
        except Exception as error:  # noqa: BLE001 - Gunicorn responds to the error, as in handle()
            self.handle_error(conn.parser.mesg, conn.sock, conn.client, error)
            return False

    def keep_or_close(self, conn: Connection, keep: bool) -> None:
        """Keep `conn` after a response, or close it."""
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
            self.await_headers(conn)

    def linger(self, conn: Connection) -> None:
        """Close our end and wait for the client's, so that no reset overtakes the response."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
        else:
            self.wait(conn, self.lingering_conns, LINGER_TIMEOUT, self.on_lingering_socket_readable)

    def on_lingering_socket_readable(self, conn: Connection, client: Any) -> None:
        """Discard data that the client still sends, until it closes its end too."""
        try:
            received = len(client.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            received = 0
        conn.discarded += received
        if not received or conn.discarded > LINGER_BYTES:
            self.unregister(conn)
            self.drop(conn)
