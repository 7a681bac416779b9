"""Gunicorn's gthread worker as leader and followers: the thread that polls serves requests itself.

In gthread each request goes from the event loop to a thread and back, which costs more than most
answers do. Here one thread at a time, the leader, runs the event loop and serves what is ready
itself. When a request lasts, the main thread passes the loop on to a spare thread; who was the leader
finishes that request and becomes a follower. The next requests of that kind go to threads at once,
as in gthread. One thread more than THREADS sees to it that one is always left for the loop: requests
beyond THREADS wait in a queue. Probes keep their lane.

The main thread runs Gunicorn's run(): signals, sign of life, connections whose time is up. For that
it takes the loop back once a second, so a loop that hangs gives no sign of life.
"""

from __future__ import annotations

import contextlib
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from selectors import EVENT_READ, SelectorKey
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

from app.worker import Connection, ProbeLaneWorker
from leader.http import HeadParser, PlainEnvironment, PlainHeads, WholeResponse

PATIENCE = 0.005
"""Seconds after which the main thread looks whether the leader is still at the same request, to pass the
loop on: a request lasts once it is seen twice."""

QUIET_LOOKS = 20
"""Looks without any request after which the main thread stops looking until the next one."""

SWITCH_INTERVAL = 0.0005
"""Seconds that a computing thread may keep the interpreter from the others (Python's default is 5 ms)."""

APART = 8
"""Requests after one that lasted that are given to threads at once, before the next of their kind is tried
by the leader; twice as many each time that lasts too."""

APART_MOST = 256

KINDS = 1024
"""Kinds of requests to remember as slow."""

ACCEPTS = 16
"""Connections to accept at once. Not all that wait, so that other workers have their share."""

TURN = 0.002
"""Duration for which the leader serves requests before it polls again, in seconds. Probes and new requests
wait for the poll; a request of the other connections is served between any two of the same connection."""

LET_GO = "leader.let_go"
"""The environ's key of a function to call before the connection is given a life of its own."""


_ASKED = re.compile(rb"[^ ]+ [^ ?]*")


class TeamConnection(Connection):
    """A connection that stays in the poller while the leader serves it."""

    polled = False
    """Whether the poller has it."""
    callback: Callable[[TeamConnection, Any], None]
    """What to do when it says something."""
    environment: PlainEnvironment
    asked = b""
    """The head of its last request."""
    early = False
    """Whether its request was there before the response to the one before was sent."""

    @property
    def has_room(self) -> bool:
        """Whether a response can be sent without waiting for the client to read the ones before."""
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        return bool(poll.poll(0))

    @property
    def kind(self) -> bytes:
        """What is asked for: method and path, without what may be a number or a UUID in it."""
        match = _ASKED.match(self.asked)
        return match[0].translate(None, b"0123456789abcdefABCDEF-.") if match else b""


@dataclass
class Slow:
    """A kind of request that has lasted."""

    level: int = APART // 2
    left: int = 0
    """How many go to threads before the leader tries one."""

    def again(self) -> None:
        """Take note that one lasted."""
        self.level = min(2 * self.level, APART_MOST)
        self.left = self.level


class Member(threading.Thread):
    """A thread of the team. When it is called, it leads or serves a request that waits, and then follows."""

    def __init__(self, worker: LeaderWorker, number: int) -> None:
        super().__init__(name=f"member-{number}", daemon=True)
        self.worker = worker
        self.call = threading.Lock()  # held until it is called
        self.call.acquire()

    def run(self) -> None:
        """Follow until called, lead if that was what for, serve those who wait; again and again."""
        while True:
            self.call.acquire()
            self.worker.lead(self)


