"""Gunicorn configuration with the drain alone: `gunicorn -c python:gunicorn_drain.config app:app`.

The environment has its settings: DRAIN, DRAIN_MIN, DRAIN_QUIET, DRAIN_MAX; DRAIN_READINESS, the path of the
readiness probe, /ready if not set; and DRAIN_PROBES, the paths of other probes, separated by commas.
Gunicorn's own settings come from its flags.
"""

from __future__ import annotations

import os

from gunicorn_drain.hooks import exit_with
from gunicorn_drain.install import install

# After a drain of 15 s, Gunicorn's default of 30 s is too long for the 30 s that Kubernetes gives a pod.
graceful_timeout = 10

try:
    install(
        globals(),
        probes=[path.strip() for path in os.environ.get("DRAIN_PROBES", "").split(",") if path.strip()],
        readiness=os.environ.get("DRAIN_READINESS") or "/ready",
    )
except ValueError as error:
    exit_with(f"DRAIN_PROBES or DRAIN_READINESS: {error}")
