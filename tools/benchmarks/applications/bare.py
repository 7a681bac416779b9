"""A WSGI function: the cost of a server without any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

BODY = b'{"message": "Hello from Flask", "version": "dev", "pod": "baseline"}\n'


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:  # noqa: ARG001 - WSGI's signature
    """Respond to any request with the body of /api."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]
