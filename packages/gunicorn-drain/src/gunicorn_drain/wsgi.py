"""Readiness of a WSGI application, without a line in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gunicorn_drain.probes import METHODS, route

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from gunicorn_drain.drain import Drain

DETACH_KEY = "gunicorn_drain.detach"
"""Environ key of a function with which a worker stops polling the request's connection.

An application calls it before it moves the connection to another file descriptor. A worker that polls no
connection while it serves a request, as Gunicorn's own, does not set the key.
"""


def with_readiness(application: WSGIApplication, path: str, drain: Drain) -> WSGIApplication:
    """Wrap `application` so that GET and HEAD of `path` get 200 while the service is ready, else 503."""
    wanted = route(path.encode())

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            found = environ.get("PATH_INFO", "").encode("latin-1")
            is_probe = route(found) == wanted and environ["REQUEST_METHOD"] in METHODS
        except Exception:  # noqa: BLE001 - the request must not fail because of the drain
            drain.worker.log_once("readiness")
            is_probe = False
        if not is_probe:
            return application(environ, start_response)
        status, body = drain.readiness()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return respond
