"""The usual alternative: the same endpoints, prometheus-flask-exporter with its defaults."""

from __future__ import annotations

import time

from flask import Flask
from prometheus_flask_exporter import PrometheusMetrics

app = Flask(__name__)
PrometheusMetrics(app)


@app.get("/api")
def index() -> dict[str, str]:
    """Respond at once."""
    return {"message": "Hello from Flask", "version": "dev", "pod": "baseline"}


@app.get("/api/sleep/<float:seconds>")
def sleep(seconds: float) -> dict[str, float]:
    """Respond after `seconds`."""
    time.sleep(seconds)
    return {"slept": seconds}


@app.get("/health")
def health() -> dict[str, str]:
    """Respond to a liveness probe."""
    return {"state": "ready"}
