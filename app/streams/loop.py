"""The event loop that holds a worker's long connections, and how they leave.

One asyncio loop in a thread of its own for each worker process, started by the first long connection,
so never before the fork. (In a gevent worker that thread is a greenlet, and asyncio waits in gevent's
hub.) It makes each tick once for everybody, and when the process is to leave, it tells each connection
at a moment of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from werkzeug.exceptions import ServiceUnavailable

from app.refusals import RefusalLog
from app.settings import WORKER_CONNECTIONS
from app.streams import ticks
from gunicorn_drain import Drain, StreamCounter

logger = logging.getLogger(__name__)

KINDS = ("events", "websocket")
"""Kinds of long connections, which the drain counts separately."""

SPARE_FILES = 64
"""File descriptors for everything that is no connection of a client."""

LOOK = 0.1
"""Seconds between two looks at whether this process is to leave."""

SLICE = 25
"""Connections that are written to in one go. Then the processor is the request threads' for a while."""

PAUSE = 0.005
"""Seconds between two such slices: a tick reaches 500 connections within 0.1 s."""

UNSENT_BYTES = 65536
"""What may wait for a peer to read it. Above it nothing more is read from the peer."""

SLOW = 10.0
"""Seconds for which more than that may wait, before the peer is dropped."""

SILENT = 20_000
"""Milliseconds after which the kernel gives a peer up that acknowledges nothing."""

COURTESY = 1.0
"""Seconds that a connection has to go after it was told or closed, also when the deadline has passed."""


@dataclass(frozen=True)
class Farewell:
    """When to tell connections to go. Seconds since SIGTERM, and seconds that a client is to wait.

    `0 <= first <= last <= deadline`: the share that has been told grows evenly from `first` to `last`;
    what is still there at `deadline` is closed.
    """

    first: float
    last: float
    deadline: float
    retry_min: float
    retry_max: float

    def moments(self, count: int, elapsed: float) -> list[float]:
        """Choose for each of `count` connections when to tell it, not before `elapsed` seconds.

        Evenly, and by chance within its part, so that neither pods nor clients fall into step. What comes
        when the others have been told gets half of the time that is left.
        """
        begin = max(self.first, elapsed)
        end = self.last if elapsed <= self.last else max(begin, (begin + self.deadline) / 2)
        # By chance to spread, not to hide.
        moments = [begin + (end - begin) * (part + random.random()) / count for part in range(count)]  # noqa: S311
        random.shuffle(moments)
        return moments

    def retry(self) -> int:
        """Choose how many milliseconds a client is to wait before it comes back."""
        return round(1000 * random.uniform(self.retry_min, self.retry_max))  # noqa: S311 - to spread, not to hide


