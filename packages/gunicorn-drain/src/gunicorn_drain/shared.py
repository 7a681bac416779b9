"""Memory that the master and its workers share: aligned 8-byte cells with one writer each.

So nothing needs a lock between processes, and a signal handler may write too. A process has access to the
cells of its own slot only: a slot is a view that ends where the next one begins.
"""

from __future__ import annotations

import enum
import mmap
import time
from collections.abc import Iterable

from gunicorn_drain.policy import DrainStatus

NANOSECONDS = 1_000_000_000
"""Nanoseconds per second. All times in the page are of time.monotonic_ns()."""

SLOTS = 512
"""Number of workers that the page has room for, including those that a reload replaces."""

WORKERS_MAX = (SLOTS - 1) // 2
"""Maximum number of workers: a reload starts as many again before the old ones exit."""

STREAM_KINDS_MAX = 8
"""Maximum number of kinds of streams, which are counted separately."""


class State(enum.StrEnum):
    """State of the service."""

    STARTING = "starting"
    READY = "ready"
    BLOCKED = "blocked"  # would be ready if a worker did not lack a free thread
    DRAINING = "draining"
    STOPPING = "stopping"


class Phase(enum.IntEnum):
    """Phase of the master."""

    SERVING = 0
    DRAINING = 1
    STOPPING = 2


class MasterCell(enum.IntEnum):
    """Cells that the master writes."""

    PHASE = 0
    BEGAN = 1  # time of SIGTERM, 0 before
    ENDED = 2  # time of the drain's end, 0 before
    # Sums and maxima over the workers that have exited:
    RESPONSES = 3
    ABORTED = 4  # requests that were in flight when their worker exited
    LAST_REQUEST = 5
    LAST_ARRIVAL = 6
    STALLED = 7


class WorkerCell(enum.IntEnum):
    """Cells of a worker's slot, which that worker writes and the master clears after its exit."""

    BOOTED = 0
    IN_FLIGHT = 1
    RESPONSES = 2  # to client requests, in a drain
    LAST_REQUEST = 3  # time at which a client request last began or ended
    LAST_ARRIVAL = 4  # time at which a client request last began in a drain
    BLOCKED = 5  # 1 while requests wait and no thread becomes free
    STALLED = 6  # responses that were not read


class StreamCounter(enum.IntEnum):
    """Counters of streams: connections that outlive their request, such as event streams and WebSockets."""

    OPEN = 0  # the only one that also decreases
    OPENED = 1
    NOTIFIED = 2  # asked to reconnect elsewhere because the service terminates
    LEFT = 3  # closed by the client after it was notified
    CLOSED_AT_DEADLINE = 4  # closed by the service because the client did not close
    PROTOCOL_ERRORS = 5  # closed because the client violated the protocol
    REFUSED = 6  # not opened: too many, or the connection cannot be detached


# The counters of streams begin here: in a slot its worker's, in the master's part those of exited workers.
STREAM_CELL = 8
PART = STREAM_CELL + STREAM_KINDS_MAX * len(StreamCounter)
"""Number of cells of the master's part, and of each slot."""

LAST_SLOT = SLOTS - 1
"""Slot of a process that Gunicorn has not forked, as in unit tests."""


