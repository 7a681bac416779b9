"""The master's part of a drain, in its order of execution after SIGTERM.

It depends on internals of Gunicorn, read in 27.0.1; tests/unit/test_gunicorn.py checks their fingerprints.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gunicorn_drain.policy import DrainPolicy, EndReason, end_reason
from gunicorn_drain.shared import LAST_SLOT, SLOTS, MasterCell, Phase, SharedPage, StreamCounter, WorkerCell
from gunicorn_drain.signals import ForkGuard
from gunicorn_drain.spawn import WorkerStarts
from gunicorn_drain.tcp_info import backlog_of

TICK = 0.05
"""Interval between two checks whether a drain is over, in seconds."""


class Master:
    """Gunicorn's hooks in the master process."""

    def __init__(self, page: SharedPage) -> None:
        self.policy: DrainPolicy | None = DrainPolicy()
        self._page = page
        self._arbiter: Any = None
        self._installed = False  # whether SIGTERM is taken over
        self._announced = False
        self._reason: EndReason | None = None
        self._streams_before: dict[StreamCounter, int] = {}
        self._deadline = 0.0  # of the drain, in seconds of time.monotonic()
        self._fault: Exception | None = None  # the first one of a signal handler, which cannot log it

    def when_ready(self, server: Any) -> None:
        """Take over SIGTERM before the first worker is forked (Gunicorn's hook)."""
        self._arbiter = server
        WorkerStarts(server)
        self.when_reloaded()

    def when_reloaded(self) -> None:
        """Take over SIGTERM if the drain is on; a reload may have switched it on."""
        if self.policy is None or self._installed:
            return
        self._installed = True
        server = self._arbiter
        # Gunicorn looks these up by name: the first two when it handles a queued signal.
        self._stop = server.handle_term
        self._stop_workers = server.stop
        server.handle_term = self._handle_term
        server.handle_alrm = self._handle_alrm
        server.stop = self._on_stop
        signal.signal(signal.SIGALRM, self._on_tick)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        ForkGuard()

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Assign a separate slot to a worker (Gunicorn's hook)."""
        # A worker that a reload has tried with a configuration without this hook has none.
        taken = {getattr(other, "drain_slot", None) for other in server.WORKERS.values()}
        free = next((number for number in range(LAST_SLOT) if number not in taken), None)
        if free is None:
            server.log.error("workers: %d are running; allowed are at most %d", len(taken), SLOTS - 1)
            sys.exit(1)
        worker.drain_slot = free

    def has_booted(self, worker: Any) -> bool:
        """Return whether a worker can serve."""
        return bool(self._page.slot(worker.drain_slot)[WorkerCell.BOOTED])

    def _on_sigterm(self, sig: int, frame: FrameType | None) -> None:
        # In the handler, so that it does not wait behind a reload. It must not log or lock.
        try:
            if self._page.draining:
                self._reason = self._reason or EndReason.SECOND_SIGNAL
            elif self.policy is not None and any(self._page.column(WorkerCell.BOOTED)):
                self._page.begin_drain()
                signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
                self._deadline = time.monotonic() + self.policy.maximum
                self._streams_before = self._count_streams()
        except Exception as error:  # noqa: BLE001 - the drain continues without the rest
            self._fault = self._fault or error
        self._arbiter.signal(sig, frame)

    def _handle_term(self) -> None:
        """Log the drain's beginning, when Gunicorn's main loop handles SIGTERM."""
        log, policy = self._arbiter.log, self.policy
        if not self._page.draining:
            if policy is None:  # a reload has switched the drain off
                self._stop()
            log.info("SIGTERM before any worker was ready: stopping without a drain")
            self._stop()
        if policy is not None and not self._announced:
            self._announced = True
            with self._guarded():
                log.info(
                    "Drain began: not ready, still serving; ends after %.1f s at the earliest, "
                    "%.1f s without a request, %.1f s at the latest; %s in flight",
                    policy.minimum,
                    policy.quiet,
                    policy.maximum,
                    _requests(self._page.in_flight),
                )
        if self._reason is not None:
            self._end_drain()

    def _on_tick(self, sig: int, frame: FrameType | None) -> None:
        # A timer, because the master forks and so must have no thread. It must not log or lock.
        if self.policy is not None and self._reason is None:
            try:
                reason = end_reason(self.policy, self._page.status(self._backlog()))
            except Exception as error:  # noqa: BLE001 - a drain of unknown status lasts for its maximum
                self._fault = self._fault or error
                reason = EndReason.MAXIMUM if time.monotonic() > self._deadline else None
            # A second SIGTERM may have interrupted the lines above. None is handled within this one, because
            # Python runs handlers at calls and jumps only.
            self._reason = self._reason or reason
        if self._reason is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._arbiter.signal(sig, frame)
        else:
            # Gunicorn's main loop waits in SimpleQueue.get(), which waits for ever after a handler that
            # outlasts its timeout (observed in CPython 3.11): a hanging worker would not be noticed.
            self._arbiter.wakeup()

    def _handle_alrm(self) -> None:
        """End the drain, when Gunicorn's main loop handles the tick at which it was over."""
        self._end_drain()

    def _end_drain(self) -> None:
        with self._guarded():
            self._log_end()
        if self._fault is not None:
            self._arbiter.log.error("The drain continued after an error", exc_info=self._fault)
        self._stop()

    def _log_end(self) -> None:
        self._page.master[MasterCell.ENDED] = time.monotonic_ns()
        self._arbiter.log.info(
            "Drain ended: %s; %s completed in %.1f s, %d still in flight, %d waiting to be accepted; "
            "the last request arrived after %.1f s",
            self._reason,
            _requests(self._page.responses),
            self._page.drain_seconds,
            self._page.in_flight,
            self._backlog(),
            self._page.last_arrival_seconds,
        )
        now = self._count_streams()
        if any(now.values()):
            in_drain = {counter: now[counter] - before for counter, before in self._streams_before.items()}
            self._arbiter.log.info(
                "Long-lived connections: %d asked to reconnect, %d closed in time, "
                "%d closed at the deadline, %d still open",
                in_drain[StreamCounter.NOTIFIED],
                in_drain[StreamCounter.LEFT],
                in_drain[StreamCounter.CLOSED_AT_DEADLINE],
                now[StreamCounter.OPEN],
            )

    def _on_stop(self, graceful: bool = True) -> None:
        """Stop the workers, for whatever reason: a signal, the drain's end, a worker that cannot boot."""
        with self._guarded():
            self._page.master[MasterCell.PHASE] = Phase.STOPPING
        # A tick after Python has removed its handlers would end the process with SIGALRM.
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._stop_workers(graceful)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Record a fault in the block for the log, and continue: no request must fail because of it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is
            self._fault = self._fault or error

    def child_exit(self, server: Any, worker: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Free the slot of a worker that has exited, whatever the reason (Gunicorn's hook)."""
        if hasattr(worker, "drain_slot"):
            self._page.retire_slot(worker.drain_slot)

    def on_exit(self, server: Any) -> None:
        """Log how the service stopped (Gunicorn's hook)."""
        # Killed workers may not have been reaped yet.
        aborted = self._page.master[MasterCell.ABORTED] + self._page.in_flight
        if self._page.master[MasterCell.BEGAN] or aborted:
            server.log.info(
                "Stopped: %s", f"{_requests(aborted)} aborted" if aborted else "every request completed"
            )

    def _backlog(self) -> int:
        return sum(backlog_of(listener) for listener in self._arbiter.LISTENERS)

    def _count_streams(self) -> dict[StreamCounter, int]:
        return {counter: self._page.streams(counter) for counter in StreamCounter}


def _requests(count: int) -> str:
    return f"{count} request" if count == 1 else f"{count} requests"