class Stream(asyncio.Protocol):
    """One long connection. Everything but `take` runs in the loop's thread."""

    kind: str
    """One of KINDS."""

    def __init__(self, loop: StreamLoop, start: ticks.Resume) -> None:
        """`start` is where the client wants to go on."""
        self.transport: asyncio.Transport
        self.after = ticks.now() - 1 if start.after is None else start.after
        self.problem = start.problem
        self.told_at = 0.0  # of the loop's clock; 0.0 before
        self.over = False  # nothing more is said
        self.origin = loop.origin
        self._loop = loop
        self._greeting = b""
        self._early = b""
        self._stuck_since = 0.0
        self._farewell: asyncio.TimerHandle | None = None
        self._outcome: StreamCounter | None = None

    # ---- what each kind says ---------------------------------------------------------------------

    def head(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        """Make the head of the answer."""
        raise NotImplementedError

    def encode(self, sequence: int) -> bytes:
        """Make what is sent for a tick; the same for all streams of the same `wire`."""
        raise NotImplementedError

    def encode_missing(self, missing: dict[str, object]) -> bytes:
        """Make what is sent before a tick that does not follow the client's last one."""
        raise NotImplementedError

    @property
    def wire(self) -> object:
        """What tells streams apart whose ticks are written differently."""
        return type(self)

    def say_farewell(self, retry: int) -> None:
        """Tell the peer to go, and to come back after `retry` milliseconds."""
        raise NotImplementedError

    def tend(self, now: float) -> None:
        """Look after it once a second. `now` is of the loop's clock."""
        if self._stuck_since and now - self._stuck_since > SLOW:
            self.drop("it does not read")

    # ---- its life --------------------------------------------------------------------------------

    def take(
        self, connection: socket.socket, early: bytes, status: str, headers: list[tuple[str, str]]
    ) -> None:
        """Own `connection` from now on (see `app.streams.handover.Taker`)."""
        self._greeting, self._early = self.head(status, headers), early
        # macOS has no such option; there a silent peer ends with the system's own retransmissions.
        if connection.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
        self._loop.adopt(self, connection)

    def refuse(self, why: str) -> None:
        """Count and log that it is not opened (see `app.streams.handover.Taker`)."""
        self._loop.refuse(self.kind, why)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer, catch up, and go on with what came early."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's promise, for mypy
        self.transport = transport
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        transport.write(self._greeting)
        self._loop.joined(self)
        if self._early:
            asyncio.get_running_loop().call_soon(self.data_received, self._early)
        self._greeting = self._early = b""

    def eof_received(self) -> None:
        """The peer leaves."""
        self.hang_up()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Count how it ended."""
        if self._farewell:
            self._farewell.cancel()
        self._loop.left(self, self._outcome or (StreamCounter.LEFT if self.told_at else None))

    def pause_writing(self) -> None:
        """Too much waits for the peer to read it: read nothing more from it either."""
        self._stuck_since = asyncio.get_running_loop().time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._stuck_since = 0.0
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def tell_at(self, when: float) -> None:
        """Tell it to go at `when` of the loop's clock."""
        self._farewell = asyncio.get_running_loop().call_at(when, self.tell)

    def tell(self) -> None:
        """Tell it to go, once."""
        if self.over or self.transport.is_closing():
            return
        self._loop.catch_up(self)
        self.over = True
        self.told_at = asyncio.get_running_loop().time()
        self._loop.count(self, StreamCounter.NOTIFIED)
        self.say_farewell(self._loop.farewell.retry())

    def hang_up(self) -> None:
        """Close our end; what is not sent yet has a moment."""
        self.over = True
        self.transport.close()
        asyncio.get_running_loop().call_later(COURTESY, self.transport.abort)

    def drop(self, why: str) -> None:
        """Hang up on a peer that does not keep to the rules."""
        self.broke_the_rules(why)
        self.transport.abort()

    def broke_the_rules(self, why: str) -> None:
        """Count it as dropped, whatever comes after."""
        logger.debug("%s: dropped, %s", self.kind, why)
        self._outcome = self._outcome or StreamCounter.PROTOCOL_ERRORS

    def force(self) -> None:
        """Close it, because it does not go."""
        self._outcome = self._outcome or StreamCounter.CLOSED_AT_DEADLINE
        self.hang_up()


class StreamLoop:
    """The long connections of this process."""

    def __init__(
        self, drain: Drain, farewell: Farewell, origin: ticks.Origin, limit: int, replay: int
    ) -> None:
        """`limit`: connections of this process at once. `replay`: seconds for which ticks are repeated."""
        self.origin = origin
        self.farewell = farewell
        self.replay = replay
        drain.declare_streams(*KINDS)
        self._drain = drain
        self._limit = limit
        self._refusals = RefusalLog(logger)
        self._held = 0  # connections from their request on
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: set[asyncio.Task[object]] = set()
        self._streams: dict[Stream, None] = {}
        self._last = 0  # the present tick
        self._ticks: dict[object, bytes] = {}  # the present tick as each kind of stream writes it
        self._leaving = False

    # ---- called by request threads ---------------------------------------------------------------

    def admit(self, kind: str) -> None:
        """Raise ServiceUnavailable where there is no room for one more."""
        if self._held >= self._limit:
            why = f"This worker holds {self._limit} long connections (STREAM_LIMIT)."
            self.refuse(kind, why)
            raise ServiceUnavailable(why, retry_after=1)

    def refuse(self, kind: str, why: str) -> None:
        """Count and log a connection that is not opened."""
        self._drain.count_stream(kind, StreamCounter.REFUSED)
        self._refusals.add(why, f"Refused a connection, {kind}: {why}")

    def adopt(self, stream: Stream, connection: socket.socket) -> None:
        """Hold `connection` from now on."""
        with self._lock:
            self._held += 1
            if self._loop is None:
                self._loop = self._start()
        # Before the request is over, so that a drain never sees neither of the two.
        self.count(stream, StreamCounter.OPENED)
        self.count(stream, StreamCounter.OPEN)
        self._loop.call_soon_threadsafe(self._open, stream, connection)

    def count(self, stream: Stream, what: StreamCounter, change: int = 1) -> None:
        """Count `stream`."""
        self._drain.count_stream(stream.kind, what, change)

    def _start(self) -> asyncio.AbstractEventLoop:
        # An open file each, on top of the worker's own.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = WORKER_CONNECTIONS + SPARE_FILES + self._limit
        if needed > hard:
            logger.warning("Open files are limited to %d: too few for STREAM_LIMIT, %d", hard, self._limit)
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that `hard` does not show
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, needed), hard), hard))
        loop = asyncio.new_event_loop()
        loop.call_soon(self._tick)
        loop.call_soon(self._look)
        threading.Thread(target=loop.run_forever, name="streams", daemon=True).start()
        atexit.register(self._at_exit)
        return loop

    # ---- in the loop's thread --------------------------------------------------------------------

    def _open(self, stream: Stream, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        opening = loop.create_task(loop.connect_accepted_socket(lambda: stream, connection))
        self._opening.add(opening)
        opening.add_done_callback(partial(self._opened, stream, connection))

    def _opened(self, stream: Stream, connection: socket.socket, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if error := opening.exception():
            logger.error("A connection could not be taken over", exc_info=error)
            connection.close()
            self.left(stream, None)

    def joined(self, stream: Stream) -> None:
        """`stream` has its connection."""
        self._advance()
        self._streams[stream] = None
        if stream.problem:
            stream.transport.write(
                stream.encode_missing({"missing": None, "first": stream.after + 1, "detail": stream.problem})
            )
        self.catch_up(stream)
        if self._leaving:
            self._tell_all([stream])

    def left(self, stream: Stream, outcome: StreamCounter | None) -> None:
        """`stream` has lost its connection."""
        self._streams.pop(stream, None)
        if outcome is not None:
            self.count(stream, outcome)
        self.count(stream, StreamCounter.OPEN, -1)
        with self._lock:
            self._held -= 1

    def _advance(self) -> None:
        """Make the present tick, unless the clock has been set back."""
        present = ticks.now()
        if present > self._last:
            self._last = present
            self._ticks.clear()

    def catch_up(self, stream: Stream) -> None:
        """Send `stream` the ticks that it does not have yet."""
        if stream.over or stream.after >= self._last or stream.transport.is_closing():
            return
        if stream.after == self._last - 1:
            wire = stream.wire
            if wire not in self._ticks:
                self._ticks[wire] = stream.encode(self._last)
            data = self._ticks[wire]
        else:
            first = max(stream.after + 1, self._last - self.replay)
            data = b"".join(map(stream.encode, range(first, self._last + 1)))
            if missing := first - stream.after - 1:  # away for long, or the clock has been set
                data = stream.encode_missing({"missing": missing, "first": first}) + data
        stream.after = self._last
        stream.transport.write(data)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1 - time.time() % 1, self._tick)
        self._advance()
        self._broadcast(list(self._streams))

    def _broadcast(self, streams: list[Stream]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for stream in streams[:SLICE]:
            if stream.transport.is_closing():
                continue
            try:
                self.catch_up(stream)
                stream.tend(now)
            except Exception:
                logger.exception("A long connection failed")  # this one only
                stream.transport.abort()
        if len(streams) > SLICE:
            loop.call_later(PAUSE, self._broadcast, streams[SLICE:])

    def _look(self) -> None:
        """Leave when it is time."""
        asyncio.get_running_loop().call_later(LOOK, self._look)
        if self._drain.terminating_since:
            if not self._leaving:
                self._leaving = True
                self._tell_all(list(self._streams))
            self._force_late()

    def _elapsed(self) -> float:
        return time.monotonic() - self._drain.terminating_since

    def _tell_all(self, streams: list[Stream]) -> None:
        began = self._drain.terminating_since  # of time.monotonic(), which is asyncio's clock too
        for stream, moment in zip(streams, self.farewell.moments(len(streams), self._elapsed()), strict=True):
            stream.tell_at(began + moment)

    def _force_late(self) -> None:
        now = time.monotonic()
        deadline = self._drain.terminating_since + self.farewell.deadline
        if now >= deadline:
            late = [each for each in self._streams if each.told_at and now - each.told_at >= COURTESY]
            self._force(late, f"{self.farewell.deadline:g} s after they should leave")

    def _force(self, streams: Iterable[Stream], when: str) -> None:
        forced = dict.fromkeys(KINDS, 0)
        for stream in list(streams):
            if not stream.transport.is_closing():
                stream.force()
                forced[stream.kind] += 1
        if any(forced.values()):
            logger.warning(
                "Long connections that were told to go and did not, closed %s: %s",
                when,
                ", ".join(f"{count} {kind}" for kind, count in forced.items()),
            )

    # ---- at the end of the process ---------------------------------------------------------------

    def _at_exit(self) -> None:
        """A stop before the drain was over: tell whoever is left, without waiting for anyone."""
        if self._loop is None or self._drain.policy is None:
            return  # without the drain, cut as stock Gunicorn does
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._end, done.set)
        done.wait(COURTESY)

    def _end(self, done: Callable[[], None]) -> None:
        for stream in list(self._streams):
            stream.tell()
        self._force(self._streams, "at the stop")
        asyncio.get_running_loop().call_soon(done)
