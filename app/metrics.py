"""Prometheus metrics: prometheus-flask-exporter's request series and the drain's."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gunicorn_drain import Drain
from gunicorn_drain.prometheus import (
    DIRECTORY,
    DrainCollector,
    StreamCollector,
    WorkersCollector,
    directory,
)
from gunicorn_fast.metrics import FastPrometheusMetrics


class VersionCollector(Collector):
    """Collector of lifecycle_info: the version that serves."""

    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Yield the series."""
        info = GaugeMetricFamily("lifecycle_info", "1, with the version that serves.", labels=["version"])
        info.add_metric([self._version], 1.0)
        yield info


def register(app: Flask, drain: Drain, version: str) -> None:
    """Count the requests of `app`, and respond to /metrics."""
    DIRECTORY.export()
    # A separate registry for each app, so that two apps in one process do not share series. Under
    # Gunicorn the values are in files that all workers write, and the registry has none.
    registry = CollectorRegistry()
    exporter = FastPrometheusMetrics(app, path=None, group_by="url_rule", registry=registry)
    own = (DrainCollector(drain), VersionCollector(version), StreamCollector(drain))
    for collector in own:
        registry.register(collector)

    @app.get("/metrics")
    @exporter.do_not_track()  # type: ignore[untyped-decorator] # the exporter has no types
    def metrics() -> Response:
        served = registry
        if path := directory():
            served = CollectorRegistry()
            for collector in own:
                served.register(collector)
            WorkersCollector(served, path)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(served), content_type=content_type)
