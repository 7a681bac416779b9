"""Prometheus metrics: prometheus-flask-exporter's request series and the lifecycle's own."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app import multiprocess
from app.lifecycle import Lifecycle, Long
from app.streams.loop import KINDS
from gunicorn_fast.metrics import FastPrometheusMetrics

FILE_PATIENCE = 1.0
"""Seconds for which a worker's new file may be empty."""


class LifecycleCollector(Collector):
    """The lifecycle's series. Their values are the whole service's, whichever worker is asked."""

    def __init__(self, lifecycle: Lifecycle, version: str) -> None:
        self._lifecycle = lifecycle
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Read the shared page."""
        lifecycle, policy = self._lifecycle, self._lifecycle.policy
        gauges: list[tuple[str, str, float]] = [
            ("ready", "1 while the service is ready, 0 before and from SIGTERM on.", lifecycle.ready),
            ("draining", "1 from SIGTERM on.", lifecycle.draining),
            ("requests_in_flight", "Client requests being answered.", lifecycle.in_flight),
            (
                "drain_duration_seconds",
                "Seconds the drain has lasted so far, its whole length once it is over; 0 before it.",
                lifecycle.drain_seconds,
            ),
            (
                "drain_last_request_seconds",
                "Seconds into the drain at which a client request last arrived; 0 before one did.",
                lifecycle.last_arrival_seconds,
            ),
            (
                "start_time_seconds",
                "When the service was started, seconds since the epoch.",
                lifecycle.started,
            ),
        ]
        if policy is not None:
            # With every scrape: a pod that leaves takes all its series with it.
            gauges += [
                ("drain_min_seconds", "Seconds a drain lasts at least: DRAIN_MIN.", policy.minimum),
                (
                    "drain_quiet_seconds",
                    "Seconds without a request that end a drain: DRAIN_QUIET.",
                    policy.quiet,
                ),
                ("drain_max_seconds", "Seconds a drain lasts at most: DRAIN_MAX.", policy.maximum),
            ]
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"lifecycle_{name}", text, value=float(value))
        for name, text, count in (
            ("drain_requests", "Client requests answered while draining.", lifecycle.answered_while_draining),
            ("requests_cut_off", "Client requests whose worker ended before the answer.", lifecycle.cut_off),
        ):
            yield CounterMetricFamily(f"lifecycle_{name}", text, value=float(count))
        info = GaugeMetricFamily("lifecycle_info", "1, with the version that serves.", labels=["version"])
        info.add_metric([self._version], 1.0)
        yield info


class StreamCollector(Collector):
    """The series of long connections, of all workers and by kind."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def collect(self) -> Iterator[Metric]:
        """Read the shared page."""
        open_now = GaugeMetricFamily("streams_open", "Long connections that are open.", labels=["kind"])
        counters = {
            what: CounterMetricFamily(f"streams_{what.name.lower()}", text, labels=["kind"])
            for what, text in (
                (Long.OPENED, "Long connections so far."),
                (Long.TOLD, "Long connections that were told to go elsewhere."),
                (Long.MOVED, "Long connections that went when they were told."),
                (Long.FORCED, "Long connections that were told, did not go, and were closed."),
                (Long.DROPPED, "Long connections closed because the client did not keep to the rules."),
                (Long.REFUSED, "Long connections that were refused with 501 or 503; the log says why."),
            )
        }
        for number, kind in enumerate(KINDS):
            open_now.add_metric([kind], self._lifecycle.long_connections(Long.OPEN, number))
            for what, family in counters.items():
                family.add_metric([kind], self._lifecycle.long_connections(what, number))
        return iter([open_now, *counters.values()])


class WorkersCollector(MultiProcessCollector):
    """What all workers have written to their files."""

    def __init__(self, registry: CollectorRegistry, path: str | None = None) -> None:
        super().__init__(registry, path)  # type: ignore[no-untyped-call] # prometheus_client has none

    def collect(self) -> list[Metric]:
        """Read the files; again if one is still empty, as it is while its worker creates it."""
        until = time.monotonic() + FILE_PATIENCE
        while True:
            try:
                return list(super().collect())  # type: ignore[no-untyped-call]
            except struct.error:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)


def register(app: Flask, lifecycle: Lifecycle, version: str) -> None:
    """Count the requests of `app` and answer /metrics."""
    # A registry of its own for each app, so that two in one process do not share series. Under
    # Gunicorn the values lie in files that all workers write, and the registry holds none.
    registry = CollectorRegistry()
    exporter = FastPrometheusMetrics(app, path=None, group_by="url_rule", registry=registry)
    own = (LifecycleCollector(lifecycle, version), StreamCollector(lifecycle))
    for collector in own:
        registry.register(collector)

    @app.get("/metrics")
    @exporter.do_not_track()  # type: ignore[untyped-decorator] # the exporter has no types
    def metrics() -> Response:
        served = registry
        if multiprocess.directory():
            served = CollectorRegistry()
            for collector in own:
                served.register(collector)
            WorkersCollector(served)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(served), content_type=content_type)
