"""Event loop of a worker's streams, which notifies and closes them.

One asyncio loop in a dedicated thread of each worker process, started by the first stream, so never before
the fork. (In a gevent worker that thread is a greenlet, and asyncio waits in gevent's hub.) When the process
is asked to terminate, the loop notifies each connection at a separate moment.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Collection, Iterable
from functools import partial
from http import HTTPStatus

from gunicorn_drain.drain import Drain
from gunicorn_drain.open_files import SPARE_FILES, raise_file_limit
from gunicorn_drain.shared import StreamCounter
from gunicorn_drain.streams.detach import StreamRefusedError
from gunicorn_drain.streams.schedule import GoAwaySchedule
from gunicorn_drain.throttled_log import ThrottledLog

logger = logging.getLogger("gunicorn.error")

KINDS = ("events", "websocket")
"""Kinds of streams of this package, which the drain counts separately."""

POLL = 0.1
"""Interval between two checks whether this process is asked to terminate, in seconds."""

BATCH = 25
"""Number of streams to update in a row, before request threads get the processor for BATCH_PAUSE."""

BATCH_PAUSE = 0.005
"""Pause between two batches, in seconds: an update reaches 500 streams within 0.1 s."""

UNSENT_MAX = 65536
"""Number of unsent bytes of a connection above which nothing more is read from it."""

READ_TIMEOUT = 10.0
"""Timeout after which a connection with more than UNSENT_MAX unsent bytes is aborted, in seconds."""

ACKNOWLEDGE_TIMEOUT = 20_000
"""Timeout after which the kernel aborts a connection whose peer acknowledges nothing, in milliseconds."""

CLOSE_TIMEOUT = 1.0
"""Timeout for the end of a connection that was notified or closed, also after the deadline, in seconds."""


class Stream(asyncio.Protocol):
    """A connection that outlives its request. Methods except `admit`, `take`, `refuse` run in the loop."""

    kind: str
    """One of the kinds of its StreamLoop."""

    def __init__(self, loop: StreamLoop) -> None:
        self.transport: asyncio.Transport
        self.notified_at = 0.0  # of the loop's clock; 0.0 before
        self.finished = False  # nothing more is sent
        self._loop = loop
        self._greeting = b""
        self._early = b""
        self._stuck_since = 0.0
        self._notification: asyncio.TimerHandle | None = None
        self._outcome: StreamCounter | None = None

    # ---- for subclasses to define ----------------------------------------------------------------

    def update(self) -> None:
        """Send new data. Called after the response's headers, each second, and before `send_go_away`."""

    def response_headers(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        """Return status line and headers of the response."""
        raise NotImplementedError

    def send_go_away(self, retry: int) -> None:
        """Ask the client to reconnect after `retry` milliseconds."""
        raise NotImplementedError

    def maintain(self, now: float) -> None:
        """Perform due work, once a second. `now`: time of the loop's clock."""
        if self._stuck_since and now - self._stuck_since > READ_TIMEOUT:
            self.abort("it does not read")

    # ---- from opening to close -------------------------------------------------------------------

    def admit(self) -> None:
        """Raise StreamRefusedError if there is no room for one more stream (ConnectionOwner)."""
        self._loop.admit(self.kind)

    def take(
        self, connection: socket.socket, early: bytes, status: str, headers: list[tuple[str, str]]
    ) -> None:
        """Own `connection` from now on (ConnectionOwner)."""
        self._greeting, self._early = self.response_headers(status, headers), early
        # macOS has no such option; there a silent peer ends with the system's own retransmissions.
        if connection.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ACKNOWLEDGE_TIMEOUT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_MAX)
        self._loop.adopt(self, connection)

    def refuse(self, reason: str) -> None:
        """Count and log that the stream is not opened (ConnectionOwner)."""
        self._loop.refuse(self.kind, reason)

    @property
    def is_active(self) -> bool:
        """True while data can still be sent."""
        return not self.finished and not self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes, as `encode` returns them."""
        self.transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the response's headers and new data, then process the data that was received early."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio's promise, for mypy
        self.transport = transport
        transport.set_write_buffer_limits(high=UNSENT_MAX)
        transport.write(self._greeting)
        self._loop.opened(self)
        if self._early:
            asyncio.get_running_loop().call_soon(self.data_received, self._early)
        self._greeting = self._early = b""

    def eof_received(self) -> None:
        """Close our end too."""
        self.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Count the outcome of the connection."""
        if self._notification:
            self._notification.cancel()
        self._loop.closed(self, self._outcome or (StreamCounter.LEFT if self.notified_at else None))

    def pause_writing(self) -> None:
        """Read nothing more from a peer that does not read."""
        self._stuck_since = asyncio.get_running_loop().time()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again: the peer has read."""
        self._stuck_since = 0.0
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def notify_at(self, when: float) -> None:
        """Notify the client at `when` of the loop's clock."""
        self._notification = asyncio.get_running_loop().call_at(when, self.notify)

    def notify(self) -> None:
        """Ask the client to reconnect elsewhere, once."""
        if not self.is_active:
            return
        self.update()
        self.finished = True
        self.notified_at = asyncio.get_running_loop().time()
        self._loop.count(self, StreamCounter.NOTIFIED)
        self.send_go_away(self._loop.schedule.retry())

    def close(self) -> None:
        """Close our end; unsent data has CLOSE_TIMEOUT."""
        self.finished = True
        self.transport.close()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.transport.abort)

    def abort(self, reason: str) -> None:
        """Abort the connection of a client that violates the protocol."""
        self.record_protocol_error(reason)
        self.transport.abort()

    def record_protocol_error(self, reason: str) -> None:
        """Count the connection among the protocol errors, whatever follows."""
        logger.debug("%s: dropped, %s", self.kind, reason)
        self._outcome = self._outcome or StreamCounter.PROTOCOL_ERRORS

    def close_at_deadline(self) -> None:
        """Close the connection, because its client did not."""
        self._outcome = self._outcome or StreamCounter.CLOSED_AT_DEADLINE
        self.close()


