"""Limit of open files, of which each connection is one."""

from __future__ import annotations

import contextlib
import resource

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
