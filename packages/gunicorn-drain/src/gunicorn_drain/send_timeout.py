"""Timeout of responses that their clients do not read, and a report of workers without a free thread.

A response that a client does not read holds a thread, in every worker class: once the kernel's buffers are
full, Gunicorn waits in send() without a limit. A timeout of the socket does not suffice, as it limits the
whole response, and a slow client that reads must be served. So a thread of each worker polls the kernel for
the number of bytes that the client has acknowledged.

If a receive buffer is full, TCP acknowledges the next bytes only when the client has made room for a
segment and a share of the buffer: a slow client that reads all the time seems to make no progress for
seconds. The kernel's TCP_USER_TIMEOUT is no substitute: with it Linux closes a client that reads, too, once
its window has been smaller than the next segment (up to 64 KB) for that time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gunicorn_drain.drain import Drain
from gunicorn_drain.policy import DrainPolicy
from gunicorn_drain.tcp_info import backlog_of, tcp_info
from gunicorn_drain.throttled_log import ThrottledLog

logger = logging.getLogger("gunicorn.error")

INTERVAL = 0.5
"""Interval between two polls, in seconds."""

PROGRESS_MIN = 128
"""Minimum number of bytes that a client has to read within the timeout."""

GIVE_WAY = 3.0
"""Timeout of a response that has made no progress at all, while requests wait for a thread, in seconds.

