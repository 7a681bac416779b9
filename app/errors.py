"""Errors as JSON problem details (RFC 9457): the mistake and the allowed values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app, json, request
from gunicorn.http.wsgi import Response as GunicornResponse
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound
from werkzeug.sansio.response import Response as BaseResponse
from werkzeug.urls import iri_to_uri

from gunicorn_drain.logs import PROBLEM

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def register(app: Flask) -> None:
    """Respond to every error of `app` with problem details."""
    app.register_error_handler(HTTPException, problem_response)
    # Flask logs an unexpected exception with its traceback and calls this handler with a simple 500.
    app.register_error_handler(InternalServerError, problem_response)
    app.after_request(redirect_within_origin)


def redirect_within_origin(response: Response) -> Response:
    """Remove scheme and host from a redirect to this service (Werkzeug: those of the connection).

    Otherwise a client of a proxy that terminates TLS would be redirected to plain HTTP.
    """
    if response.status_code == HTTPStatus.PERMANENT_REDIRECT:
        origin, location = request.host_url, response.location or ""
        if location.startswith(origin):
            # Two slashes at the beginning would name another host.
            response.location = "/" + location.removeprefix(origin).lstrip("/")
    return response


class ProblemResponse(Response):
    """A response whose Upgrade header is announced by `Connection: Upgrade` (RFC 9110, 7.8)."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Add the header to Gunicorn's own response.

        An application does not set Connection (PEP 3333). Gunicorn accepts "Upgrade" in it, but then sends
        no `Connection: close`, which a drain needs. Two Connection headers count as one list.
        """

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            write = start_response(status, headers, *more)
            gunicorns = getattr(start_response, "__self__", None)
            if isinstance(gunicorns, GunicornResponse):
                gunicorns.headers.append(("Connection", "Upgrade"))
            return write

        return super().__call__(environ, start if "Upgrade" in self.headers else start_response)


def problem_response(error: HTTPException) -> BaseResponse:
    """Create the response to `error`, with its reason unless the reason is internal to the server."""
    status = error.code or 500
    if error.response is not None or status < 400:
        return error.get_response()  # a redirect is no error
    path = request.script_root + request.path  # as the client requested it
    problem: dict[str, object] = {"type": "about:blank", "title": error.name, "status": status}
    response = ProblemResponse(status=status, mimetype=PROBLEM)
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(error.valid_methods or ())
        response.headers["Allow"] = ", ".join(allowed)
        problem |= {
            "detail": f"{path} does not take {request.method}; allowed: {', '.join(allowed)}.",
            "allowed": allowed,
        }
    elif isinstance(error, NotFound):
        routes = sorted({request.script_root + rule.rule for rule in current_app.url_map.iter_rules()})
        problem |= {"detail": f"There is nothing at {path}.", "allowed": routes}
    elif isinstance(error, InternalServerError):
        problem["detail"] = "The server failed to respond; its log says why."
    else:
        problem["detail"] = error.description
    problem["instance"] = iri_to_uri(path)  # a URI reference (RFC 9457, 3.1.5)
    response.set_data(json.dumps(problem) + "\n")
    return response