class LeaderWorker(ProbeLaneWorker):
    """The worker: `worker_class = "leader.worker.LeaderWorker"`."""

    alive: bool
    connection_class = TeamConnection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.team = threading.Lock()  # guards the next six
        self.leader: Member | None = None  # None while the main thread has the loop
        self.followers: list[Member] = []
        self.members = 0
        self.serving: TeamConnection | None = None  # whom the leader itself serves
        self.queued: deque[TeamConnection] = deque()  # requests that wait for a thread
        self.slow: dict[bytes, Slow] = {}
        # The loop's own, whoever has it:
        self.ready: deque[SelectorKey] = deque()  # events not yet dispatched
        self.arrived: deque[TeamConnection] = deque()  # requests not yet served or queued
        self.served = 0  # requests that a leader has begun
        # Between the loop and the main thread:
        self.bell = threading.Lock()  # held until it is rung, which wakes the main thread
        self.bell.acquire()
        self.dozing = False  # the main thread is to be woken for the next request
        self.recalled = False  # the main thread wants the loop
        self.failure: BaseException | None = None  # what broke the loop

    def init_process(self) -> None:
        """Read the configuration once, and let no thread keep the interpreter for long."""
        # Config looks each setting up in a dictionary of objects, some 15 of them a request.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self.plain_heads = PlainHeads(self.cfg)
        sys.setswitchinterval(SWITCH_INTERVAL)
        super().init_process()

    # ---- the main thread -----------------------------------------------------------------------------

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Wake the main thread too (gthread: it is the one that polls)."""
        super().handle_exit(sig, frame)
        self.ring()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Let the team have the loop for so long (gthread: poll and dispatch).

        Ends sooner when the worker is to stop, and then after each event.
        """
        with self.team:
            self.call_follower()
        end = time.monotonic() + timeout
        seen, quiet = self.served, 0
        alive = self.alive
        while (left := end - time.monotonic()) > 0 and self.leader is not None and alive is self.alive:
            if quiet >= QUIET_LOOKS:
                self.dozing = True
                # Whoever began one before it could know of the doze is seen here.
                if self.served == seen:
                    self.hear_bell(left)
                self.dozing = False
                quiet = 0
                continue
            self.hear_bell(min(left, PATIENCE))
            quiet = quiet + 1 if self.served == seen else 0
            self.relieve(seen)
            seen = self.served
        self.recall(seen)

    def ring(self) -> None:
        """Wake the main thread. A signal handler may do it too, whatever it has interrupted."""
        with contextlib.suppress(RuntimeError):  # it has rung already
            self.bell.release()

    def hear_bell(self, seconds: float) -> None:
        """Wait until the bell rings, at most so long."""
        # Not SimpleQueue.get(): a signal whose handler lasts longer than the wait makes it wait for ever
        # (seen in CPython 3.11), and Gunicorn has SIGTERM not interrupt that.
        self.bell.acquire(timeout=seconds)

    def recall(self, seen: int) -> None:
        """Take the loop back, as soon as what is ready is dispatched. Raises what broke it."""
        self.recalled = True
        self.method_queue.defer(lambda: None)  # ends the poll
        while self.leader is not None:
            self.hear_bell(PATIENCE)
            self.relieve(seen)
            seen = self.served
        self.recalled = False
        if self.failure is not None:
            raise self.failure

    def relieve(self, seen: int) -> None:
        """Pass the loop on if the leader is still serving the request number `seen`."""
        # Under one lock: a leader that is done in between must not go on while another begins.
        with self.team:
            if self.serving is None or self.served != seen:
                return
            if len(self.slow) >= KINDS:
                self.slow.clear()
            self.slow.setdefault(self.serving.kind, Slow()).again()
            self.set_aside(self.serving)
            self.serving = None
            self.call_follower()

    def call_follower(self) -> None:
        """Give the loop to a follower. Needs the team's lock; there is one: see `has_spare`."""
        self.leader = self.follower()
        self.leader.call.release()

    def follower(self) -> Member:
        """Choose who is to be called. Needs the team's lock, and a spare thread."""
        if self.followers:
            return self.followers.pop()
        self.members += 1
        member = Member(self, self.members)
        member.start()
        return member

    # ---- a member of the team ------------------------------------------------------------------------

    def has_spare(self) -> bool:
        """Whether a thread is left for the loop if the leader serves a request. Needs the team's lock."""
        return bool(self.followers) or self.members <= self.cfg.threads

    def lead(self, me: Member) -> None:
        """Have the loop until relieved of it or until the main thread wants it; then serve those who wait."""
        try:
            polled = served = False
            while self.leader is me:
                # All that is ready gets in line before anything is served, and a probe goes to its lane.
                if self.ready:
                    key = self.ready.popleft()
                    key.data(key.fileobj)
                elif self.arrived and not served:
                    self.serve_arrived(me)
                    served = True
                elif self.recalled or (polled and not self.alive):
                    break  # a stopping Gunicorn looks after each poll whether anyone is left
                else:
                    self.ready.extend(key for key, _ in self.poller.select(0 if self.arrived else None))
                    polled, served = True, False
            while (conn := self.next_queued(me)) is not None:
                keep = self.serve(conn)
                self.method_queue.defer(self.finish, conn, keep)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = error
            self.leader = None
        self.ring()

    def next_queued(self, me: Member) -> TeamConnection | None:
        """Give `me`, who leads no more, a request that waits for a thread; else make it a follower."""
        with self.team:
            if self.leader is me:
                self.leader = None
            elif self.queued:
                return self.queued.popleft()
            self.followers.append(me)
            return None

    def serve_arrived(self, me: Member) -> None:
        """Serve requests in the order of arrival for one TURN; queue them if no thread is left to poll."""
        end = time.monotonic() + TURN
        while self.arrived and time.monotonic() < end:
            with self.team:
                if self.leader is not me:
                    return
                conn = self.arrived.popleft()
                slow = self.slow.get(conn.kind) if self.slow else None
                spare = self.has_spare()
                foreseen = slow is not None and slow.left > 0
                if not spare or foreseen or (conn.early and not conn.has_room):
                    self.set_aside(conn)
                    self.queued.append(conn)
                    if spare:
                        if slow is not None and foreseen:
                            slow.left -= 1
                        self.follower().call.release()
                    continue
                self.serving = conn
                self.served += 1
            if self.dozing:
                self.dozing = False
                self.ring()
            keep = self.serve(conn)
            with self.team:
                relieved = self.serving is not conn
                if not relieved:
                    self.serving = None
                    if slow is not None:
                        self.slow.pop(conn.kind, None)
            if relieved:
                self.method_queue.defer(self.finish, conn, keep)
            else:
                self.finish(conn, keep)

    def serve(self, conn: Connection) -> bool:
        """Serve one request of `conn`; returns whether to keep it."""
        try:
            return bool(self.handle(conn))
        except BaseException:  # SystemExit from the application too, which must not end a member
            self.log.exception("Unexpected end of a request")
            return False

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Drain what was left of a body; a plain request has none."""
        if keepalive and isinstance(conn.parser, HeadParser) and conn.parser.plain_head is not None:
            return True
        return bool(super()._keepalive_after(conn, keepalive))

    def create(self, req: Any, conn: Any) -> tuple[Any, dict[str, Any]]:
        """Make the response and the environ of a request."""
        ours = isinstance(conn, TeamConnection)
        if ours and (head := conn.parser.plain_head) is not None:
            resp, environ = conn.environment.create(req, head)
        else:
            resp, environ = wsgi.create(
                req, conn.sock, conn.client, conn.server, self.cfg, response_class=WholeResponse
            )
        if ours:
            environ[LET_GO] = partial(self.let_go, conn)
        return resp, environ

    def let_go(self, conn: TeamConnection) -> None:
        """Take `conn` out of the poller, for an application that moves it to a file descriptor of its own."""
        with self.team:
            self.set_aside(conn)

    def handle_request(self, req: Any, conn: Any) -> bool:  # noqa: PLR0912 - as long as Gunicorn's
        """Respond to a request: a copy of Gunicorn's, which has no setting for the class of response.

        Copyright (c) Benoit Chesneau and Paul J. Davis, MIT License: see NOTICE.
        """
        environ: dict[str, Any] = {}
        resp = None
        try:
            self.cfg.pre_request(self, req)
            request_start = datetime.now()
            resp, environ = self.create(req, conn)
            environ["wsgi.multithread"] = True
            self.nr += 1
            if self.nr >= self.max_requests:
                if self.alive:
                    self.log.info("Autorestarting worker after current request.")
                    self.alive = False
                resp.force_close()

            if not self.alive or not self.cfg.keepalive or len(self.keepalived_conns) >= self.max_keepalived:
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
                # Another head must not follow the first.
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

    # ---- what waits in the poller --------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Accept several (gthread: one), up to the limit (gthread leaves that to run(), here too rare)."""
        for _ in range(ACCEPTS):
            before = self.nr_conns
            if before >= self.worker_connections:
                self.set_accept_enabled(False)
                return
            super().accept(listener)
            if self.nr_conns <= before:
                return

    def enqueue_req(self, conn: Connection) -> None:
        """Have the request served by whoever leads; a probe by the lane's threads."""
        if not isinstance(conn, TeamConnection):
            super().enqueue_req(conn)
            return
        if conn.parser is None:
            conn.parser = HeadParser(self.plain_heads, self.cfg, conn.sock, conn.client)
            conn.environment = PlainEnvironment(self.cfg, conn.sock, conn.client, conn.server)
            conn.init()
        if self.probes.matches_head(conn.head, self.cfg, conn.client):
            self.set_aside(conn)
            self.submit(conn, self.lane_pool)
        else:
            conn.parser.head = conn.asked = conn.head
            conn.head = b""
            conn.callback = self.on_waiting_socket_readable
            self.arrived.append(conn)

    def on_waiting_socket_readable(self, conn: TeamConnection, _: Any) -> None:
        """Take `conn` out of the poller: its next request is to wait until this one is served."""
        # Left in the poller, each poll would report it again.
        self.set_aside(conn)

    def discard_body(self, conn: Connection) -> None:
        """Have the rest of a body read by another thread: not for the poller to see."""
        self.set_aside(conn)
        super().discard_body(conn)

    def listen(self, conn: Connection, callback: Callable[[Connection, Any], None]) -> None:
        """Let the poller call back; it may have kept `conn` from before."""
        conn.callback = callback
        conn.early = False
        if not conn.polled:
            conn.polled = True
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_readable, conn))

    def on_readable(self, conn: TeamConnection, client: Any) -> None:
        """Do what is to be done for `conn`; an exception costs this connection alone."""
        try:
            conn.callback(conn, client)
        except Exception:  # noqa: BLE001 - it is logged
            self.abandon(conn)

    def finish(self, conn: TeamConnection, keep: bool) -> None:
        """Keep the connection or close it; an exception costs this connection alone."""
        try:
            self.keep_or_close(conn, keep)
        except Exception:  # noqa: BLE001 - it is logged
            self.abandon(conn)

    def abandon(self, conn: TeamConnection) -> None:
        """Close `conn`, which the loop could not go on with."""
        self.log.exception("Unexpected end of a connection")
        with contextlib.suppress(KeyError):
            conn.place.remove(conn)
        self.drop(conn)

    def keep_or_close(self, conn: Connection, keep: bool) -> None:
        """Continue with `conn` or close it; a request that it continues with is early."""
        if isinstance(conn, TeamConnection):
            conn.early = True
        super().keep_or_close(conn, keep)

    def leave(self, conn: Connection) -> None:
        """End the wait of `conn`. The poller keeps it, for the wait after its request."""
        conn.place.remove(conn)

    def set_aside(self, conn: Connection) -> None:
        """Take `conn` out of the poller: the loop goes on while its request is served."""
        if conn.polled:
            conn.polled = False
            self.poller.unregister(conn.sock)

    def drop(self, conn: Connection) -> None:
        """Close `conn`, which waits nowhere; there may be room for another."""
        self.set_aside(conn)
        super().drop(conn)
        if not self._accepting and self.alive:
            self.set_accept_enabled(True)
