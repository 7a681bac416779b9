"""Request IDs: taken from X-Request-ID or created, returned in the response, part of the log lines."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial
from random import getrandbits
from typing import TYPE_CHECKING, Any

from gunicorn.http.wsgi import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADER = "X-Request-ID"

ENVIRON = "gunicorn_drain.request_id"
"""Environ key of the request ID."""

_accepted = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,128}").fullmatch

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def accepted_or_new(sent: str | None) -> str:
    """Return the ID that a client or proxy has sent, or a new one: 32 hexadecimal digits.

    An ID that is longer than 128 characters or contains others than letters, digits and `._:/+=@~-` is
    replaced, because the ID is part of the log and of a response header.
    """
    if sent is not None and _accepted(sent):
        return sent
    # Unique, not secret: a third of the time of os.urandom(). Each worker has a separate seed.
    return "%032x" % getrandbits(128)  # noqa: UP031 - faster than an f-string


def current() -> str | None:
    """Return the ID of the request that this thread or greenlet serves; None between requests."""
    return _current.get()


def serve_with(request_id: str | None) -> None:
    """Set the ID for the log lines of this thread or greenlet."""
    _current.set(request_id)


def with_request_ids(application: WSGIApplication) -> WSGIApplication:
    """Wrap `application`, so that each request has an ID.

    The ID stays current after the call, because the response is yet to be iterated.
    """

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = environ[ENVIRON] = accepted_or_new(environ.get("HTTP_X_REQUEST_ID"))
        _current.set(request_id)
        header = (HEADER, request_id)
        # Gunicorn checks each header that it gets: for this one, which needs no check, 2 % of a request.
        response = getattr(start_response, "__self__", None)
        if isinstance(response, Response):
            response.headers.append(header)
            return application(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            headers.append(header)  # the list is the server's to change (PEP 3333)
            return start_response(status, headers, *exc_info)

        return application(environ, start)

    return serve


class RequestIdFilter(logging.Filter):
    """Filter that sets `request_id` of the log records that are emitted while a request is served."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        request_id = _current.get()
        if request_id is not None and not hasattr(record, "request_id"):
            record.request_id = request_id
        return True


def forget_after_requests(worker: Any) -> None:
    """Reset the ID after each request, for log lines between two. Call it in the worker's process.

    ASGI workers and tornado's have no such method: each of their requests is a task with its own context.
    """
    if hasattr(worker, "handle"):
        worker.handle = partial(_handle, worker.handle)


def _handle(handle: Callable[..., Any], *args: Any) -> Any:
    try:
        return handle(*args)
    finally:
        _current.set(None)
