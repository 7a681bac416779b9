"""Warnings that clients can cause at any rate: the first of a kind at once, the others as a count."""

from __future__ import annotations

import atexit
import logging
import threading

INTERVAL = 60.0
"""Interval between two log lines of the same kind, in seconds."""


class ThrottledLog:
    """Log with the first message of a kind at once, and the number of further ones once an interval."""

    def __init__(self, logger: logging.Logger, interval: float = INTERVAL) -> None:
        self._logger = logger
        self._interval = interval
        self._lock = threading.Lock()
        self._more: dict[str, int] = {}  # by kind, since the last line about it
        self._last: dict[str, str] = {}
        atexit.register(self.flush)

    def add(self, kind: str, message: str) -> None:
        """Log `message`, or count it while the last line about `kind` is younger than the interval."""
        with self._lock:
            self._last[kind] = message
            if kind in self._more:
                self._more[kind] += 1
                return
            self._more[kind] = 0
        # Not under the lock: the start of a thread waits, and in a gevent worker others run meanwhile.
        self._schedule(kind)
        self._logger.warning("%s", message)

    def flush(self) -> None:
        """Log the counts that have not been logged yet."""
        for kind in list(self._more):
            self._report(kind, again=False)

    def _schedule(self, kind: str) -> None:
        timer = threading.Timer(self._interval, self._report, (kind,))
        timer.daemon = True
        timer.start()

    def _report(self, kind: str, again: bool = True) -> None:
        with self._lock:
            more = self._more.pop(kind, 0)
            if more and again:
                self._more[kind] = 0
        if more and again:
            self._schedule(kind)
        if more:
            self._logger.warning("%s (%d more since the last such line)", self._last[kind], more)
