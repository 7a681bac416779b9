"""Log lines of a Gunicorn service, for terminals or log collectors: `pip install gunicorn-drain[logs]`.

In gunicorn.conf.py, before `gunicorn_drain.install()`:

    gunicorn_drain.logs.install(globals(), log_format="json", access_log=True)

All lines have one format, those of the application and of libraries too. The access log has the client behind
trusted proxies, the duration, the request ID and the drain's state. A request that Gunicorn's parser refuses
gets problem details (RFC 9457), is logged with a count, and counted if prometheus_client is installed.

Request IDs need a middleware in the application:

    app.wsgi_app = with_request_ids(app.wsgi_app)
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from gunicorn_drain import flags
from gunicorn_drain.hooks import chain
from gunicorn_drain.logs.access import FORMAT
from gunicorn_drain.logs.errors import PROBLEM, report_errors
from gunicorn_drain.logs.formats import FORMATS, exit_with
from gunicorn_drain.logs.logger import ServiceLogger, StatsdLogger
from gunicorn_drain.logs.request_id import (
    RequestIdFilter,
    current,
    forget_after_requests,
    with_request_ids,
)

__all__ = [
    "PROBLEM",
    "RequestIdFilter",
    "ServiceLogger",
    "current",
    "exit_with",
    "install",
    "with_request_ids",
]


def install(
    namespace: MutableMapping[str, Any], *, log_format: str = "text", access_log: bool = False
) -> None:
    """Set logger class, format of the access log and a hook in the file whose `globals()` are `namespace`.

    `log_format`: "text" or "json", else ValueError. `access_log`: whether to log each request on stderr;
    Gunicorn's flags for its access log have their effect in either case.
    """
    if log_format not in FORMATS:
        raise ValueError(f"log_format is {log_format!r}; allowed is one of {', '.join(FORMATS)}")
    # Gunicorn adds its metrics for statsd to its own logger only.
    base = StatsdLogger if "statsd_host" in flags.given() else ServiceLogger
    # As attributes of the class: a reload that fails puts the old configuration, and so the old class, back.
    chosen = {"log_format": log_format, "access_log_on": access_log}
    namespace["logger_class"] = type(base.__name__, (base,), chosen)
    namespace["access_log_format"] = FORMAT
    namespace["post_fork"] = chain("post_fork", _post_fork, namespace.get("post_fork"))


def _post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 - Gunicorn's signature
    """Set a new worker's responses to refused requests, and the end of a request's ID."""
    report_errors(worker)
    forget_after_requests(worker)
