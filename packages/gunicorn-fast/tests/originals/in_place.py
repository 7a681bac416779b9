"""Pytest plugin: the faster classes in place of the originals, before any test imports the originals."""

import flask
import prometheus_flask_exporter

from gunicorn_fast.flask import FastFlask
from gunicorn_fast.metrics import FastDefaults, FastPrometheusMetrics

flask.Flask = FastFlask  # type: ignore[misc]
for name in ("ConnexionPrometheusMetrics", "RESTfulPrometheusMetrics"):
    fast = type(name, (FastDefaults, getattr(prometheus_flask_exporter, name)), {})
    setattr(prometheus_flask_exporter, name, fast)
prometheus_flask_exporter.PrometheusMetrics = FastPrometheusMetrics
