"""Flask without what each request pays for and this service has no use for, some 10 us a request.

Nothing of Flask's behaviour is changed for views that use no session.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

PLACES = 256
"""Addresses to remember under which the service was asked. Clients choose them, so there is a limit."""

_PLACE = (
    *("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "wsgi.url_scheme"),
    *("HTTP_CONNECTION", "HTTP_UPGRADE"),  # a WebSocket's scheme is another
)
"""What Flask makes a MapAdapter of, but for the request's own path, method and query."""


class NoSession(SessionInterface):
    """No session and no cookie: `flask.session` can be read, is empty, and refuses to be written."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        """Give every request the same empty one."""
        return self._none

    def save_session(self, *_: Any) -> None:
        """Flask saves none that is null."""


class LeanFlask(Flask):
    """Flask for views that keep no session."""

    session_interface = NoSession()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places: dict[tuple[Any, ...], tuple[MapAdapter, str]] = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a coroutine function as Flask does, which needs the extra `Flask[async]`.

        A simple function is recognised by its flags alone. `inspect.iscoroutinefunction`, by which Flask
        checks every function for each request, also reads marks on the function and what it wraps.
        """
        if type(func) is FunctionType and not func.__code__.co_flags & CO_COROUTINE and not func.__dict__:
            return func
        return super().ensure_sync(func)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Bind the routes to a request (Flask: works out twice, for each, where it was sent to)."""
        if request is None:
            return super().create_url_adapter(None)
        environ = request.environ
        place = tuple(map(environ.get, _PLACE))
        known = self._places.get(place)
        if known is None:
            adapter = super().create_url_adapter(request)  # refuses what is no host
            if adapter is not None:
                if len(self._places) >= PLACES:
                    self._places.clear()
                self._places[place] = adapter, request.host
            return adapter
        adapter, request.host = known
        return MapAdapter(
            adapter.map,
            adapter.server_name,
            adapter.script_name,
            adapter.subdomain,
            adapter.url_scheme,
            _text(environ.get("PATH_INFO", "")),
            environ["REQUEST_METHOD"],
            _text(environ.get("QUERY_STRING", "")),
        )


def _text(native: str) -> str:
    """Read a WSGI string, whose characters are bytes, as the UTF-8 that it means (PEP 3333)."""
    return native.encode("latin-1").decode(errors="replace")