class StreamLoop:
    """Event loop with the streams of this process."""

    def __init__(
        self,
        drain: Drain,
        schedule: GoAwaySchedule,
        limit: int,
        limit_name: str = "limit",
        kinds: Collection[str] = KINDS,
    ) -> None:
        """Create the loop together with the application: each process must declare the same kinds.

        `limit`: maximum number of streams of a process at once. `limit_name`: its name in errors, such as
        the setting's.
        """
        self.schedule = schedule
        self.kinds = tuple(kinds)
        drain.declare_streams(*kinds)
        self._drain = drain
        self._limit, self._limit_name = limit, limit_name
        self._refusals = ThrottledLog(logger)
        self._held = 0  # connections from their request on
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: set[asyncio.Task[object]] = set()
        self._streams: dict[Stream, None] = {}
        self._terminating = False

    # ---- called by request threads ---------------------------------------------------------------

    def admit(self, kind: str) -> None:
        """Raise StreamRefusedError if there is no room for one more stream."""
        if self._held >= self._limit:
            reason = (
                f"This worker has its maximum of long-lived connections, {self._limit} ({self._limit_name})."
            )
            self.refuse(kind, reason)
            raise StreamRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    def refuse(self, kind: str, reason: str) -> None:
        """Count and log a connection that is not opened."""
        self._drain.count_stream(kind, StreamCounter.REFUSED)
        self._refusals.add(reason, f"Refused a connection, {kind}: {reason}")

    def adopt(self, stream: Stream, connection: socket.socket) -> None:
        """Hold `connection` from now on."""
        with self._lock:
            self._held += 1
            if self._loop is None:
                self._loop = self._start()
        # Before the request is over, so that a drain always counts one of the two.
        self.count(stream, StreamCounter.OPENED)
        self.count(stream, StreamCounter.OPEN)
        self._loop.call_soon_threadsafe(self._open, stream, connection)

    def count(self, stream: Stream, counter: StreamCounter, change: int = 1) -> None:
        """Count `stream`."""
        self._drain.count_stream(stream.kind, counter, change)

    def _start(self) -> asyncio.AbstractEventLoop:
        # One open file each, in addition to the worker's own.
        needed = self._drain.worker.connections_max + self._limit
        if (allowed := raise_file_limit(needed)) < needed:
            files, name = allowed + SPARE_FILES, self._limit_name
            logger.warning("Open files are limited to %d: too few for %s, %d", files, name, self._limit)
        loop = asyncio.new_event_loop()
        loop.call_soon(self._on_second)
        loop.call_soon(self._poll)
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
            logger.error("A long-lived connection could not be detached from its worker", exc_info=error)
            connection.close()
            self.closed(stream, None)

    def opened(self, stream: Stream) -> None:
        """Register `stream`, which has its connection."""
        self._streams[stream] = None
        self._update(stream)
        if self._terminating:
            self._notify_all([stream])

    def closed(self, stream: Stream, outcome: StreamCounter | None) -> None:
        """Unregister `stream`, which has lost its connection."""
        self._streams.pop(stream, None)
        if outcome is not None:
            self.count(stream, outcome)
        self.count(stream, StreamCounter.OPEN, -1)
        with self._lock:
            self._held -= 1

    def _update(self, stream: Stream) -> None:
        if stream.is_active:
            stream.update()

    def _on_second(self) -> None:
        asyncio.get_running_loop().call_later(1 - time.time() % 1, self._on_second)
        self._update_all(list(self._streams))

    def _update_all(self, streams: list[Stream]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for stream in streams[:BATCH]:
            if stream.transport.is_closing():
                continue
            try:
                self._update(stream)
                stream.maintain(now)
            except Exception:
                logger.exception("A long-lived connection was aborted after an error")  # this one only
                stream.transport.abort()
        if len(streams) > BATCH:
            loop.call_later(BATCH_PAUSE, self._update_all, streams[BATCH:])

    def _poll(self) -> None:
        """Notify and close streams when the process is asked to terminate."""
        asyncio.get_running_loop().call_later(POLL, self._poll)
        if self._drain.terminating_since:
            if not self._terminating:
                self._terminating = True
                self._notify_all(list(self._streams))
            self._close_late()

    def _notify_all(self, streams: list[Stream]) -> None:
        began = self._drain.terminating_since  # of time.monotonic(), which is asyncio's clock too
        moments = self.schedule.moments(len(streams), time.monotonic() - began)
        for stream, moment in zip(streams, moments, strict=True):
            stream.notify_at(began + moment)

    def _close_late(self) -> None:
        now = time.monotonic()
        if now >= self._drain.terminating_since + self.schedule.deadline:
            late = [
                each for each in self._streams if each.notified_at and now - each.notified_at >= CLOSE_TIMEOUT
            ]
            self._close(late, f"{self.schedule.deadline:g} s after the drain began")

    def _close(self, streams: Iterable[Stream], when: str) -> None:
        closed = dict.fromkeys(self.kinds, 0)
        for stream in list(streams):
            if not stream.transport.is_closing():
                stream.close_at_deadline()
                closed[stream.kind] += 1
        if any(closed.values()):
            logger.warning(
                "Long-lived connections closed %s, whose clients had not reconnected: %s",
                when,
                ", ".join(f"{count} {kind}" for kind, count in closed.items()),
            )

    # ---- at the end of the process ---------------------------------------------------------------

    def _at_exit(self) -> None:
        """Notify the streams that are open at a stop before the drain's end, without waiting for clients."""
        if self._loop is None or self._drain.policy is None:
            return  # without the drain they are closed as by stock Gunicorn
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        with contextlib.suppress(TimeoutError):
            ending.result(CLOSE_TIMEOUT)

    async def _end(self) -> None:
        # A connection whose request ended just before the process is not among the streams yet.
        if self._opening:
            await asyncio.wait(self._opening)
        for stream in list(self._streams):
            stream.notify()
        self._close(self._streams, "at the stop")
        await asyncio.sleep(0)  # the closed ones are counted
