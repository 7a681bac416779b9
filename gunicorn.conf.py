"""How Gunicorn runs the service. Plain `gunicorn` in this directory reads it; Gunicorn's own flags win.

Gunicorn executes this file again on every SIGHUP, so it holds no state: that is in gunicorn_drain.
"""

import gc
from dataclasses import replace
from typing import Any

import gunicorn_drain
import gunicorn_drain.prometheus
from app import access_log, flags, listeners, logs, refusals, request_id
from app.settings import PROBES, WORKER_CONNECTIONS, notices, settings_or_exit

given = flags.given()
environment = flags.environment(given)
settings = settings_or_exit(environment)
if "worker_class" in given:
    settings = replace(settings, worker_class=given["worker_class"])

wsgi_app = "app:create_app()"
bind = settings.binds
workers = settings.workers
worker_class = settings.worker_class
threads = settings.threads_per_worker
timeout = settings.timeout
graceful_timeout = settings.graceful_timeout
keepalive = settings.keepalive
worker_connections = WORKER_CONNECTIONS
# Loaded once before the fork, workers share the application's memory. gevent must patch first, and --reload
# loads changed code in new workers only.
preload_app = not (settings.is_gevent or "reload" in given)
# max_requests stays off: a worker that is recycled closes silent connections without notice (docs/limits.md).

# The sign of life must not wait for a disk, where there is memory to write to. None: in TMPDIR.
worker_tmp_dir = gunicorn_drain.prometheus.memory_directory()
# Nothing here uses it, and it needs a writable home.
control_socket_disable = "control_socket" not in given
logger_class = logs.StatsdLogger if "statsd_host" in given else logs.ServiceLogger
loglevel = settings.log_level
access_log_format = access_log.FORMAT

# The same for all peers: Gunicorn would take these headers from loopback, and refuse those that contradict
# each other, and ignore the same headers of any other peer. docs/security.md says how to use them.
secure_scheme_headers: dict[str, str] = {}

listeners.separate_families()


def on_starting(server: Any) -> None:
    """Report variables that look like settings and have no effect."""
    for sentence in notices(environment):
        server.log.warning("%s", sentence)


def when_ready(server: Any) -> None:
    """Keep what is loaded by now out of all garbage collections.

    A collection writes to every object that it looks at: each worker would soon have a copy of what it shares
    with the master.
    """
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:
    """Set how a new worker refuses requests, and the end of a request's ID."""
    refusals.report_errors(worker)
    request_id.forget_after_requests(worker)


gunicorn_drain.prometheus.install(globals(), environment)
gunicorn_drain.install(
    globals(), probes=PROBES, policy=settings.drain_policy, send_timeout=settings.send_timeout
)
