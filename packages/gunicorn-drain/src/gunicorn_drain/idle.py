"""Idle connections of Gunicorn's ASGI worker, which are closed when the worker stops.

Gunicorn's worker waits for them as for requests, until the master kills it: the stop then takes all of
`graceful_timeout`, and the application's lifespan never gets its shutdown.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

IDLE = 1.0
"""Time without a byte from the client after which a connection without a request is idle, in seconds."""

POLL = 0.1
"""Interval between two checks for idle connections, in seconds."""


class IdleConnections:
    """Connections of one worker, and the time at which each was last received from."""

    def __init__(self, worker: Any, protocol: Any) -> None:
        """Observe the connections of `protocol`, the class that Gunicorn creates for each one."""
        self._loop = worker.loop
        self._received: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        for name in ("connection_made", "data_received"):
            setattr(protocol, name, self._observed(getattr(protocol, name)))
        protocol.connection_lost = _counted_out(worker, protocol.connection_lost)

    def _observed(self, method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        received, time = self._received, self._loop.time

        @wraps(method)
        def call(protocol: Any, argument: Any) -> None:
            received[protocol] = time()
            method(protocol, argument)

        return call

    def close_from_now_on(self, after: float = IDLE) -> None:
        """Close the connections that are idle `after` seconds from now, and others later."""
        self._loop.call_later(after, self._close)

    def _close(self) -> None:
        now = self._loop.time()
        for protocol, received in list(self._received.items()):
            if now - received >= IDLE and not _is_busy(protocol):
                protocol.transport.close()
        self.close_from_now_on(POLL)


def _counted_out(worker: Any, lost: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Stop counting connections that the worker has closed itself, which Gunicorn 25 keeps counting."""

    @wraps(lost)
    def call(protocol: Any, error: Any) -> None:
        before = worker.nr_conns
        lost(protocol, error)
        if worker.nr_conns == before:
            worker.nr_conns -= 1

    return call


def _is_busy(protocol: Any) -> bool:
    """Return whether a connection has a request, a WebSocket, a background task, or is one of HTTP/2."""
    return bool(
        protocol._current_request is not None
        or protocol.reader is not None  # of HTTP/2, which Gunicorn closes itself
        or getattr(protocol, "_finishing_calls", None)
    )
