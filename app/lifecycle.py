"""The drain: how a Gunicorn service leaves without losing a request.

Copy this file, app/reload.py, app/probe_rule.py and the hooks of gunicorn.conf.py into a service of your
own; none knows anything of this sample's endpoints. On SIGTERM the master keeps its listeners open and every
request is still answered, with `Connection: close`; Gunicorn's own graceful stop follows when traffic has
really stopped. The facts about Gunicorn that this leans on were read in its release 27.0.1.

What master and workers know of each other lies in one anonymous shared page: aligned 8-byte cells,
each with one writer, so nothing needs a lock between processes and a signal handler may write too.
"""

from __future__ import annotations

import _thread
import enum
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from app.probe_rule import Probe, ProbeMatcher
from app.reload import close_removed_listeners, take_over_sighup

TICK = 0.05
"""Seconds between two looks at whether a drain is over."""

NANOSECONDS = 1_000_000_000

STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)
"""What Gunicorn's master stops its workers with, gracefully and at once."""

Handler = Callable[[int, FrameType | None], None]


@dataclass(frozen=True)
class DrainPolicy:
    """How long a drain lasts. All in seconds; `0 <= minimum <= maximum` and `quiet >= 0`."""

    minimum: float = 5.0
    quiet: float = 1.0
    maximum: float = 15.0

    def __post_init__(self) -> None:
        for name in ("minimum", "quiet", "maximum"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value!r}; allowed are seconds from 0")
        if self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum!r}; allowed is at most maximum, {self.maximum!r}")


@dataclass(frozen=True)
class Observation:
    """What was seen of a drain at one moment."""

    elapsed: float
    """Seconds since SIGTERM."""
    quiet: float
    """Seconds since a client request last began or ended, counted from SIGTERM at the earliest."""
    in_flight: int
    """Client requests being answered."""
    backlog: int
    """Connections that wait in the accept queues of the listeners."""
    long: int = 0
    """Long connections that are open."""


def _observation(began: int, last_request: int, in_flight: int, backlog: int, long: int) -> Observation:
    """Observe now. `began` and `last_request` are monotonic nanoseconds."""
    now = time.monotonic_ns()
    return Observation(
        elapsed=(now - began) / NANOSECONDS,
        quiet=(now - max(began, last_request)) / NANOSECONDS,
        in_flight=in_flight,
        backlog=backlog,
        long=long,
    )


class Ending(enum.StrEnum):
    """Why a drain ended."""

    QUIET = "quiet"
    MAXIMUM = "maximum"
    SECOND_SIGNAL = "second signal"


def drain_ending(policy: DrainPolicy, seen: Observation) -> Ending | None:
    """Tell why a drain is over, or None while it has to go on. A pure function of its arguments."""
    if seen.elapsed >= policy.maximum:
        return Ending.MAXIMUM
    if seen.elapsed < policy.minimum or seen.quiet < policy.quiet:
        return None
    return None if seen.in_flight or seen.backlog or seen.long else Ending.QUIET


class State(enum.StrEnum):
    """Where the service is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


class Phase(enum.IntEnum):
    """How far the master has come, as it stands in the shared page."""

    SERVING = 0
    DRAINING = 1
    STOPPING = 2


class Cell(enum.IntEnum):
    """The cells of the page's head. The master writes them."""

    PHASE = 0
    BEGAN = 1  # monotonic nanoseconds
    ENDED = 2  # monotonic nanoseconds, 0 before
    ANSWERED_BY_GONE = 3  # requests that workers no longer there answered while draining
    CUT_OFF = 4  # requests that were in flight in workers when those ended
    # The latest of the workers that have exited, monotonic nanoseconds:
    LAST_REQUEST_OF_GONE = 5
    LAST_ARRIVAL_OF_GONE = 6


