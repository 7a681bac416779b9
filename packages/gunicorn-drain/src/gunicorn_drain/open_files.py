"""Limit of open files, of which each connection is one."""

from __future__ import annotations

import contextlib
import resource
from typing import Any

SPARE_FILES = 64
"""Number of file descriptors to keep for everything except connections of clients."""


def raise_file_limit(connections: int) -> int:
    """Raise this process's limit for a number of connections; return the number that it allows.

    Fewer if the hard limit is lower: one connection too many would end a worker.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that `hard` does not show
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, connections + SPARE_FILES), hard), hard))
    return min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)


def limit_connections(worker: Any) -> None:
    """Raise the limit for a worker's connections, or let the worker accept fewer and log that.

    A worker without a limit of connections is left as it is. The soft limit is often 1,024, which a few kept
    connections reach, and gthread ends at the first file that it cannot open.
    """
    wanted = getattr(worker, "worker_connections", None)
    if not isinstance(wanted, int) or (allowed := raise_file_limit(wanted)) >= wanted:
        return
    worker.worker_connections = max(allowed, 1)
    if hasattr(worker, "max_keepalived"):  # gthread's, computed before
        worker.max_keepalived = worker.worker_connections - worker.cfg.threads
    worker.log.warning(
        "Open files are limited to %d: too few for worker_connections, %d; %d are accepted at a time",
        allowed + SPARE_FILES,
        wanted,
        worker.worker_connections,
    )
