"""Event loop that one thread of a pool at a time, the leader, runs: it polls and serves requests itself.

With an event loop and a pool of threads each request is passed from the loop to a thread and back, which
costs more than most responses do. Here the leader serves the requests that it has polled. When a request
takes long, the main thread promotes a follower to lead; the former leader finishes its request and becomes a
follower. The next requests of that kind are passed to followers at once. There is one thread more than may
serve, so that a thread is always left to poll: further requests wait in a queue.

The main thread takes the loop back from time to time, for its own work: a loop that hangs is noticed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gunicorn_fast.threads import log_not_started

BLOCKED_AFTER = 0.005
"""Interval between two checks by the main thread, in seconds. A leader that serves the same request at both
is blocked."""

IDLE_CHECKS = 20
"""Number of checks without any request after which the main thread waits for the next request instead."""

OFFLOAD_MIN = 8
"""Number of requests after a slow one that followers serve before the leader tries one of that kind again;
doubled each time that the request is slow, too."""

OFFLOAD_MAX = 256

SLOW_KINDS_MAX = 1024
"""Maximum number of kinds of requests to remember as slow."""

TURN = 0.002
"""Duration for which the leader serves requests before it polls again, in seconds."""

START_RETRY = 1.0
"""Interval after which the start of a thread is tried again where one has failed, in seconds."""


class Request(Protocol):
    """Interface of a request that LeaderFollowers serves."""

    @property
    def kind(self) -> Hashable:
        """Kind of the request. Requests of the same kind probably take equally long."""

    @property
    def may_block(self) -> bool:
        """True if a follower must serve the request, however quick its kind is."""

    def leave_loop(self) -> None:
        """Exclude the request from polls while a follower serves it. Called under a lock."""


R = TypeVar("R", bound=Request)

Completion = Callable[[], None]
"""The part of serving a request that belongs to the loop."""


@dataclass
class Backoff:
    """A kind of request that was slow."""

    level: int = OFFLOAD_MIN // 2
    left: int = 0
    """Number of requests for followers before the leader tries one."""

    def increase(self) -> None:
        """Record that a request was slow."""
        self.level = min(2 * self.level, OFFLOAD_MAX)
        self.left = self.level


class PoolThread(threading.Thread):
    """Thread of the pool. When it is called, it leads or serves a request that waits, and then follows."""

    def __init__(self, lead: Callable[[PoolThread], bool], number: int) -> None:
        """Create the thread. `lead`: called to lead; returns whether to follow afterwards."""
        super().__init__(name=f"pool-{number}", daemon=True)
        self._lead = lead
        self.call = threading.Lock()  # held until the thread is called
        self.call.acquire()

    def run(self) -> None:
        """Follow until called; then lead, if promoted to leader, and serve requests that wait."""
        following = True
        while following:
            self.call.acquire()
            following = self._lead(self)


class LeaderFollowers(Generic[R]):
    """A pool of threads that run an event loop and serve its requests.

    `poll(block)` waits for events, or only checks for them unless `block`, and handles those: it calls
    `submit()` for each request. `serve(request)` responds to a request and returns the completion, which
    belongs to the loop; it must not raise. `defer(completion)` lets the loop call a function, from any
    thread, and ends a poll.

    One thread at a time calls `poll` and the completions; the thread that calls `run()` may do so, too, while
    `run()` does not execute. At most `threads` requests are served at once.
    """

    def __init__(
        self,
        threads: int,
        poll: Callable[[bool], None],
        serve: Callable[[R], Completion],
        defer: Callable[[Completion], object],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Create the pool. `stopping`: returns whether to give the loop back after each poll."""
        self._threads, self._poll, self._serve, self._defer = threads, poll, serve, defer
        self._stopping = stopping
        self._lock = threading.Lock()  # guards the next seven
        self._leader: PoolThread | None = None  # None while the main thread has the loop
        self._followers: list[PoolThread] = []
        self._started_threads = 0
        self._start_after = 0.0  # in seconds of time.monotonic(); 0.0 unless the last start has failed
        self._serving: R | None = None  # which request the leader itself serves
        self._queued: deque[R] = deque()  # requests that wait for a follower
        self._slow: dict[Hashable, Backoff] = {}
        # For the thread that has the loop:
        self._arrived: deque[R] = deque()  # requests not yet served or queued
        self.submit: Callable[[R], None] = self._arrived.append
        """Queue a request to be served. Only from the loop: `poll()`, a completion, or outside of `run()`."""
        self._served = 0  # requests that a leader has begun
        # Between the loop and the main thread:
        self._wakeup = threading.Lock()  # held until `wake()`
        self._wakeup.acquire()
        self._idle = False  # the main thread is to be woken for the next request
        self._reclaimed = False  # the main thread wants the loop
        self._failure: BaseException | None = None  # exception that broke the loop
        self._closed = False

    @property
    def queued(self) -> int:
        """Number of requests that wait for a thread."""
        return len(self._queued)

    def take_out(self, request: R) -> None:
        """Exclude `request` from polls. Called by the thread that serves it."""
        with self._lock:
            request.leave_loop()

    # ---- the main thread -----------------------------------------------------------------------------

    def run(self, timeout: float) -> None:
        """Let the pool run the loop for `timeout` seconds. Raises the exception that broke the loop.

        Ends sooner when `stopping()` changes, and then after each poll.
        """
        with self._lock:
            has_leader = self._call_follower()
        if not has_leader:
            self._poll(False)
            self.wait(BLOCKED_AFTER)
            return
        end = time.monotonic() + timeout
        seen, quiet = self._served, 0
        stopping = self._stopping()
        while (
            (left := end - time.monotonic()) > 0 and self._leader is not None and stopping is self._stopping()
        ):
            if quiet >= IDLE_CHECKS:
                self._idle = True
                # A request that began before the leader could see that is noticed here.
                if self._served == seen:
                    self.wait(left)
                self._idle = False
                quiet = 0
                continue
            self.wait(min(left, BLOCKED_AFTER))
            quiet = quiet + 1 if self._served == seen else 0
            self._promote_if_blocked(seen)
            seen = self._served
        self._reclaim_loop(seen)

    def wake(self) -> None:
        """Wake the main thread. Safe in a signal handler, whatever it has interrupted."""
        with contextlib.suppress(RuntimeError):  # woken already
            self._wakeup.release()

    def wait(self, timeout: float) -> None:
        """Wait until `wake()`, at most `timeout` seconds."""
        # Not SimpleQueue.get(), which waits for ever after a signal whose handler lasts longer than the wait
        # (observed in CPython 3.11), and which SIGTERM does not interrupt in Gunicorn.
        self._wakeup.acquire(timeout=timeout)

    def close(self) -> None:
        """End the threads that serve no request. Only outside of `run()`, which cannot be called again."""
        with self._lock:
            self._closed = True
            while self._followers:
                self._followers.pop().call.release()

    def _reclaim_loop(self, seen: int) -> None:
        """Take the loop back when ready events are handled. Raises the exception that broke the loop."""
        self._reclaimed = True
        if self._leader is not None:
            self._defer(_nothing)  # ends the poll; without one it would end the next, and the one after that
        while self._leader is not None:
            self.wait(BLOCKED_AFTER)
            self._promote_if_blocked(seen)
            seen = self._served
        self._reclaimed = False
        if self._failure is not None:
            raise self._failure

    def _promote_if_blocked(self, seen: int) -> None:
        """Promote a follower if the leader is still serving the request number `seen`."""
        # Under one lock: a leader that is done in between must not continue while another begins.
        with self._lock:
            if self._serving is None or self._served != seen:
                return
            if len(self._slow) >= SLOW_KINDS_MAX:
                self._slow.clear()
            self._slow.setdefault(self._serving.kind, Backoff()).increase()
            self._serving.leave_loop()
            self._serving = None
            self._call_follower()

    def _call_follower(self) -> bool:
        """Give the loop to a follower, without one to the main thread; return whether one has it.

        Needs the lock. There is a follower unless no thread can be started: see `_serve_arrived`.
        """
        self._leader = self._follower()
        if self._leader is None:
            return False
        self._leader.call.release()
        return True

    def _follower(self) -> PoolThread | None:
        """Choose a thread to be called; None if there is none and none can be started. Needs the lock."""
        if self._followers:
            return self._followers.pop()
        return self._start_thread() if self._may_start() else None

    def _may_start(self) -> bool:
        if self._started_threads > self._threads:
            return False
        return not self._start_after or time.monotonic() >= self._start_after

    def _start_thread(self) -> PoolThread | None:
        """Start a thread; None if there are others to serve instead. RuntimeError if there are none."""
        thread = PoolThread(self._lead, self._started_threads + 1)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._start_after:
                log_not_started(self._started_threads, self._threads + 1, error)
            self._start_after = time.monotonic() + START_RETRY
            if not self._started_threads:
                raise
            return None
        self._start_after = 0.0
        self._started_threads += 1
        return thread

    # ---- a thread of the pool ------------------------------------------------------------------------

    def _lead(self, me: PoolThread) -> bool:
        """Run the loop until it passes to another thread or the main thread; then serve the queue."""
        if self._closed:
            return False
        try:
            polled = served = False
            while self._leader is me:
                # All ready requests are queued before any is served, and a probe gets its own thread.
                if self._arrived and not served:
                    self._serve_arrived(me)
                    served = True
                elif polled and (self._reclaimed or self._stopping()):
                    break
                else:
                    # At least once, so that deferred functions are called however short the turn is.
                    self._poll(not (self._arrived or self._reclaimed))
                    polled, served = True, False
            while (request := self._next_queued(me)) is not None:
                self._defer(self._serve(request))
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._failure = error
            self._leader = None
        self.wake()
        return True

    def _next_queued(self, me: PoolThread) -> R | None:
        """Return a queued request for `me`, which no longer leads; without one, make `me` a follower."""
        with self._lock:
            if self._leader is me:
                self._leader = None
            elif self._queued:
                return self._queued.popleft()
            self._followers.append(me)
            return None

    def _serve_arrived(self, me: PoolThread) -> None:
        """Serve requests in the order of arrival for one TURN; queue them if no thread is left to poll."""
        end = time.monotonic() + TURN
        while self._arrived and time.monotonic() < end:
            with self._lock:
                if self._leader is not me:
                    return
                request = self._arrived.popleft()
                backoff = self._slow.get(request.kind) if self._slow else None
                spare = bool(self._followers) or self._may_start()  # whether a thread is left for the loop
                offload = backoff is not None and backoff.left > 0
                if not spare or offload or request.may_block:
                    follower = self._follower() if spare else None
                    if follower is not None or self._started_threads > 1:
                        request.leave_loop()
                        self._queued.append(request)
                        if backoff is not None and offload and follower is not None:
                            backoff.left -= 1
                        if follower is not None:
                            follower.call.release()
                        continue
                self._serving = request
                self._served += 1
            if self._idle:
                self._idle = False
                self.wake()
            complete = self._serve(request)
            with self._lock:
                replaced = self._serving is not request
                if not replaced:
                    self._serving = None
                    if backoff is not None:
                        self._slow.pop(request.kind, None)
            if replaced:
                self._defer(complete)
            else:
                complete()


def _nothing() -> None:
    """Do nothing, which ends a poll."""
