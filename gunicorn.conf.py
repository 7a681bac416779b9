"""Gunicorn's configuration of the service, read by `gunicorn` in this directory. Its flags take precedence.

Gunicorn executes this file again on every SIGHUP, so it holds no state: the state is in gunicorn_drain.
"""

import gc
from typing import Any

import gunicorn_drain
from app.notices import notices
from app.settings import PROBES, WORKER_CONNECTIONS, settings_or_exit
from gunicorn_drain import flags, listeners, logs, prometheus
from gunicorn_fast.malloc import limit_arenas

given = flags.given()
environment = flags.environment(given)
settings = settings_or_exit(environment, given.get("worker_class"))

wsgi_app = "app:create_app()"
workers = settings.workers
worker_class = settings.worker_class
threads = settings.threads_per_worker
timeout = settings.timeout
graceful_timeout = settings.graceful_timeout
keepalive = settings.keepalive
worker_connections = WORKER_CONNECTIONS
loglevel = settings.log_level
# Loaded once before the fork, the application's memory is shared by the workers. gevent must patch first, and
# --reload loads changed code in new workers only.
preload_app = not (settings.is_gevent or "reload" in given)
# The heartbeat must not wait for a disk if there is memory to write to. None: in TMPDIR.
worker_tmp_dir = prometheus.memory_directory()
# Nothing here uses the control socket, and it needs a writable home.
control_socket_disable = "control_socket" not in given
# The same for all peers, from loopback too (docs/security.md).
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# max_requests stays off: a worker that is recycled closes silent connections without notice (docs/limits.md).


def on_starting(server: Any) -> None:
    """Report variables that look like settings and have no effect."""
    for sentence in notices(environment):
        server.log.warning("%s", sentence)


def when_ready(server: Any) -> None:
    """Keep the workers' memory small."""
    gc.freeze()  # a garbage collection writes to the other objects, and so copies them into each worker
    limit_arenas()


listeners.install(globals(), settings.bind.split(","), settings.port)
logs.install(globals(), log_format=settings.log_format, access_log=settings.access_log)
prometheus.install(globals(), environment)
gunicorn_drain.install(
    globals(), probes=PROBES, policy=settings.drain_policy, send_timeout=settings.send_timeout
)
