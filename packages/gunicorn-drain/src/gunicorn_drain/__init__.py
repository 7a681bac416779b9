"""A drain for Gunicorn: a service terminates without losing a request.

In gunicorn.conf.py, at its end:

    import gunicorn_drain
    gunicorn_drain.install(globals(), probes=["/healthz"], readiness="/ready")

On SIGTERM readiness turns false, every request still gets its response, with `Connection: close`, and
Gunicorn's own graceful stop follows when the traffic has stopped.
"""

from gunicorn_drain.drain import Drain, get_drain
from gunicorn_drain.install import install
from gunicorn_drain.open_files import SPARE_FILES, limit_connections, raise_file_limit
from gunicorn_drain.policy import DrainPolicy
from gunicorn_drain.probes import Probe
from gunicorn_drain.shared import State, StreamCounter
from gunicorn_drain.wsgi import DETACH_KEY

__all__ = [
    "DETACH_KEY",
    "SPARE_FILES",
    "Drain",
    "DrainPolicy",
    "Probe",
    "State",
    "StreamCounter",
    "get_drain",
    "install",
    "limit_connections",
    "raise_file_limit",
]
__version__ = "0.2.0"
