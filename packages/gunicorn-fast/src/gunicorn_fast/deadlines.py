"""Timeouts of the connections that wait for their clients. Imports no Gunicorn."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

GIVE_WAY = 1.0
"""Minimum age of a silent connection that is closed for a new one when the worker has no room, in seconds."""

STOP_LINGER = 2.0
"""Timeout of silent connections in a stopping worker, in seconds (gthread's STOP_KEEPALIVE_LINGER)."""

EXPIRED_AT_ONCE = 5
"""Maximum number of connections to close at once because of their timeouts, before the loop continues.

Gunicorn's queue of callbacks runs up to 60 of them in a row: 300 connections, some 3 ms.
"""

LARGE_HEADERS = 65536
"""Size of buffered, incomplete headers above which a HeaderQueue counts them, in bytes."""


class Waiting(Protocol):
    """Interface of a connection that waits in a queue."""

    since: float
    """Beginning of the wait."""
    timeout: float
    """Time at which the wait ends."""
    queue: DeadlineQueue[Any]
    """Queue in which the connection waits."""


C = TypeVar("C", bound=Waiting)


class DeadlineQueue(Generic[C]):
    """Connections in the order of their timeouts; supports the methods of a deque that gthread uses.

    Removing a connection takes the same time for any number of them, which a deque does not offer. Nor does
    a dict for the first connection: it skips all that were removed before.
    """

    def __init__(self) -> None:
        self._connections: OrderedDict[C, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[C]:
        return iter(self._connections)

    def __getitem__(self, index: int) -> C:
        assert index == 0  # noqa: S101 - gthread reads the first only
        return next(iter(self._connections))

    def append(self, connection: C) -> None:
        """Add a connection whose timeout ends after all the others'."""
        self._connections[connection] = None

    def remove(self, connection: C) -> None:
        """Remove a connection at any position."""
        del self._connections[connection]

    def popleft(self) -> C:
        """Remove and return the first connection."""
        first = self[0]
        self.remove(first)
        return first


class HeaderQueue(DeadlineQueue[C]):
    """Connections with incomplete headers, and the memory that large ones take."""

    def __init__(self) -> None:
        super().__init__()
        self.large: dict[C, int] = {}  # by the time at which they became large
        self.large_total = 0

    def grow(self, connection: C, size: int) -> None:
        """Count the headers of `connection`, of `size` bytes so far, if they are large."""
        if size > LARGE_HEADERS:
            self.large_total += size - self.large.get(connection, 0)
            self.large[connection] = size

    def remove(self, connection: C) -> None:
        """Remove a connection at any position."""
        super().remove(connection)
        self.large_total -= self.large.pop(connection, 0)


class Deadlines(Generic[C]):
    """Queues of the connections that wait, and the actions when their timeouts have passed.

    `close(connection)` closes a connection that is in no queue any more. `defer(callback)` lets the event
    loop call a function soon.
    """

    def __init__(self, close: Callable[[C], None], defer: Callable[[Callable[[], None]], object]) -> None:
        self._close, self._defer = close, defer
        self.idle: DeadlineQueue[C] = DeadlineQueue()  # since the last response
        self.unused: DeadlineQueue[C] = DeadlineQueue()  # new, no byte received yet
        self.partial: HeaderQueue[C] = HeaderQueue()  # have sent a part of their headers
        self.lingering: DeadlineQueue[C] = DeadlineQueue()  # closed by us and not by the client yet
        self._stopping = False
        self._expiring = False

    def wait(self, connection: C, queue: DeadlineQueue[C], seconds: float) -> None:
        """Let `connection`, which is in no queue, wait in `queue` for `seconds` at most."""
        connection.since = now = time.monotonic()
        shortened = self._stopping and queue is not self.partial
        connection.timeout = now + (min(seconds, STOP_LINGER) if shortened else seconds)
        connection.queue = queue
        queue.append(connection)

    def stop(self) -> None:
        """Shorten the timeouts of silent connections, from now on and of those that wait, to STOP_LINGER.

        gthread itself shortens those of idle connections. A request that has begun keeps its timeout: the
        worker waits for its headers as for a response, within Gunicorn's `graceful_timeout`.
        """
        self._stopping = True
        latest = time.monotonic() + STOP_LINGER
        for connection in self.unused:
            connection.timeout = min(connection.timeout, latest)

    def expire(self) -> None:
        """Close the connections whose timeout has passed: some of them now, the others later.

        Thousands of clients that connected at the same time have the same timeout: closing all at once would
        delay other clients and probes.
        """
        if not self._expiring:
            self._expire_some()

    def _expire_some(self) -> None:
        now, left = time.monotonic(), EXPIRED_AT_ONCE
        for queue in (self.idle, self.partial, self.unused, self.lingering):
            while queue and queue[0].timeout <= now:
                if not left:
                    self._expiring = True
                    self._defer(self._expire_some)
                    return
                left -= 1
                self._close(queue.popleft())
        self._expiring = False

    def make_room(self) -> None:
        """Close the oldest silent connection if it is older than GIVE_WAY.

        Otherwise a flood of silent connections would exclude other clients until their timeouts.
        """
        latest = time.monotonic() - GIVE_WAY
        for queue in (self.lingering, self.unused, self.partial):
            if queue and queue[0].since <= latest:
                self._close(queue.popleft())
                return
