"""Stock Flask with the same endpoints, and prometheus-flask-exporter with its defaults."""

from __future__ import annotations

import time

from flask import Flask
from prometheus_flask_exporter import PrometheusMetrics

app = Flask(__name__)
PrometheusMetrics(app)


@app.get("/api")
def index() -> dict[str, str]:
    """Answer at once."""
    return {"message": "Hello from Flask", "version": "dev", "pod": "baseline"}


@app.get("/api/sleep/<float:seconds>")
def sleep(seconds: float) -> dict[str, float]:
    """Answer after so many seconds."""
    time.sleep(seconds)
    return {"slept": seconds}


@app.get("/health")
def health() -> dict[str, str]:
    """Say that it lives."""
    return {"state": "ready"}
