"""The directory through which Gunicorn's workers share what prometheus_client counts.

Apart from app/metrics.py because prometheus_client decides how to count when it is first imported:
the directory must be there before.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def directory() -> str | None:
    """Name the directory in use, None where this process counts alone."""
    return os.environ.get(VARIABLE)


def prepare() -> None:
    """Make an empty directory in memory, once in a master's life. The master removes it at its exit."""
    if directory():  # a reload executes gunicorn.conf.py again
        return
    memory = Path("/dev/shm")  # noqa: S108 - a directory of unpredictable name is made in it
    made = tempfile.mkdtemp(prefix="metrics-", dir=memory if memory.is_dir() else None)
    os.environ[VARIABLE] = made
    master = os.getpid()
    atexit.register(lambda: shutil.rmtree(made, ignore_errors=True) if os.getpid() == master else None)


def forget(pid: int) -> None:
    """Drop the gauges of a worker that is gone; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call] # prometheus_client has none