class SharedPage:
    """Shared memory of one service. Create it before Gunicorn forks."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, (1 + SLOTS) * PART * 8)).cast("q")
        self.master = self._cells[:PART]
        self.kinds: tuple[str, ...] = ()

    def slot(self, number: int) -> memoryview:
        """Return the cells of a slot; ValueError for a number without a slot."""
        if type(number) is not int or not 0 <= number < SLOTS:
            raise ValueError(f"slot is {number!r}; allowed are whole numbers from 0 to {SLOTS - 1}")
        begin = (1 + number) * PART
        return self._cells[begin : begin + PART]

    def column(self, cell: int) -> list[int]:
        """Return a cell of all slots."""
        return self._cells[PART + cell :: PART].tolist()

    @property
    def draining(self) -> bool:
        """True from the beginning of a drain until the process exits."""
        return self.master[MasterCell.PHASE] != Phase.SERVING

    @property
    def blocked(self) -> bool:
        """True while a worker is blocked."""
        return any(self.column(WorkerCell.BLOCKED))

    @property
    def seconds_since_request(self) -> float:
        """Seconds since a client request last began or ended, in any worker."""
        return seconds_since(max(self.column(WorkerCell.LAST_REQUEST)))

    @property
    def in_flight(self) -> int:
        """Client requests that are being processed, in all workers."""
        return sum(self.column(WorkerCell.IN_FLIGHT))

    @property
    def responses(self) -> int:
        """Responses to client requests since the drain began, of all workers."""
        return sum(self.column(WorkerCell.RESPONSES)) + self.master[MasterCell.RESPONSES]

    @property
    def stalled(self) -> int:
        """Responses whose connection was closed because the client did not read, of all workers."""
        return sum(self.column(WorkerCell.STALLED)) + self.master[MasterCell.STALLED]

    @property
    def drain_seconds(self) -> float:
        """Duration of the drain until now or until its end, in seconds; 0.0 before it."""
        began = self.master[MasterCell.BEGAN]
        if not began:
            return 0.0
        return ((self.master[MasterCell.ENDED] or time.monotonic_ns()) - began) / NANOSECONDS

    @property
    def last_arrival_seconds(self) -> float:
        """Seconds from SIGTERM until the last client request arrived; 0.0 before one did."""
        arrived = max(*self.column(WorkerCell.LAST_ARRIVAL), self.master[MasterCell.LAST_ARRIVAL])
        return max(arrived - self.master[MasterCell.BEGAN], 0) / NANOSECONDS if arrived else 0.0

    def begin_drain(self) -> None:
        """Begin the drain, once. Safe in a signal handler."""
        if not self.draining:
            self.master[MasterCell.BEGAN] = time.monotonic_ns()
            self.master[MasterCell.PHASE] = Phase.DRAINING

    def status(self, backlog: int) -> DrainStatus:
        """Return the status of the whole service's drain."""
        return status_since(
            self.master[MasterCell.BEGAN],
            last_request=max(*self.column(WorkerCell.LAST_REQUEST), self.master[MasterCell.LAST_REQUEST]),
            in_flight=self.in_flight,
            backlog=backlog,
            streams=self.streams(StreamCounter.OPEN),
        )

    def retire_slot(self, number: int) -> None:
        """Add the counts of a slot's exited worker to the master's part, and clear the slot."""
        slot, master = self.slot(number), self.master
        master[MasterCell.RESPONSES] += slot[WorkerCell.RESPONSES]
        master[MasterCell.ABORTED] += slot[WorkerCell.IN_FLIGHT]
        master[MasterCell.STALLED] += slot[WorkerCell.STALLED]
        for of_worker, of_exited in (
            (WorkerCell.LAST_REQUEST, MasterCell.LAST_REQUEST),
            (WorkerCell.LAST_ARRIVAL, MasterCell.LAST_ARRIVAL),
        ):
            master[of_exited] = max(master[of_exited], slot[of_worker])
        for kind in range(STREAM_KINDS_MAX):
            for counter in StreamCounter:
                if counter is not StreamCounter.OPEN:
                    cell = _stream_cell(kind, counter)
                    master[cell] += slot[cell]
        for cell in range(PART):
            slot[cell] = 0

    # ---- streams -------------------------------------------------------------------------------------

    def declare_streams(self, *kinds: str) -> None:
        """Add kinds of streams. Every process must declare the same kinds in the same order.

        ValueError for more than STREAM_KINDS_MAX.
        """
        merged = tuple(dict.fromkeys((*self.kinds, *kinds)))
        if len(merged) > STREAM_KINDS_MAX:
            raise ValueError(f"kinds of streams are {merged}; allowed are at most {STREAM_KINDS_MAX}")
        self.kinds = merged

    def stream_cell(self, kind: str, counter: StreamCounter) -> int:
        """Return the index of a counter in a slot; ValueError for unknown kinds and counters."""
        if kind not in self.kinds:
            allowed = ", ".join(self.kinds) or "none, because none is declared"
            raise ValueError(f"kind is {kind!r}; allowed is one of {allowed}")
        return _stream_cell(self.kinds.index(kind), StreamCounter(counter))

    def streams(self, counter: StreamCounter, *kinds: str) -> int:
        """Return a counter's sum over all workers, of `kinds` or of every kind."""
        if kinds:
            return self._sum(self.stream_cell(kind, counter) for kind in kinds)
        return self._sum(_stream_cell(kind, StreamCounter(counter)) for kind in range(STREAM_KINDS_MAX))

    def _sum(self, cells: Iterable[int]) -> int:
        return sum(sum(self.column(cell)) + self.master[cell] for cell in cells)


def open_streams(slot: memoryview) -> int:
    """Return the number of open streams of the worker of `slot`."""
    return sum(slot[_stream_cell(kind, StreamCounter.OPEN)] for kind in range(STREAM_KINDS_MAX))


def seconds_since(moment: int) -> float:
    """Return the seconds since a time of the page."""
    return (time.monotonic_ns() - moment) / NANOSECONDS


def status_since(began: int, last_request: int, in_flight: int, backlog: int, streams: int) -> DrainStatus:
    """Return the status of a drain that began at `began`."""
    now = time.monotonic_ns()
    return DrainStatus(
        elapsed=(now - began) / NANOSECONDS,
        quiet=(now - max(began, last_request)) / NANOSECONDS,
        in_flight=in_flight,
        backlog=backlog,
        streams=streams,
    )


def _stream_cell(kind: int, counter: StreamCounter) -> int:
    return STREAM_CELL + kind * len(StreamCounter) + counter
