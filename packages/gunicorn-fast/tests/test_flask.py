"""FastFlask behaves as Flask does. `make test-originals` runs Flask's own tests with it."""

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

from gunicorn_fast.flask import MAX_ADAPTERS, FastFlask

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
    """Return the attributes of the URL adapter and the request's host, or the error of a refusal."""
    request = app.request_class(copy.copy(environ))
    try:
        adapter = app.create_url_adapter(request)
    except HTTPException as error:
        return type(error)
    assert adapter is not None
    assert adapter.map is app.url_map
    return {name: value for name, value in vars(adapter).items() if name != "map"}, request.host


FLASK, FAST = Flask(__name__), FastFlask(__name__)


@given(_environs)
def test_url_adapter_equals_the_adapter_of_flask(chosen: dict[str, str | None]) -> None:
    environ = {**EnvironBuilder().get_environ(), **chosen}
    environ = {name: value for name, value in environ.items() if value is not None}
    expected = bound(FLASK, environ)
    for _ in range(2):  # the second time from the cache
        assert bound(FAST, environ) == expected


def test_adapters_of_many_hosts_are_bounded() -> None:
    app = FastFlask(__name__)
    app.add_url_rule("/", "index", lambda: "")
    client = app.test_client()
    for number in range(3 * MAX_ADAPTERS):
        assert client.get("/", headers={"Host": f"host-{number}"}).status_code == 200
    assert len(app._adapters) <= MAX_ADAPTERS


@pytest.mark.parametrize("flask", [Flask, FastFlask])
def test_session_without_a_secret_key_is_empty_and_read_only(flask: type[Flask]) -> None:
    app = flask(__name__)
    app.add_url_rule("/read", "read", lambda: dict(session))
    app.add_url_rule("/write", "write", lambda: session.update(a="b") or "")

    client = app.test_client()
    response = client.get("/read")
    assert response.json == {}
    assert "Set-Cookie" not in response.headers
    app.testing = True
    with pytest.raises(RuntimeError, match="session is unavailable"):
        client.get("/write")


def test_null_sessions_of_two_requests_share_nothing() -> None:
    app = FastFlask(__name__)
    found: list[Any] = []

    def view() -> str:
        found.append(session._get_current_object())  # type: ignore[attr-defined] # of the proxy
        return ""

    app.add_url_rule("/", "index", view)
    client = app.test_client()
    client.get("/")
    client.get("/")
    first, second = found
    assert first is not second


@pytest.mark.parametrize("flask", [Flask, FastFlask])
def test_session_with_a_secret_key_is_kept_in_a_cookie(flask: type[Flask]) -> None:
    app = flask(__name__)
    app.secret_key = "not secret"

    @app.get("/count")
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return str(session["count"])

    client = app.test_client()
    assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize("flask", [Flask, FastFlask])
def test_untrusted_host_is_refused_after_earlier_requests(flask: type[Flask]) -> None:
    app = flask(__name__)
    app.add_url_rule("/", "index", lambda: "")
    client = app.test_client()
    assert client.get("/", headers={"Host": "other"}).status_code == 200
    app.config["TRUSTED_HOSTS"] = ["mine"]
    assert client.get("/", headers={"Host": "other"}).status_code == 400
    assert client.get("/", headers={"Host": "mine"}).status_code == 200


@pytest.mark.parametrize("flask", [Flask, FastFlask])
def test_view_that_is_registered_after_a_request_is_served(flask: type[Flask]) -> None:
    app = flask(__name__)
    with app.test_request_context("/later"):
        app.create_url_adapter(app.request_class(EnvironBuilder("/later").get_environ()))
    app.add_url_rule("/later", "later", lambda: "here")
    assert app.test_client().get("/later").text == "here"


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


@pytest.mark.parametrize("flask", [Flask, FastFlask])
def test_coroutines_run_as_in_flask(flask: type[Flask]) -> None:
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

    class Hooks:
        async def before(self) -> None:
            called.append("method")

    app.before_request(Hooks().before)

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
    assert sorted(called) == ["after"] * 6 + ["before"] * 6 + ["later"] + ["method"] * 6


@pytest.mark.parametrize("flask", [Flask, FastFlask])
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
    assert FAST.ensure_sync(view) is view
