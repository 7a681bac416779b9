"""app/lean.py: what it leaves out of Flask does not show."""

from __future__ import annotations

import asyncio
import copy
import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from flask import Flask, Response, after_this_request, session
from flask.views import MethodView
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from app.lean import PLACES, LeanFlask

HOSTS = [
    "a",
    "a:80",
    "a:8080",
    "A.b",
    "[::1]:8080",
    "127.0.0.1",
    "b\u00fc.de",
    "",
    "a b",
    "a/b",
    "\xff",
    "::",
]
_environs = st.fixed_dictionaries(
    {
        "HTTP_HOST": st.sampled_from([None, *HOSTS]),
        "SERVER_NAME": st.sampled_from(["c", "::1", "/run/socket"]),
        "SERVER_PORT": st.sampled_from(["80", "8080", ""]),
        "SCRIPT_NAME": st.sampled_from(["", "/root"]),
        "wsgi.url_scheme": st.sampled_from(["http", "https"]),
        "HTTP_CONNECTION": st.sampled_from([None, "keep-alive", "Upgrade"]),
        "HTTP_UPGRADE": st.sampled_from([None, "websocket"]),
        "PATH_INFO": st.sampled_from(["/", "", "//a", "/a/", "/\xc3\xa4", "/\xff"]),
        "QUERY_STRING": st.sampled_from(["", "a=b", "a=\xc3\xa4"]),
        "REQUEST_METHOD": st.sampled_from(["GET", "POST"]),
    }
)


def bound(app: Flask, environ: dict[str, Any]) -> tuple[dict[str, Any], str] | type[Exception]:
    """What the routes are bound to, and the request's host; the error where it is refused."""
    request = app.request_class(copy.copy(environ))
    try:
        adapter = app.create_url_adapter(request)
    except HTTPException as error:
        return type(error)
    assert adapter is not None
    assert adapter.map is app.url_map
    return {name: value for name, value in vars(adapter).items() if name != "map"}, request.host


FLASK, LEAN = Flask(__name__), LeanFlask(__name__)


@given(_environs)
def test_routes_are_bound_as_flask_binds_them(chosen: dict[str, str | None]) -> None:
    environ = {**EnvironBuilder().get_environ(), **chosen}
    environ = {name: value for name, value in environ.items() if value is not None}
    expected = bound(FLASK, environ)
    for _ in range(2):  # the second time from memory
        assert bound(LEAN, environ) == expected


def test_many_hosts_are_not_remembered_for_ever() -> None:
    app = LeanFlask(__name__)
    app.add_url_rule("/", "index", lambda: "")
    client = app.test_client()
    for number in range(3 * PLACES):
        assert client.get("/", headers={"Host": f"host-{number}"}).status_code == 200
    assert len(app._places) <= PLACES


def test_the_session_is_empty_and_refuses_to_be_written() -> None:
    app = LeanFlask(__name__)

    @app.get("/read")
    def read() -> dict[str, Any]:
        return dict(session)

    @app.get("/write")
    def write() -> str:
        session["a"] = "b"
        return ""

    client = app.test_client()
    answer = client.get("/read")
    assert answer.json == {}
    assert "Set-Cookie" not in answer.headers
    app.testing = True
    with pytest.raises(RuntimeError, match="session is unavailable"):
        client.get("/write")


class View(MethodView):
    async def get(self) -> str:
        return "async method"


async def coroutine(*_: Any) -> str:
    await asyncio.sleep(0)
    return "coroutine"


def decorated(view: Callable[[], Awaitable[str]]) -> Callable[[], Awaitable[str]]:
    @functools.wraps(view)
    async def wrapper() -> str:
        return "decorated " + await view()

    return wrapper


@pytest.mark.parametrize("flask", [Flask, LeanFlask])
def test_coroutines_are_run_as_flask_runs_them(flask: type[Flask]) -> None:
    app = flask(__name__)
    called = []
    app.add_url_rule("/view", view_func=coroutine)
    app.add_url_rule("/decorated", "decorated", decorated(coroutine))
    app.add_url_rule("/partial", "partial", functools.partial(coroutine, 1))
    app.add_url_rule("/method", view_func=View.as_view("method"))

    @app.before_request
    async def before() -> None:
        called.append("before")

    @app.after_request
    async def after(response: Response) -> Response:
        called.append("after")
        return response

    @app.get("/closure")
    def closure() -> str:
        @after_this_request
        async def later(response: Response) -> Response:
            called.append("later")
            return response

        return "closure"

    @app.errorhandler(404)
    async def missing(_: Exception) -> tuple[str, int]:
        return "async handler", 404

    client = app.test_client()
    paths = ("/view", "/decorated", "/partial", "/method", "/closure", "/none")
    assert [client.get(path).text for path in paths] == [
        "coroutine",
        "decorated coroutine",
        "coroutine",
        "async method",
        "closure",
        "async handler",
    ]
    assert sorted(called) == ["after"] * 6 + ["before"] * 6 + ["later"]


@pytest.mark.parametrize("flask", [Flask, LeanFlask])
def test_coroutine_without_asgiref_is_flasks_own_error(
    flask: type[Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asgiref.sync", None)  # as if it were not installed
    app = flask(__name__)
    app.testing = True
    app.add_url_rule("/", view_func=coroutine)
    with pytest.raises(RuntimeError, match="'async' extra"):
        app.test_client().get("/")


def test_simple_function_is_not_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flask, "ensure_sync", None)
    view = bound
    assert LEAN.ensure_sync(view) is view
