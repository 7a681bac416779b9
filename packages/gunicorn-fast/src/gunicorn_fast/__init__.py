"""Faster workers for Gunicorn, and drop-in replacements of Flask and prometheus-flask-exporter.

    worker_class = gunicorn_fast.LEADER_WORKER

Nothing is imported before it is used: an application that takes FastFlask needs no Gunicorn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn_fast.leader_worker import LeaderWorker
    from gunicorn_fast.probe_worker import ProbeLaneWorker

__all__ = ["LEADER_WORKER", "PROBE_LANE_WORKER", "LeaderWorker", "ProbeLaneWorker"]
__version__ = "0.2.0"

PROBE_LANE_WORKER = "gunicorn_fast.ProbeLaneWorker"
"""Dotted name of the worker with dedicated threads for probes, for Gunicorn's worker_class."""

LEADER_WORKER = "gunicorn_fast.LeaderWorker"
"""Dotted name of the worker whose polling thread serves requests itself, for Gunicorn's worker_class."""

_MODULES = {"LeaderWorker": "leader_worker", "ProbeLaneWorker": "probe_worker"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
