"""Prometheus metrics of a Gunicorn service: `pip install gunicorn-drain[prometheus]`.

The drain's series, in the application:

    REGISTRY.register(DrainCollector(gunicorn_drain.get_drain()))

The values are those of the whole service, whichever worker responds to the scrape.

With prometheus_client each worker counts separately, unless the workers share a directory. This creates one
in memory and removes it at the end. In gunicorn.conf.py, before `gunicorn_drain.install()`:

    gunicorn_drain.prometheus.install(globals())

The view of a scrape then responds with all series, those of the application too:

    generate_latest(scrape_registry(gunicorn_drain.get_drain()))

Nothing here imports prometheus_client before it is used: its import decides how it counts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gunicorn_drain.prometheus.directory import (
    DIRECTORY,
    MEMORY,
    PREFIX,
    VARIABLE,
    MetricsDirectory,
    directory,
    install,
    memory_directory,
)

if TYPE_CHECKING:
    from gunicorn_drain.prometheus.collectors import (
        DrainCollector,
        StreamCollector,
        WorkersCollector,
        scrape_registry,
    )

__all__ = [
    "DIRECTORY",
    "MEMORY",
    "PREFIX",
    "VARIABLE",
    "DrainCollector",
    "MetricsDirectory",
    "StreamCollector",
    "WorkersCollector",
    "directory",
    "install",
    "memory_directory",
    "scrape_registry",
]

_COLLECTORS = {"DrainCollector", "StreamCollector", "WorkersCollector", "scrape_registry"}


def __getattr__(name: str) -> Any:
    if name not in _COLLECTORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.collectors"), name)
