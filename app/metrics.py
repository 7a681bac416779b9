"""Prometheus metrics: prometheus-flask-exporter's request series and the lifecycle's own."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

from app import multiprocess
from app.lifecycle import Lifecycle


class LifecycleCollector(Collector):
    """The lifecycle's series. Their values are the whole service's, whichever worker is asked."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def collect(self) -> Iterator[Metric]:
        """Read the shared page."""
        lifecycle = self._lifecycle
        for name, text, value in (
            ("ready", "1 while the service is ready, 0 before and from SIGTERM on.", lifecycle.ready),
            ("draining", "1 from SIGTERM on.", lifecycle.draining),
            ("requests_in_flight", "Client requests being answered.", lifecycle.in_flight),
            (
                "drain_duration_seconds",
                "Seconds the drain has lasted so far, its whole length once it is over; 0 before it.",
                lifecycle.drain_seconds,
            ),
        ):
            yield GaugeMetricFamily(f"lifecycle_{name}", text, value=float(value))
        yield CounterMetricFamily(
            "lifecycle_drain_requests",
            "Client requests answered while draining.",
            value=float(lifecycle.answered_while_draining),
        )


def register(app: Flask, lifecycle: Lifecycle) -> None:
    """Count the requests of `app` and answer /metrics."""
    # A registry of its own for each app, so that two in one process do not share series. Under
    # Gunicorn the values lie in files that all workers write, and the registry holds none.
    registry = CollectorRegistry()
    exporter = PrometheusMetrics(app=None, path=None, group_by="url_rule", registry=registry)
    exporter.init_app(app)
    own = LifecycleCollector(lifecycle)
    registry.register(own)

    @app.get("/metrics")
    @exporter.do_not_track()  # type: ignore[untyped-decorator] # the exporter has no types
    def metrics() -> Response:
        served = registry
        if multiprocess.directory():
            served = CollectorRegistry()
            served.register(own)
            MultiProcessCollector(served)  # type: ignore[no-untyped-call] # prometheus_client has none
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(served), content_type=content_type)
