"""Gunicorn configuration with the drain alone: `gunicorn -c python:gunicorn_drain.config app:app`.

The environment has its settings: DRAIN, DRAIN_MIN, DRAIN_QUIET, DRAIN_MAX; DRAIN_READINESS, the path of the
readiness probe, /ready if not set; and DRAIN_PROBES, the paths of other probes, separated by commas.
Gunicorn's own settings come from its flags.
"""

from __future__ import annotations

from gunicorn_drain import flags
from gunicorn_drain.hooks import refuse_to_start
from gunicorn_drain.install import install
from gunicorn_drain.probes import wrong_path

# After a drain of 15 s, Gunicorn's default of 30 s is too long for the 30 s that Kubernetes gives a pod.
graceful_timeout = 10

_environ = flags.environment(flags.given())
_readiness = _environ.get("DRAIN_READINESS") or "/ready"
_probes = [path.strip() for path in _environ.get("DRAIN_PROBES", "").split(",") if path.strip()]
_wrong = [wrong_path("DRAIN_PROBES", path) for path in _probes] + [wrong_path("DRAIN_READINESS", _readiness)]
if _sentences := [each for each in _wrong if each is not None]:
    refuse_to_start("\n".join(_sentences))

install(globals(), probes=_probes, readiness=_readiness)