Such a response has filled the buffers at once and then stopped. A response with progress keeps its timeout.
"""

DRAIN_SHARE = 1 / 3
"""Maximum timeout in a drain, as a share of DRAIN_MAX; twice that for a response that has made progress."""

DRAIN_TIMEOUT_MIN = 1.0
"""Minimum timeout in a drain, in seconds, however short DRAIN_MAX is."""

BLOCKED_AFTER = 10.0
"""Timeout after which the service is not ready: requests wait and none begins or ends. In seconds."""

SHOWN = 100
"""Maximum number of characters of a path in the log."""


@dataclass
class Progress:
    """Progress of a response, in monotonic seconds and in bytes that the client has acknowledged."""

    since: float
    """Time of the last progress, or of the last poll that found nothing unsent."""
    acknowledged: int
    moved: bool = False
    """True if the response has made progress since the first poll."""
    unsent: bool = False

    def update(self, now: float, acknowledged: int, unsent: bool) -> None:
        """Record the result of a poll."""
        moved = acknowledged - self.acknowledged >= PROGRESS_MIN
        if moved or not unsent:
            self.since, self.acknowledged = now, acknowledged
        self.moved = self.moved or moved
        self.unsent = unsent


class SendTimeout:
    """Responses that this worker is sending, and their timeout."""

    def __init__(self, drain: Drain, seconds: float) -> None:
        """Set the timeout. `seconds`: time without progress until the close, outside a drain."""
        self._drain = drain
        self._seconds = seconds
        # Each access is one operation of a dictionary, which is atomic: requests take no lock.
        self._requests: dict[Any, None] = {}
        self._progress: dict[Any, Progress] = {}
        self._waiting_since = 0.0  # 0.0 while nothing waits

    def pre_request(self, worker: Any, req: Any) -> None:
        """Start to observe the response to `req` (Gunicorn's hook)."""
        self._drain.worker.pre_request(worker, req)
        self._requests[req] = None

    def post_request(self, worker: Any, req: Any, environ: Any = None, resp: Any = None) -> None:
        """Stop observing the response: it is sent, or has failed; Gunicorn closes later (Gunicorn's hook)."""
        self._requests.pop(req, None)
        self._drain.worker.post_request(worker, req, environ, resp)

    def post_worker_init(self, worker: Any) -> None:
        """Start to poll (Gunicorn's hook). Gunicorn has forked and gevent has patched by now."""
        self._worker = worker
        self._closed = ThrottledLog(logger)
        threading.Thread(target=self._run, name="send-timeout", daemon=True).start()

    # ---- the polling thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL)
            try:
                self._poll(time.monotonic())
            except Exception:
                logger.exception("send_timeout: a poll failed")

    def _poll(self, now: float) -> None:
        here, backlog, probes = self._queued(), self._backlog(), self._queued_probes()
        waited = now - self._waiting_since if self._waiting_since else 0.0
        self._waiting_since = (self._waiting_since or now) if here or backlog else 0.0
        self._report_blocked(waited, here, backlog)
        self._close_stalled(now, probes + (here + backlog if waited else 0))

    def _queued(self) -> int:
        """Count the requests that wait for a thread of this worker."""
        queued: int = getattr(self._worker, "queued", 0)  # of LeaderWorker
        pool = getattr(self._worker, "tpool", None)
        return queued + (pool._work_queue.qsize() if pool is not None else 0)

    def _queued_probes(self) -> int:
        """Count the probes that wait for a dedicated thread."""
        pools = getattr(self._worker, "probe_pools", {})  # of ProbeLaneWorker
        return sum(pool._work_queue.qsize() for pool in list(pools.values()))

    def _backlog(self) -> int:
        """Count the connections that wait to be accepted."""
        return sum(map(backlog_of, self._worker.sockets))

    def _report_blocked(self, waited: float, here: int, backlog: int) -> None:
        """Report in readiness and log if no thread has become free for BLOCKED_AFTER seconds."""
        # A request that waits in this worker is its own; another worker may take the backlog.
        worker, page = self._drain.worker, self._drain.page
        still = worker.seconds_since_request if here else 0.0
        if backlog:
            still = max(still, page.seconds_since_request)
        blocked = min(waited, still) >= BLOCKED_AFTER
        if blocked == worker.blocked:
            return
        worker.blocked = blocked
        if blocked:
            logger.warning(
                "Not ready: requests that wait for a thread: %d. No thread became free for %.0f s",
                here + backlog,
                BLOCKED_AFTER,
            )
        else:
            logger.warning("No longer blocked: a thread became free")

    def _close_stalled(self, now: float, waiting: int) -> None:
        """Close responses without progress after their timeout, or after GIVE_WAY for `waiting` requests."""
        polled: dict[Any, Progress] = {}
        for req in list(self._requests):
            if (info := tcp_info(_socket_of(req))) is not None:
                polled[req] = progress = self._progress.get(req) or Progress(now, info.acknowledged)
                progress.update(now, info.acknowledged, bool(info.in_flight or info.not_sent))
        self._progress = polled
        first, moved = self._timeouts()
        for req, progress in sorted(self._stalled(polled), key=lambda each: each[1].since):
            stood = now - progress.since
            if stood >= (moved if progress.moved else first):
                self._close(req, stood, self._reason())
            elif waiting > 0 and not progress.moved and stood >= GIVE_WAY:
                waiting -= 1
                self._close(req, stood, "requests wait for a thread")

    def _stalled(self, polled: dict[Any, Progress]) -> Iterator[tuple[Any, Progress]]:
        return ((req, progress) for req, progress in polled.items() if progress.unsent)

    def _timeouts(self) -> tuple[float, float]:
        """Return the timeout of a response that has made no progress yet, and of one that has."""
        if not self._drain.terminating_since:
            return self._seconds, self._seconds
        policy = self._drain.policy or DrainPolicy()
        share = max(policy.maximum * DRAIN_SHARE, DRAIN_TIMEOUT_MIN)
        return min(self._seconds, share), min(self._seconds, 2 * share)

    def _reason(self) -> str:
        if self._drain.terminating_since:
            return "the service drains"
        return f"send_timeout is {self._seconds:g} s"

    def _close(self, req: Any, stood: float, reason: str) -> None:
        """End the connection of `req`: in every worker class, send() fails and Gunicorn closes the socket."""
        try:
            # Not the socket itself: gevent's would raise an error in the sending greenlet that Gunicorn logs.
            connection = socket.socket(fileno=os.dup(_socket_of(req).fileno()))
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            # The descriptor is the connection's as long as the request has not ended.
            if req not in self._requests:
                return
            # Otherwise the kernel keeps unsent data for minutes after Gunicorn's close.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        self._drain.worker.count_stalled()
        peer = req.peer_addr[0] if isinstance(req.peer_addr, tuple) else "-"
        path = "".join(each if each.isprintable() else "?" for each in req.path)[:SHOWN]
        self._closed.add(
            "stalled",
            f"Closed a connection of {peer}: it has read less than {PROGRESS_MIN} bytes of the response to "
            f"{req.method} {path} for {stood:.1f} s; {reason}",
        )


def _socket_of(req: Any) -> Any:
    """Return the connection's socket: Gunicorn's hooks get the request alone."""
    stream = getattr(req, "stream", None)  # of HTTP/2
    return req.unreader.sock if stream is None else stream.connection.sock
