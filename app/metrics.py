"""Prometheus metrics: prometheus-flask-exporter's request series and the drain's."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app import multiprocess
from gunicorn_drain import Drain
from gunicorn_drain.prometheus import DrainCollector, StreamCollector
from gunicorn_fast.metrics import FastPrometheusMetrics

FILE_PATIENCE = 1.0
"""Seconds for which a worker's new file may be empty."""


class VersionCollector(Collector):
    """The version that serves, as lifecycle_info."""

    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Return the one series."""
        info = GaugeMetricFamily("lifecycle_info", "1, with the version that serves.", labels=["version"])
        info.add_metric([self._version], 1.0)
        yield info


class WorkersCollector(MultiProcessCollector):
    """What all workers have written to their files."""

    def __init__(self, registry: CollectorRegistry, path: str | None = None) -> None:
        super().__init__(registry, path)  # type: ignore[no-untyped-call] # prometheus_client has none
        self._path: str

    def collect(self) -> list[Metric]:
        """Read the files; again if one is still empty, as it is while its worker creates it."""
        until = time.monotonic() + FILE_PATIENCE
        while True:
            try:
                return list(self.merge(self._files(), accumulate=True))  # type: ignore[no-untyped-call]
            except struct.error:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _files(self) -> list[str]:
        # Not by glob as prometheus_client does: the path may have brackets in it, and a directory that the
        # user names may have other files.
        return [str(each) for each in Path(self._path).iterdir() if multiprocess.FILE.fullmatch(each.name)]


def register(app: Flask, drain: Drain, version: str) -> None:
    """Count the requests of `app` and answer /metrics."""
    multiprocess.DIRECTORY.export()
    # A registry of its own for each app, so that two in one process do not share series. Under
    # Gunicorn the values lie in files that all workers write, and the registry holds none.
    registry = CollectorRegistry()
    exporter = FastPrometheusMetrics(app, path=None, group_by="url_rule", registry=registry)
    own = (DrainCollector(drain), VersionCollector(version), StreamCollector(drain))
    for collector in own:
        registry.register(collector)

    @app.get("/metrics")
    @exporter.do_not_track()  # type: ignore[untyped-decorator] # the exporter has no types
    def metrics() -> Response:
        served = registry
        if path := multiprocess.directory():
            served = CollectorRegistry()
            for collector in own:
                served.register(collector)
            WorkersCollector(served, path)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(served), content_type=content_type)
