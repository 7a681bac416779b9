"""Threads that cannot be started, at a limit of processes or of memory: those that run continue to serve.

Imports no Gunicorn.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger("gunicorn.error")


def log_not_started(running: int, wanted: int, error: Exception) -> None:
    """Log that a thread could not be started."""
    logger.error(
        "A thread could not be started, %d of %d run: %s. Raise the limit of processes (the container's, "
        "ulimit -u) or of memory",
        running,
        wanted,
        error,
    )


class ThreadPool(ThreadPoolExecutor):
    """Pool whose work waits for the threads that run if no other can be started."""

    _has_failed = False

    def _adjust_thread_count(self) -> None:
        """Start a thread if none is idle. RuntimeError if there is none at all."""
        running = len(self._threads)
        try:
            super()._adjust_thread_count()
        except RuntimeError as error:
            if not self._has_failed:
                log_not_started(len(self._threads), self._max_workers, error)
            self._has_failed = True
            if not self._threads:
                raise
        else:
            if len(self._threads) > running:  # otherwise one was idle
                self._has_failed = False
