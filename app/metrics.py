"""Prometheus metrics: prometheus-flask-exporter's request series and the drain's."""

from __future__ import annotations

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Info
from prometheus_client.exposition import choose_encoder

from gunicorn_drain import Drain
from gunicorn_drain.prometheus import DIRECTORY, scrape_registry
from gunicorn_fast.metrics import FastPrometheusMetrics


def register(app: Flask, drain: Drain, version: str) -> None:
    """Count the requests of `app`, and respond to /metrics."""
    DIRECTORY.export()
    # A separate registry for each app, so that two apps in one process do not share series.
    registry = CollectorRegistry()
    exporter = FastPrometheusMetrics(app, path=None, group_by="url_rule", registry=registry)
    info = Info("lifecycle", "Version that serves.", registry=None)
    info.info({"version": version})

    @app.get("/metrics")
    @exporter.do_not_track()  # type: ignore[untyped-decorator] # the exporter has no types
    def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(scrape_registry(drain, info, alone=registry)), content_type=content_type)