class SlotCell(enum.IntEnum):
    """The cells of one worker's slot. That worker writes them; the master clears them."""

    BOOTED = 0
    IN_FLIGHT = 1
    ANSWERED = 2  # client requests answered while draining
    LAST_REQUEST = 3  # monotonic nanoseconds at which a client request last began or ended
    LAST_ARRIVAL = 4  # monotonic nanoseconds at which one last began, in a drain


PHASE = int(Cell.PHASE)
"""The same as a plain number for what every request reads: an enum's member takes thrice as long."""


class Long(enum.IntEnum):
    """What is counted of long connections, which outlive their request: event streams, WebSockets.

    Whoever holds them counts here (see `Lifecycle.count_long`), each kind for itself. A drain waits until
    none is open.
    """

    OPEN = 0  # how many there are; the others only grow
    OPENED = 1
    TOLD = 2  # that the service leaves and they should go elsewhere
    MOVED = 3  # were told, and the peer went
    FORCED = 4  # were told, and had to be closed
    DROPPED = 5  # closed because the peer did not keep to the rules
    REFUSED = 6  # not opened: no room, or no way to take the connection


LONG_KINDS = 2
"""Kinds of long connections that are counted apart. What they are is the application's to know."""

LONG_CELLS = LONG_KINDS * len(Long)
# Where counts of long connections begin: a worker's own in its slot, in the head those of workers gone.
LONG_CELL = 8
HEAD_CELLS = SLOT_CELLS = LONG_CELL + LONG_CELLS
SLOTS = 512
"""Workers that the page has room for, the ones a reload replaces included."""


def _long_cell(kind: int, what: Long) -> int:
    """Return the offset of a counter within a slot; ValueError for what is not one of its counters."""
    # A number that is out of range would be a cell of the next worker's slot.
    if type(kind) is not int or not 0 <= kind < LONG_KINDS:
        raise ValueError(f"kind is {kind!r}; allowed are whole numbers from 0 to {LONG_KINDS - 1}")
    return LONG_CELL + kind * len(Long) + Long(what)


