"""Limit of glibc's malloc arenas. Imports no Gunicorn.

glibc gives the threads of a process up to eight arenas per processor, and each arena keeps the memory of its
own peak: with 20 threads a worker holds a multiple of the free memory that it needs, and holds more of it for
hours. Python's threads allocate in turn, because of its lock, so further arenas make nothing faster.
"""

from __future__ import annotations

import os

ARENAS = 2
"""Maximum number of arenas: one for the main thread, and one for all others."""

_M_ARENA_MAX = -8  # of glibc's malloc.h


def limit_arenas() -> bool:
    """Limit the arenas of this process and of its future children; return whether that was possible.

    Threads that have allocated before keep their arenas, so call it before any thread starts. It does nothing
    if the environment has a limit (`MALLOC_ARENA_MAX`, or `GLIBC_TUNABLES`), or without glibc.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        import ctypes  # some builds of Python have none

        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS))
    except (ImportError, OSError, AttributeError):
        return False
