"""Responses to refused requests: problem details, counted, and logged once a minute with a count.

Gunicorn's parser refuses requests that never reach the application, in all worker classes by the worker's
handle_error(). `report_errors()` replaces it by our own. Gunicorn still chooses the status.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache, partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http.errors import ConfigurationProblem
from gunicorn.http.message import Message, Request
from gunicorn.workers.base import Worker

from gunicorn_drain.logs import request_id
from gunicorn_drain.throttled_log import ThrottledLog

if TYPE_CHECKING:
    from prometheus_client import Counter

PROBLEM = "application/problem+json"

SHOWN = 200
"""Maximum number of characters of a parser's message to send and to log; it may quote the request."""


# ---- Gunicorn's own errors -----------------------------------------------------------------------------


class _Recorder:
    """Socket that records the written data."""

    def __init__(self) -> None:
        self.written = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.written += data

    def fileno(self) -> int:
        return -1


def report_errors(worker: Any) -> None:
    """Replace the error responses of `worker`. Call it in the worker's process, before the worker serves."""
    refusals = ThrottledLog(logging.getLogger("gunicorn.error"))
    worker.handle_error = partial(_handle_error, worker, refusals)


def _handle_error(  # noqa: PLR0913, PLR0917 - Gunicorn's signature, and two of our own
    worker: Any, refusals: ThrottledLog, req: Request, client: Any, addr: Any, exc: Exception
) -> None:
    """Send the problem details of `exc` (Gunicorn: HTML), count the refusal and log it.

    `req` is None where the request could not be parsed.
    """
    began = time.monotonic()
    peer = addr[0] if isinstance(addr, tuple) and addr else "-"
    request = req if req is not None else _request_of(exc)
    headers = dict(getattr(request, "headers", None) or _headers_of(exc))
    # A request that reached the application keeps its ID.
    served = request_id.current() if req is not None else None
    identifier = served or request_id.accepted_or_new(headers.get(request_id.HEADER.upper()))
    request_id.serve_with(identifier)
    # Gunicorn maps exceptions to statuses in the middle of the method that also writes the response, so the
    # method writes to a recorder. It logs a failure of the application with the traceback.
    recorder = _Recorder()
    log = SimpleNamespace(
        warning=lambda *_: None,
        access=lambda *_: None,
        debug=worker.log.debug,
        exception=worker.log.exception,
    )
    handle_error: Callable[..., None] = Worker.handle_error  # it gets stand-ins of its worker and socket
    handle_error(SimpleNamespace(log=log, cfg=worker.cfg), req, recorder, addr, exc)
    try:
        status = HTTPStatus(int(recorder.written.split(b" ", 2)[1]))
    except (IndexError, ValueError):
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    method, uri, version = (getattr(request, name, None) for name in ("method", "uri", "version"))
    detail = _detail(worker.cfg, status, exc)
    problem = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    body = (json.dumps(problem) + "\n").encode()
    lines = [
        f"HTTP/1.1 {int(status)} {status.phrase}",
        "Server: gunicorn",
        f"Date: {util.http_date()}",
        "Connection: close",
        f"Content-Type: {PROBLEM}",
        f"Content-Length: {len(body)}",
        f"{request_id.HEADER}: {identifier}",
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if (counter := _counter()) is not None:
        counter.labels(str(int(status))).inc()
    if not _is_failure(status, exc):
        refusals.add(str(int(status)), f"Refused a request of {peer} with {int(status)}: {detail}")
    protocol = f"HTTP/{version[0]}.{version[1]}" if version else "-"
    environ = {
        "REMOTE_ADDR": peer,
        "REQUEST_METHOD": method or "-",
        "RAW_URI": uri or "-",
        "PATH_INFO": getattr(request, "path", None) or "-",
        "QUERY_STRING": getattr(request, "query", None) or "",
        "SERVER_PROTOCOL": protocol,
        request_id.ENVIRON: identifier,
    }
    if isinstance(addr, tuple):
        environ["REMOTE_PORT"] = str(addr[1])
    if (forwarded := headers.get("X-FORWARDED-FOR")) is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    response = SimpleNamespace(status=f"{int(status)} {status.phrase}", sent=len(body), headers=[])
    none = SimpleNamespace(headers=[])
    worker.log.access(response, none, environ, timedelta(seconds=time.monotonic() - began))
    try:
        util.write_nonblock(client, head if method == "HEAD" else head + body)
    except Exception:  # noqa: BLE001 - the client may have disconnected
        worker.log.debug("Failed to send an error response.")


def _is_failure(status: HTTPStatus, exc: Exception) -> bool:
    """Return whether `exc` is a failure of the application, which Gunicorn logs with its traceback."""
    return status == HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(exc, ConfigurationProblem)


def _detail(cfg: Config, status: HTTPStatus, exc: Exception) -> str:
    if _is_failure(status, exc):
        return "The server failed to respond; its log says why."
    text = "".join(each if each.isprintable() else "?" for each in str(exc))[:SHOWN]
    if status == HTTPStatus.REQUEST_URI_TOO_LONG:
        text += f"; allowed are request lines of {cfg.limit_request_line} bytes"
    elif status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        text += (
            f"; allowed are {cfg.limit_request_fields} headers of {cfg.limit_request_field_size} bytes each"
        )
    return text + "."


def _request_of(exc: Exception) -> Message | None:
    """Return the request that was being parsed, for its method and path: Gunicorn passes the error alone."""
    found = (frame.get("self") for frame in _frames_of(exc))
    return next((each for each in found if isinstance(each, Message)), None)


def _headers_of(exc: Exception) -> list[tuple[str, str]]:
    """Return the headers before the refused one, for the request ID."""
    found = (frame.get("headers") for frame in _frames_of(exc) if isinstance(frame.get("self"), Message))
    return next((each for each in found if isinstance(each, list)), [])


def _frames_of(exc: Exception) -> Iterator[dict[str, Any]]:
    """Yield the local variables of each function that `exc` was raised through."""
    trace = exc.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_locals
        trace = trace.tb_next


@cache
def _counter() -> Counter | None:
    # Imported late: prometheus_client decides how to count when it is first imported.
    try:
        from prometheus_client import Counter
    except ImportError:
        return None

    return Counter(
        "http_requests_refused",
        "Requests to which Gunicorn itself responded with an error, by status.",
        ("status",),
        registry=None,
    )
