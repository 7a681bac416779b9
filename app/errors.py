"""Errors as JSON problem details (RFC 9457): the mistake and the allowed values."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, current_app, json, redirect, request
from werkzeug import Response
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound
from werkzeug.urls import iri_to_uri

from gunicorn_drain.logs import PROBLEM


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
            return redirect("/" + location.removeprefix(origin).lstrip("/"), response.status_code)
    return response


def problem_response(error: HTTPException) -> Response:
    """Create the response to `error`, with its reason unless the reason is internal to the server."""
    response = error.get_response()
    path = request.script_root + request.path  # as the client requested it
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": error.name,
        "status": error.code,
        "detail": error.description,
    }
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(error.valid_methods or ())
        response.headers["Allow"] = ", ".join(allowed)
        problem["detail"] = f"{path} does not take {request.method}; allowed: {', '.join(allowed)}."
        problem["allowed"] = allowed
    elif isinstance(error, NotFound):
        problem["detail"] = f"There is nothing at {path}."
        problem["allowed"] = sorted(
            {request.script_root + rule.rule for rule in current_app.url_map.iter_rules()}
        )
    elif isinstance(error, InternalServerError):
        problem["detail"] = "The server failed to respond; its log says why."
    problem["instance"] = iri_to_uri(path)  # a URI reference (RFC 9457, 3.1.5)
    response.data = json.dumps(problem) + "\n"
    response.mimetype = PROBLEM
    return response
