"""Gunicorn's gthread worker with a leader and followers: the thread that polls serves requests itself.

LeaderFollowers decides which thread runs the event loop; here is the loop, in a worker with threads for
probes. The main thread runs Gunicorn's run(): signals, heartbeat, timeouts of connections. For that it takes
the loop back once a second, so a loop that hangs has no heartbeat.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import FrameType
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request

from gunicorn_drain import DETACH_KEY
from gunicorn_fast.connection import Connection
from gunicorn_fast.http import ConnectionParser, EnvironBuilder, FastParser, SingleWriteResponse
from gunicorn_fast.leader_followers import Completion, LeaderFollowers
from gunicorn_fast.probe_worker import ProbeLaneWorker

SWITCH_INTERVAL = 0.0005
"""Maximum time that a computing thread keeps the interpreter from the others, in seconds (Python's default is
5 ms)."""

ACCEPTS = 16
"""Maximum number of connections to accept at once: other workers must get their share."""

_METHOD_AND_PATH = re.compile(rb"[^ ]+ [^ ?]*")


class LeaderConnection(Connection):
    """A connection that stays in the poller while the leader serves it: the request of LeaderFollowers."""

    environ_builder: EnvironBuilder
    take_out: Callable[[LeaderConnection], None]
    """Method of LeaderFollowers."""
    last = b""
    """Request line and headers of the last request."""

    @property
    def kind(self) -> bytes:
        """Method and path of the request, without the characters of numbers and UUIDs."""
        match = _METHOD_AND_PATH.match(self.last)
        return match[0].translate(None, b"0123456789abcdefABCDEF-.") if match else b""

    @property
    def may_block(self) -> bool:
        """True if the response may have to wait until the client reads the previous ones."""
        return self.early and not self._has_room()

    def detach(self) -> None:
        """Stop polling the connection, for an application that keeps it: the function of DETACH_KEY."""
        self.take_out(self)

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        return bool(poll.poll(0))


def logs_access(log: Logger) -> bool:
    """Return whether `log.access()` has an effect; that for statsd has one without an access log, too."""
    return log.access_log_enabled or getattr(log.access, "__func__", None) is not Logger.access


class LeaderWorker(ProbeLaneWorker):
    """Worker with a leader and followers: `worker_class = "gunicorn_fast.LeaderWorker"`."""

    connection_class = LeaderConnection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loop: LeaderFollowers[LeaderConnection] = LeaderFollowers(
            self.cfg.threads, self.poll, self.serve, self.method_queue.defer, lambda: not self.alive
        )

    def init_process(self) -> None:
        """Read the configuration once, and let no thread keep the interpreter for long."""
        # Config looks each setting up in a dictionary of objects, some 15 of them a request.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self.fast_parser = FastParser(self.cfg)
        sys.setswitchinterval(SWITCH_INTERVAL)
        super().init_process()

    def run(self) -> None:
        """Run the worker. All hooks that may change the log have been called."""
        self.logs_access = logs_access(self.log)
        super().run()

    @property
    def queued(self) -> int:
        """Number of requests that wait for a thread."""
        return self.loop.queued

    # ---- the loop ------------------------------------------------------------------------------------

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Wake the main thread too (gthread: the main thread polls)."""
        super().handle_exit(sig, frame)
        self.loop.wake()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Let the pool run the loop for `timeout` seconds (gthread: poll and dispatch)."""
        self.loop.run(timeout)

    def poll(self, block: bool) -> None:
        """Wait for events, or only check for them unless `block`, and dispatch those."""
        for key, _ in self.poller.select(None if block else 0):
            key.data(key.fileobj)

    def serve(self, conn: LeaderConnection) -> Completion:
        """Respond to a request of `conn`; return the completion for the loop."""
        try:
            keep = self.handle(conn)
        except BaseException:  # SystemExit from the application too, which must not end a thread
            self.log.exception("Unexpected end of a request")
            keep = False
        return partial(self.finish, conn, keep)

    def finish(self, conn: LeaderConnection, keep: bool) -> None:
        """Keep the connection or close it; an exception costs this connection alone."""
        conn.last = b""
        try:
            if keep and conn.parser.simple_headers is not None:
                # Neither a body nor another request can have been read with a simple one.
                self.wait(conn, self.deadlines.idle, self.cfg.keepalive, self.on_next_request)
            else:
                self.keep_or_close(conn, keep)
        except Exception:  # noqa: BLE001 - it is logged
            self.abandon(conn)

    # ---- requests ------------------------------------------------------------------------------------

    def handle(self, conn: LeaderConnection) -> bool:
        """Serve the next request of `conn`; return whether to keep the connection.

        A copy of Gunicorn's without TLS and HTTP/2, which `unsupported()` refuses, and without a system call
        for a socket that blocks already.

        Copyright (c) Benoit Chesneau and Paul J. Davis, MIT License: see NOTICE.
        """
        req = None
        try:
            # It does not for a request that is refused at once, and after an application that set a timeout.
            if conn.sock.gettimeout() is not None:
                conn.sock.setblocking(True)
            req = next(conn.parser)
            keep = self.handle_request(req, conn)
            # A simple request has no body whose rest is to be read.
            return keep and (conn.parser.simple_headers is not None or self._keepalive_after(conn, keep))
        except NoMoreData as error:
            self.log.debug("Ignored premature client disconnection. %s", error)
        except StopIteration as error:
            self.log.debug("Closing connection. %s", error)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                self.log.debug("Ignoring the end of a connection. %s", error)
            else:
                self.log.exception("Socket error processing request.")
        except Exception as error:  # noqa: BLE001 - Gunicorn responds to the error
            self.handle_error(req, conn.sock, conn.client, error)
        return False

    def create(self, req: Request, conn: LeaderConnection) -> tuple[Any, dict[str, Any]]:
        """Create the response and the environ of a request."""
        if (simple := conn.parser.simple_headers) is not None:
            resp, environ = conn.environ_builder.create(req, simple)
        else:
            resp, environ = wsgi.create(
                req, conn.sock, conn.client, conn.server, self.cfg, response_class=SingleWriteResponse
            )
        environ[DETACH_KEY] = conn.detach
        return resp, environ

    def handle_request(self, req: Request, conn: LeaderConnection) -> bool:  # noqa: PLR0912 - as long as Gunicorn's
        """Respond to a request: a copy of Gunicorn's, which has no setting for the class of response.

        Copyright (c) Benoit Chesneau and Paul J. Davis, MIT License: see NOTICE.
        """
        environ: dict[str, Any] = {}
        resp = None
        try:
            self.cfg.pre_request(self, req)
            request_start = datetime.now() if self.logs_access else None
            resp, environ = self.create(req, conn)
            environ["wsgi.multithread"] = True
            self.nr += 1
            if self.nr >= self.max_requests:
                if self.alive:
                    self.log.info("Autorestarting worker after current request.")
                    self.alive = False
                resp.force_close()

            # The number of all connections, which costs less to read, almost always decides.
            full = self.nr_conns >= self.max_keepalived and len(self.keepalived_conns) >= self.max_keepalived
            if full or not self.alive or not self.cfg.keepalive:
                resp.force_close()

            respiter = self.wsgi(environ, resp.start_response)
            try:
                if isinstance(respiter, environ["wsgi.file_wrapper"]):
                    resp.write_file(respiter)
                else:
                    for item in respiter:
                        resp.write(item)
                resp.close()
            finally:
                if request_start is not None:
                    self.log.access(resp, req, environ, datetime.now() - request_start)
                if hasattr(respiter, "close"):
                    respiter.close()

            if resp.should_close():
                self.log.debug("Closing connection.")
                return False
        except OSError:
            raise
        except (Exception, SystemExit):
            if resp and resp.headers_sent:
                # Other headers must not follow the first.
                self.log.exception("Error handling request")
                util.close_graceful(conn.sock)
                raise StopIteration from None
            raise
        finally:
            try:
                self.cfg.post_request(self, req, environ, resp)
            except Exception:
                self.log.exception("Exception in post_request hook")
        return True

    # ---- connections in the poller -------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Accept several connections (gthread: one), up to the limit.

        gthread checks the limit in the loop of run(), which is too rare here.
        """
        for _ in range(ACCEPTS):
            before = self.nr_conns
            if before >= self.worker_connections:
                self.set_accept_enabled(False)
                return
            super().accept(listener)
            if self.nr_conns <= before:
                return

    def enqueue_req(self, conn: Any) -> None:
        """Submit the request to the leader and its followers; a probe to the threads for probes.

        `conn` is a LeaderConnection, as `connection_class` creates it.
        """
        if conn.parser is None:
            conn.parser = ConnectionParser(self.fast_parser, self.cfg, conn.sock, conn.client)
            conn.environ_builder = EnvironBuilder(self.cfg, conn.sock, conn.client, conn.server)
            conn.take_out = self.loop.take_out
            conn.init()
        # A client mostly repeats its last request, which was no probe if it was served here.
        if conn.headers != conn.parser.last_simple and (
            (probe := self.probes.route_of_head(conn.headers, self.cfg, conn.client)) is not None
        ):
            self.submit(conn, self.probe_pools[probe])
        else:
            conn.parser.headers = conn.last = conn.headers
            conn.headers = b""
            conn.callback = self.on_served_readable
            self.loop.submit(conn)

    def on_served_readable(self, conn: Connection) -> None:
        """Remove `conn` from the poller: its next request has to wait until this one is served."""
        # Left in the poller, each poll would report it again.
        conn.leave_loop()

    def drop(self, conn: Connection) -> None:
        """Close `conn`, which is in no queue; there may be room for another connection."""
        super().drop(conn)
        if not self._accepting and self.alive:
            self.set_accept_enabled(True)