def _end_at_stops() -> None:
    """Have the kernel end this process at the first of STOP_SIGNALS: a handler of Python's may come late.

    It waits for the interpreter, which may be in a C function for as long as an import takes, and is not
    woken by a signal that came right before (gevent's loop). An exception from it may be swallowed (in a
    weak reference's callback) or be taken for the application's failure (from __set_name__).
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


class Lifecycle:
    """The state that all processes of one service share, and the Gunicorn hooks that keep it.

    Make it before Gunicorn forks and keep it in an imported module: gunicorn.conf.py itself is
    executed again on every SIGHUP.
    """

    def __init__(self) -> None:
        self._page = memoryview(mmap.mmap(-1, (HEAD_CELLS + SLOTS * SLOT_CELLS) * 8)).cast("q")
        self.started = time.time()
        self.policy: DrainPolicy | None = DrainPolicy()
        self.probes = ProbeMatcher()
        self._arbiter: Any = None
        self._master_pid = 0
        self._installed = False  # whether SIGTERM is taken over
        self._announced = False
        self._ending: Ending | None = None
        self._held: set[int | signal.Signals] | None = None  # the signals that were blocked before a fork
        self._long_before = [0] * len(Long)  # counts of long connections when the drain began
        # The last slot serves where no Gunicorn is, as in unit tests.
        self._take_slot(HEAD_CELLS + (SLOTS - 1) * SLOT_CELLS)
        self._lock = threading.Lock()
        self._retiring_since = 0  # monotonic nanoseconds, 0 before
        self._retired = False

    def configure(self, policy: DrainPolicy | None, probes: Collection[Probe] = ()) -> None:
        """Set how to drain (None: stop as stock Gunicorn does) and which requests are not clients'."""
        self.policy = policy
        self.probes = ProbeMatcher(probes)

    # ---- what the application may ask ------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state of the service as this process can tell it."""
        phase = self._page[Cell.PHASE]
        if phase == Phase.STOPPING:
            return State.STOPPING
        if phase == Phase.DRAINING:
            return State.DRAINING
        return State.READY if self._page[self._slot + SlotCell.BOOTED] else State.STARTING

    @property
    def ready(self) -> bool:
        """Whether new connections should come here."""
        return self.state is State.READY

    @property
    def draining(self) -> bool:
        """Whether SIGTERM has begun a drain. Stays true until the process ends."""
        return self._page[Cell.PHASE] != Phase.SERVING

    @property
    def in_flight(self) -> int:
        """Client requests being answered, in all workers."""
        return sum(self._column(SlotCell.IN_FLIGHT))

    @property
    def answered_while_draining(self) -> int:
        """Client requests answered since the drain began, in all workers."""
        return sum(self._column(SlotCell.ANSWERED)) + self._page[Cell.ANSWERED_BY_GONE]

    @property
    def drain_seconds(self) -> float:
        """How long the drain has lasted, in seconds; its whole length once it is over, 0.0 before it."""
        began = self._page[Cell.BEGAN]
        if not began:
            return 0.0
        return ((self._page[Cell.ENDED] or time.monotonic_ns()) - began) / NANOSECONDS

    @property
    def leaving_since(self) -> float:
        """When this process was asked to leave, in seconds of time.monotonic(); 0.0 before that.

        By the drain of the whole service, or alone: a reload, one worker fewer.
        """
        return (self._page[Cell.BEGAN] or self._retiring_since) / NANOSECONDS

    def count_long(self, kind: int, what: Long, change: int = 1) -> None:
        """Count long connections of this process.

        `kind` is a number from 0 to `LONG_KINDS - 1`; ValueError for any other.
        """
        cell = _long_cell(kind, what)
        with self._lock:
            self._page[self._slot + cell] += change

    def long_connections(self, what: Long, *kinds: int) -> int:
        """Count in all workers, of `kinds` or of every kind."""
        cells = [_long_cell(kind, what) for kind in kinds or range(LONG_KINDS)]
        return sum(sum(self._column(cell)) + self._page[cell] for cell in cells)

    @property
    def last_arrival_seconds(self) -> float:
        """How far into the drain a client request last arrived, in seconds; 0.0 before one did."""
        arrived = max(*self._column(SlotCell.LAST_ARRIVAL), self._page[Cell.LAST_ARRIVAL_OF_GONE])
        return max(arrived - self._page[Cell.BEGAN], 0) / NANOSECONDS if arrived else 0.0

    @property
    def cut_off(self) -> int:
        """Client requests that lost their worker before they were answered."""
        return self._page[Cell.CUT_OFF]

    def has_booted(self, worker: Any) -> bool:
        """Tell whether a worker can serve. For the master to ask, which has given it its slot."""
        return bool(self._page[worker.lifecycle_slot + SlotCell.BOOTED])

    def mark_ready(self) -> None:
        """Tell that this process can serve. A Gunicorn worker calls it by itself."""
        self._page[self._slot + SlotCell.BOOTED] = 1

    def begin_drain(self) -> None:
        """Turn readiness false and announce closes from now on. Safe in a signal handler."""
        if not self.draining:
            self._page[Cell.BEGAN] = time.monotonic_ns()
            self._page[Cell.PHASE] = Phase.DRAINING

    def observe(self, backlog: int = 0) -> Observation:
        """See how the drain stands. `backlog`: connections that wait to be accepted."""
        return _observation(
            self._page[Cell.BEGAN],
            max(*self._column(SlotCell.LAST_REQUEST), self._page[Cell.LAST_REQUEST_OF_GONE]),
            self.in_flight,
            backlog,
            self.long_connections(Long.OPEN),
        )

    def _take_slot(self, slot: int) -> None:
        """Make `slot` this process's own. Every request writes to it: its cells are added up here, once."""
        if slot not in self._slots():
            raise ValueError(f"slot is {slot!r}; allowed are the first cells of the page's {SLOTS} slots")
        self._slot = slot
        self._in_flight = slot + SlotCell.IN_FLIGHT
        self._answered = slot + SlotCell.ANSWERED
        self._last_request = slot + SlotCell.LAST_REQUEST
        self._last_arrival = slot + SlotCell.LAST_ARRIVAL

    def _long_counts(self) -> list[int]:
        return [self.long_connections(what) for what in Long]

    def _slots(self) -> range:
        return range(HEAD_CELLS, HEAD_CELLS + SLOTS * SLOT_CELLS, SLOT_CELLS)

    def _column(self, cell: int) -> list[int]:
        return self._page[HEAD_CELLS + cell :: SLOT_CELLS].tolist()

    # ---- the master's hooks ----------------------------------------------------------------------

    def when_ready(self, server: Any) -> None:
        """Take over SIGTERM and SIGHUP before the first worker is forked (Gunicorn's hook of this name)."""
        self._arbiter, self._master_pid = server, os.getpid()
        take_over_sighup(server, self)
        if self.policy is not None:
            self._take_over_sigterm(server)

    def when_reloaded(self) -> None:
        """Drain from now on, if a reload has switched the drain on."""
        if self.policy is not None and not self._installed:
            self._take_over_sigterm(self._arbiter)

    def _take_over_sigterm(self, server: Any) -> None:
        self._installed = True
        # Gunicorn looks these up by name: the first two when it comes to a queued signal.
        self._stop = server.handle_term
        self._stop_workers = server.stop
        server.handle_term = self._handle_term
        server.handle_alrm = self._handle_alrm
        server.stop = self._on_stop
        signal.signal(signal.SIGALRM, self._on_tick)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._release_signals,
            after_in_child=self._in_new_worker,
        )

    def _before_fork(self) -> None:
        # Gunicorn sends a worker its SIGTERM or SIGQUIT once, and a new worker forgets what comes early:
        # Python drops it (PyOS_AfterFork_Child), or the master's handler, still there, does. Held, it waits
        # in the kernel.
        if os.getpid() == self._master_pid:
            self._held = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def _in_new_worker(self) -> None:
        if self._held is not None:
            _end_at_stops()
            self._release_signals()

    def _release_signals(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _on_sigterm(self, sig: int, frame: FrameType | None) -> None:
        # In the handler, so that it does not wait behind a reload. It must not log or lock.
        if self.draining:
            self._ending = self._ending or Ending.SECOND_SIGNAL
        elif self.policy is not None and self._any_booted():
            self._long_before = self._long_counts()
            self.begin_drain()
            signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        self._arbiter.signal(sig, frame)

    def _on_tick(self, sig: int, frame: FrameType | None) -> None:
        # A timer, because the master forks and so must have no thread. It must not log or lock.
        policy = self.policy
        if policy is not None and self._ending is None:
            self._ending = drain_ending(policy, self.observe(self._backlog()))
        if self._ending is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._arbiter.signal(sig, frame)
        else:
            # Gunicorn's main loop waits in SimpleQueue.get(), which a handler that outlasts its time makes
            # wait for ever (seen in CPython 3.11): a worker that hangs would not be noticed in a drain.
            self._arbiter.wakeup()

    def _backlog(self) -> int:
        # -1 and None are Gunicorn's words for "cannot tell" (a Unix socket, a closed one).
        return sum(max(listener.get_backlog() or 0, 0) for listener in self._arbiter.LISTENERS)

    def _any_booted(self) -> bool:
        return any(self._column(SlotCell.BOOTED))

    def _handle_term(self) -> None:
        """Gunicorn's main loop has come to a SIGTERM."""
        log, policy = self._arbiter.log, self.policy
        if not self.draining:
            if policy is None:  # a reload has switched the drain off
                self._stop()
            log.info("SIGTERM before any worker was ready: stopping without a drain")
            self._stop()
        if policy is not None and not self._announced:
            self._announced = True
            log.info(
                "Drain began: not ready any more, still serving; ends after %.1f s at the earliest, "
                "%.1f s without a request, %.1f s at the latest; %d in flight",
                policy.minimum,
                policy.quiet,
                policy.maximum,
                self.in_flight,
            )
        if self._ending is not None:
            self._end_drain()

    def _handle_alrm(self) -> None:
        """Gunicorn's main loop has come to the tick at which the drain was over."""
        self._end_drain()

    def _end_drain(self) -> None:
        self._page[Cell.ENDED] = time.monotonic_ns()
        self._arbiter.log.info(
            "Drain ended: %s; %d requests answered in %.1f s, %d still in flight, %d waiting to be accepted; "
            "the last request arrived after %.1f s",
            self._ending,
            self.answered_while_draining,
            self.drain_seconds,
            self.in_flight,
            self._backlog(),
            self.last_arrival_seconds,
        )
        now = self._long_counts()
        if any(now):
            told, moved, forced = (
                now[what] - self._long_before[what] for what in (Long.TOLD, Long.MOVED, Long.FORCED)
            )
            self._arbiter.log.info(
                "Long connections: %d told to go, %d went, %d closed at the deadline, %d still open",
                told,
                moved,
                forced,
                now[Long.OPEN],
            )
        self._stop()

    def _on_stop(self, graceful: bool = True) -> None:
        """Gunicorn stops, on whatever grounds: a signal, a drain that is over, a worker that cannot boot."""
        self._page[Cell.PHASE] = Phase.STOPPING
        # A tick after Python has given up its handlers would end the process with SIGALRM.
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._stop_workers(graceful)

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Give the worker a slot of its own (Gunicorn's hook of this name)."""
        # A worker has none that a reload has tried with a configuration without this hook.
        taken = {getattr(other, "lifecycle_slot", None) for other in server.WORKERS.values()}
        # The last slot is the one of processes that Gunicorn has not forked.
        free = next((slot for slot in self._slots()[:-1] if slot not in taken), None)
        if free is None:
            server.log.error("WORKERS: %d are running; allowed are at most %d", len(taken), SLOTS - 1)
            sys.exit(1)
        worker.lifecycle_slot = free

    def child_exit(self, server: Any, worker: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Forget a worker that is gone, however it went (Gunicorn's hook of this name)."""
        slot = getattr(worker, "lifecycle_slot", None)
        if slot is None:
            return
        self._page[Cell.ANSWERED_BY_GONE] += self._page[slot + SlotCell.ANSWERED]
        for kind in range(LONG_KINDS):
            for what in Long:
                cell = _long_cell(kind, what)
                if what is not Long.OPEN:
                    self._page[cell] += self._page[slot + cell]
        self._page[Cell.CUT_OFF] += self._page[slot + SlotCell.IN_FLIGHT]
        for cell, of_gone in (
            (SlotCell.LAST_REQUEST, Cell.LAST_REQUEST_OF_GONE),
            (SlotCell.LAST_ARRIVAL, Cell.LAST_ARRIVAL_OF_GONE),
        ):
            self._page[of_gone] = max(self._page[of_gone], self._page[slot + cell])
        for cell in range(SLOT_CELLS):
            self._page[slot + cell] = 0

    def on_exit(self, server: Any) -> None:
        """Say how the stop ended (Gunicorn's hook of this name)."""
        lost = self.cut_off + self.in_flight  # killed workers may not have been reaped yet
        if self._page[Cell.BEGAN] or lost:
            server.log.info("Stopped: %s", f"{lost} requests cut off" if lost else "every request answered")

    # ---- the workers' hooks ----------------------------------------------------------------------

    def post_fork(self, server: Any, worker: Any) -> None:
        """Make a new worker's signals its own (Gunicorn's hook of this name)."""
        close_removed_listeners(server)
        self._take_slot(worker.lifecycle_slot)
        self._lock = threading.Lock()
        if self.policy is None:
            return
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # A SIGTERM or SIGINT for the whole process group is the master's to act on.
        os.setpgrp()
        # Gunicorn looks both up a little later, right before the application loads.
        worker.handle_exit = partial(self._on_worker_sigterm, worker.handle_exit)
        worker.init_signals = partial(self._init_signals, worker.init_signals)

    def _init_signals(self, init_signals: Callable[[], None]) -> None:
        """Have Gunicorn set a worker's signals. Those that stop it end it at once until it can serve."""
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        init_signals()
        _end_at_stops()
        signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def post_worker_init(self, worker: Any) -> None:
        """Ready: the worker's application is built (Gunicorn's hook of this name)."""
        if self.policy is not None:
            # What Gunicorn had set, and `_init_signals` put off.
            signal.signal(signal.SIGQUIT, worker.handle_quit)
            signal.signal(signal.SIGTERM, worker.handle_exit)
            signal.siginterrupt(signal.SIGTERM, False)
        self.mark_ready()

    def _on_worker_sigterm(self, handle_exit: Handler, sig: int, frame: FrameType | None) -> None:
        if self._retired or self._page[Cell.PHASE] == Phase.STOPPING:
            handle_exit(sig, frame)
        elif not self._retiring_since:
            # The master goes on without this worker (a reload, one worker fewer): its clients are
            # told as in a drain of the whole service, while its siblings take what is new.
            self._retiring_since = time.monotonic_ns()
            # Not threading.Thread: its start() takes a lock that this signal may have interrupted the
            # holder of, and waits, which gevent cannot do in a signal handler.
            _thread.start_new_thread(self._retire, ())

    def _retire(self) -> None:
        policy = self.policy or DrainPolicy()
        while not self._retired:
            seen = _observation(
                self._retiring_since,
                last_request=self._page[self._slot + SlotCell.LAST_REQUEST],
                in_flight=self._page[self._slot + SlotCell.IN_FLIGHT],
                backlog=0,  # what waits there its siblings take
                long=sum(self._page[self._slot + _long_cell(kind, Long.OPEN)] for kind in range(LONG_KINDS)),
            )
            self._retired = drain_ending(policy, seen) is not None
            time.sleep(TICK)
        # A signal and not a call, because that is what wakes every kind of worker from its wait.
        os.kill(os.getpid(), signal.SIGTERM)

    def pre_request(self, worker: Any, req: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Count a request in, and see that its answer announces the close (Gunicorn's hook of this name)."""
        if self.policy is not None:
            req.should_close = partial(self._should_close, req)
        if self.probes.matches(req):
            return
        req.is_client_request = True
        page = self._page
        with self._lock:
            page[self._in_flight] += 1
            page[self._last_request] = now = time.monotonic_ns()
            if page[PHASE]:
                page[self._last_arrival] = now

    def post_request(self, worker: Any, req: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Count a request out (Gunicorn's hook of this name)."""
        attributes = req.__dict__
        attributes.pop("should_close", None)
        if not attributes.pop("is_client_request", False):
            return
        page = self._page
        with self._lock:
            page[self._in_flight] -= 1
            page[self._last_request] = time.monotonic_ns()
            if page[PHASE]:
                page[self._answered] += 1

    def _should_close(self, req: Any) -> bool:
        """Stand in for a request's should_close() until Gunicorn asks it, as it writes the head.

        So also a request that began before the drain announces the close. Asked once only: Gunicorn asks
        again after the answer, and a drain that began in between must not close what was said to stay.
        """
        req.__dict__.pop("should_close", None)
        if self._retiring_since or self._page[PHASE]:
            req.force_close()
        return bool(req.should_close())


SERVICE = Lifecycle()
"""The one of this process and of the workers that Gunicorn forks from it."""
