"""Hostile input to every route, method and parameter: never a 500, and every error a problem document."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from dataclasses import dataclass

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app import create_app
from app.settings import Settings
from gunicorn_drain import Drain

CASES = 1000
METHODS = (
    *["GET"] * 6,
    *("HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "G\u00c4T"),
)

NASTY = st.sampled_from(
    [
        *(
            "../" * 8 + "etc/passwd",
            "%2e%2e%2f" * 8,
            "%00",
            "\x00",
            "..;/",
            "//",
            "/./",
            "%",
            "%zz",
            "%c0%af",
        ),
        *("<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "' OR 1=1 --", "$(id)", "|id", "`id`"),
        *("1e400", "-0", "nan", "inf", "9" * 400, "0" * 400 + ".1", "0x10", "1_0", "\u0663", "\uff11", "1,5"),
        *("\r\nSet-Cookie: a=b", "\n", "\u2028", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
    ]
)
TEXT = st.one_of(NASTY, st.text(max_size=60), st.text(string.printable, max_size=200))
NAMES = (
    *("Accept", "Accept-Encoding", "Content-Type", "Content-Length", "Cookie", "Host", "Range", "Expect"),
    *("If-None-Match", "If-Modified-Since", "X-Custom-Header", "X-Forwarded-For", "X-Forwarded-Proto"),
    *("Transfer-Encoding", "Upgrade", "Connection", "Authorization", "Origin", "Referer", "Date", "X-A"),
)
VALUES = st.one_of(NASTY, st.text(max_size=60)).map(lambda text: re.sub("[\r\n]", " ", text))


@dataclass(frozen=True)
class Request:
    """Request of a client, each field of which is chosen independently of the others."""

    part: str
    """Value of a route's parameter."""
    method: str
    query: str
    headers: dict[str, str]
    body: bytes


LASTING = ("/api/events", "/api/ws")

REQUESTS = st.builds(
    Request,
    part=TEXT,
    method=st.sampled_from(METHODS),
    query=TEXT,
    headers=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
    body=st.binary(max_size=200),
)


@pytest.fixture(scope="module")
def hostile_app() -> Flask:
    drain = Drain()
    drain.mark_ready()
    return create_app(Settings(sleep_limit=0.01), drain)


def raw(text: str) -> str:
    """Return text as WSGI passes it: its bytes decoded as latin-1."""
    return text.encode("utf-8", "replace").decode("latin-1")


def call(app: Flask, request: Request, path: str) -> tuple[int, dict[str, str], bytes]:
    """Call the WSGI application as a server does; return status, headers and, if it ends, the body."""
    headers = [(name, raw(value)) for name, value in request.headers.items()]
    environ = EnvironBuilder(
        query_string=raw(request.query), headers=headers, data=request.body
    ).get_environ()
    environ |= {"PATH_INFO": raw(path), "REQUEST_METHOD": request.method}
    body, status, headers_out = run_wsgi_app(app, environ)
    found = {name.lower(): value for name, value in headers_out}
    text = b"".join(body) if "content-length" in found else b""  # not a stream
    getattr(body, "close", lambda: None)()
    return int(status.split()[0]), found, text


@pytest.mark.long
@pytest.mark.slow
def test_hostile_input_gets_our_own_responses_only(hostile_app: Flask) -> None:
    rules = sorted({rule.rule for rule in hostile_app.url_map.iter_rules()})
    seen: Counter[int] = Counter()
    covered: Counter[str] = Counter()

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,  # the same cases in every run
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from([*rules, "<any>"]), REQUESTS)
    def ask(rule: str, request: Request) -> None:
        path = re.sub("<[^>]*>", lambda _: request.part, rule)
        if not path.startswith("/"):
            path = "/" + path
        status, headers, text = call(hostile_app, request, path)
        seen[status] += 1
        covered[rule] += 1
        # A long-lived connection needs a server to detach it from; tests/process has a server.
        assert status < 500 or (status == 501 and rule in LASTING), (path, request, text)
        assert not any("\r" in value or "\n" in value for value in headers.values()), headers
        if status >= 400 and request.method != "HEAD":
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(text)["status"] == status
            assert b"Traceback" not in text

    ask()
    print(f"{seen.total()} requests, {len(covered)} routes, by status {dict(sorted(seen.items()))}")
    assert seen.total() >= CASES
    assert set(covered) == {*rules, "<any>"}
    assert {200, 400, 404, 405} <= set(seen)
