"""Errors as JSON problem details (RFC 9457): what was wrong and what is allowed."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Response, current_app, json, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound
from werkzeug.sansio.response import Response as BaseResponse

from app.refusals import PROBLEM


def register(app: Flask) -> None:
    """Answer every error of `app` as a problem."""
    app.register_error_handler(HTTPException, problem_response)
    # Flask logs an unexpected exception with its traceback and hands this handler a plain 500.
    app.register_error_handler(InternalServerError, problem_response)
    app.after_request(redirect_within_origin)


def redirect_within_origin(response: Response) -> Response:
    """Leave scheme and host out of a redirect to this service (Werkzeug: those of the connection).

    A client of a proxy that terminates TLS would be redirected to plain HTTP.
    """
    if response.status_code == HTTPStatus.PERMANENT_REDIRECT:
        origin, location = request.host_url, response.location or ""
        if location.startswith(origin):
            # Two slashes at the beginning would name another host.
            response.location = "/" + location.removeprefix(origin).lstrip("/")
    return response


def problem_response(error: HTTPException) -> BaseResponse:
    """Create the response to `error`, with its reason unless that is the server's own matter."""
    status = error.code or 500
    if error.response is not None or status < 400:
        return error.get_response()  # a redirect is no error
    problem: dict[str, object] = {"type": "about:blank", "title": error.name, "status": status}
    response = Response(status=status, mimetype=PROBLEM)
    for name, value in error.get_headers():
        if name != "Content-Type":
            response.headers[name] = value
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(error.valid_methods or ())
        response.headers["Allow"] = ", ".join(allowed)
        problem |= {
            "detail": f"{request.path} does not take {request.method}; allowed: {', '.join(allowed)}.",
            "allowed": allowed,
        }
    elif isinstance(error, NotFound):
        routes = sorted({rule.rule for rule in current_app.url_map.iter_rules()})
        problem |= {"detail": f"There is nothing at {request.path}.", "allowed": routes}
    elif isinstance(error, InternalServerError):
        problem["detail"] = "The server failed to respond; its log says why."
    else:
        problem["detail"] = error.description
    problem["instance"] = request.path
    response.set_data(json.dumps(problem) + "\n")
    return response
