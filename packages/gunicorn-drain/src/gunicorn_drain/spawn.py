"""Worker processes that cannot be started: the others continue to serve.

Gunicorn's master ends at the first fork that fails, for want of memory or at the limit of processes, and with
it every worker and every request.
"""

from __future__ import annotations

import os
from typing import Any


def reason_of(error: Exception) -> str:
    """Return the system's message of an OSError, and the kind and message of any other error."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or f"{type(error).__name__}: {error}"


class WorkerStarts:
    """Replacement of the arbiter's `spawn_workers`, called each second while a worker is missing."""

    def __init__(self, arbiter: Any) -> None:
        self._arbiter = arbiter
        self._spawn_workers = arbiter.spawn_workers
        self._failed = False
        arbiter.spawn_workers = self.spawn_workers

    def spawn_workers(self) -> None:
        """Start the missing workers; log a failure once, and leave the rest to the next call.

        Raises the error if no worker runs: then there is nothing to protect.
        """
        arbiter = self._arbiter
        try:
            self._spawn_workers()
        except Exception as error:  # a hook of the configuration may raise anything
            if os.getpid() != arbiter.pid or not arbiter.WORKERS:
                raise
            if not self._failed:
                arbiter.log.error(  # noqa: TRY400 - the reason is enough
                    "A worker could not be started, %d of %d run; the start is repeated each second: %s",
                    len(arbiter.WORKERS),
                    arbiter.num_workers,
                    reason_of(error),
                )
            self._failed = True
        else:
            if self._failed:
                arbiter.log.info("All workers run again: %d", arbiter.num_workers)
            self._failed = False
