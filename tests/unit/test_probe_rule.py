"""The rule for probes, in its parsed and its raw form, compared with Flask's routing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ConfigurationProblem, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from app import create_app
from app.settings import PROBES, VERSION_PROBE_HEADER, Settings
from gunicorn_drain import Drain
from gunicorn_drain.probes import Probe, ProbeMatcher

MATCHER = ProbeMatcher(PROBES)
ENDPOINTS = {"probes.health", "probes.ready", "probes.version", "metrics"}
TRUSTED, UNTRUSTED = ("127.0.0.1", 1), ("192.0.2.1", 1)


@contextmanager
def script_name(prefix: str) -> Iterator[None]:
    before = os.environ.get("SCRIPT_NAME")
    os.environ["SCRIPT_NAME"] = prefix
    try:
        yield
    finally:
        del os.environ["SCRIPT_NAME"]
        if before is not None:
            os.environ["SCRIPT_NAME"] = before


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("line", "headers", "probe"),
    [
        ("GET /health HTTP/1.1", (), True),
        ("HEAD /health/ready HTTP/1.0", (), True),
        ("\r\nGET /health HTTP/1.1", (), True),
        ("GET /metrics?name[]=a HTTP/1.1", (), True),
        ("GET /health#here HTTP/1.1", (), True),
        ("GET /health/ HTTP/1.1", (), True),
        ("GET //health HTTP/1.1", (), True),
        ("GET /h%65alth HTTP/1.1", (), True),
        ("GET /health%2Fready HTTP/1.1", (), True),
        ("GET http://a/health HTTP/1.1", (), True),
        ("GET /health// HTTP/1.1", (), False),
        ("GET /health%3F HTTP/1.1", (), False),
        ("GET /api?/health HTTP/1.1", (), False),
        ("GET /api/nowater/version HTTP/1.1", ("Host: a",), False),
        ("GET /api/nowater/version HTTP/1.1", ("Host: a", "x-custom-header:"), True),
        ("GET /api/nowater/version HTTP/1.1", ("A: X-Custom-Header: 1",), False),
        ("GET /api HTTP/1.1", (), False),
        ("GET /healthy HTTP/1.1", (), False),
        ("GET /a/health HTTP/1.1", (), False),
        ("POST /health HTTP/1.1", (), False),
        ("OPTIONS /health HTTP/1.1", (), False),
        ("get /health HTTP/1.1", (), False),
        ("GET /health HTTP/3.0", (), False),
        ("GET /health HTTP/1.1", ("SCRIPT_NAME: /health",), False),
    ],
)
def test_probe_is_recognized_in_the_received_bytes(line: str, headers: tuple[str, ...], probe: bool) -> None:
    assert MATCHER.matches_head(head(line, *headers), Config(), TRUSTED) is probe


@pytest.mark.parametrize("header", ["", "X Probe", "X-Probe:", 7])
def test_wrong_header_of_a_probe_is_named(header: Any) -> None:
    with pytest.raises(ValueError, match=f"header is {header!r}; allowed is the name of a header"):
        Probe("/version", header=header)


@pytest.mark.parametrize(
    ("prefix", "path", "probe"),
    [
        ("/flask", "/flask/health", True),
        ("/flask", "/flask//health/", True),
        ("/flask", "/health", False),
        ("/flask", "/flaskhealth", True),  # Gunicorn and Flask route this path so
        ("/flask/", "/flask/health", True),
        ("/flask/", "/flask", False),
        ("/flask", "/flask/flask/health", False),
        ("/a%20b", "/a%20b/metrics", True),
        ("/a%20b", "/a b/metrics", False),
    ],
)
def test_probe_is_recognized_under_a_path_prefix(prefix: str, path: str, probe: bool) -> None:
    with script_name(prefix):
        assert MATCHER.matches_head(head(f"GET {path} HTTP/1.1"), Config(), UNTRUSTED) is probe


@pytest.mark.parametrize(
    ("peer", "path", "probe"),
    [
        (TRUSTED, "/flask/health", True),
        (TRUSTED, "/health", False),  # Gunicorn refuses the path
        (UNTRUSTED, "/flask/health", False),  # Gunicorn refuses the header
    ],
)
def test_prefix_in_a_header_counts_from_trusted_proxies_only(peer: Any, path: str, probe: bool) -> None:
    received = head(f"GET {path} HTTP/1.1", "SCRIPT_NAME: /flask")
    assert MATCHER.matches_head(received, Config(), peer) is probe


def test_matcher_without_probes_matches_nothing() -> None:
    assert not ProbeMatcher(()).matches_head(head("GET /health HTTP/1.1"), Config(), TRUSTED)


def test_path_with_two_probes_matches_by_either_header() -> None:
    matcher = ProbeMatcher([Probe("/", header="X-One"), Probe("/", header="X-Two")])
    received = [head("GET / HTTP/1.1", *headers) for headers in ((), ("x-one: 1",), ("X-TWO: 1",))]
    assert [matcher.matches_head(each, Config(), TRUSTED) for each in received] == [False, True, True]


def test_unfinished_headers_are_no_probe() -> None:
    whole = head("GET /health HTTP/1.1", "Host: a")
    assert not any(MATCHER.matches_head(whole[:length], Config(), TRUSTED) for length in range(len(whole)))


@pytest.fixture(scope="module")
def routes() -> Flask:
    return create_app(Settings(), Drain())


def routed_to_a_probe(app: Flask, request: Request, cfg: Config, peer: Any) -> bool:
    """Return True if Flask routes Gunicorn's environ of `request` to a probe; OPTIONS is Flask's own."""
    if request.method == "OPTIONS":
        return False
    try:
        with socket.socket() as sock:
            _, environ = wsgi.create(request, sock, peer, ("127.0.0.1", 80), cfg)
    except ConfigurationProblem:
        return False
    # Without a request context: an invalid host or query string does not affect the routing.
    adapter = app.url_map.bind("a", path_info=environ["PATH_INFO"].encode("latin-1").decode(errors="replace"))
    try:
        endpoint, _ = adapter.match(method=environ["REQUEST_METHOD"])
    except (HTTPException, RequestRedirect):
        return False
    return endpoint in ENDPOINTS and (
        endpoint != "probes.version" or "HTTP_" + VERSION_PROBE_HEADER.upper().replace("-", "_") in environ
    )


def encoded(path: str, which: list[bool]) -> str:
    """Percent-encode the characters of `path` that `which` selects."""
    return "".join(
        f"%{ord(each):02x}" if hit else each
        for each, hit in zip(path, [*which, *[False] * len(path)], strict=False)
    )


prefixes = st.sampled_from(["", "/flask", "/flask/", "/a/b"])
paths = st.one_of(
    st.sampled_from([probe.path for probe in PROBES]),
    st.sampled_from(["/", "", "/api", "/healthy", "/health/ready/x", "/api/nowater", "/api/sleep/health"]),
    st.text(st.sampled_from("/health.%26;"), max_size=12),
)
targets = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", "", "http://a", "http://a:80", "x://", "/", "//"]),
        prefixes,
        st.sampled_from(["", "", "", "/", "//"]),
        st.builds(encoded, paths, st.lists(st.booleans(), max_size=20)),
        st.sampled_from(["", "", "/", "//", ";a", "%"]),
        st.sampled_from(["", "?", "?a=/health", "#b", "?a#/b"]),
    ),
)
lines = st.builds(
    "{}{} {} HTTP/{}".format,
    st.sampled_from(["", "", "\r\n", "\r\n\r\n", "\n", " "]),
    st.sampled_from(["GET", "GET", "HEAD", "POST", "OPTIONS", "get", "Head", "GETT", "CONNECT"]),
    targets,
    st.sampled_from(["1.1", "1.1", "1.0", "2.0", "1.9"]),
)
headers = st.lists(
    st.sampled_from(
        [
            *("Host: a", "Host: b", "X-Custom-Header: Awesome", "x-custom-header:", "X-Custom-Header : a"),
            *("SCRIPT_NAME: /flask", "script_name: /a/b", "SCRIPT-NAME: /flask", "Content-Length: 3"),
            *("X-Forwarded-Proto: https", "X-Forwarded-Proto: http", "Expect: other", " folded", "no colon"),
        ]
    ),
    max_size=4,
)
configurations = st.fixed_dictionaries(
    {
        "casefold_http_method": st.booleans(),
        "permit_unconventional_http_method": st.booleans(),
        "header_map": st.sampled_from(["drop", "refuse", "dangerous"]),
        "strip_header_spaces": st.booleans(),
        "permit_obsolete_folding": st.booleans(),
    }
)


# No deadline: a busy machine is no failure.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    line=lines,
    headers=headers,
    prefix=prefixes,
    configuration=configurations,
    peer=st.sampled_from([TRUSTED, UNTRUSTED, ""]),
)
def test_both_forms_of_the_rule_agree_with_the_routing(
    *, routes: Flask, line: str, headers: list[str], prefix: str, configuration: dict[str, Any], peer: Any
) -> None:
    cfg = Config()
    for name, value in configuration.items():
        cfg.set(name, value)
    received = head(line, *headers)
    with script_name(prefix):
        try:
            request = Request(cfg, IterUnreader([received]), peer)
        except (ParseException, OSError, StopIteration):
            assert not MATCHER.matches_head(received, cfg, peer)
            return
        expected = routed_to_a_probe(routes, request, cfg, peer)
        assert MATCHER.matches(request) is expected
        assert MATCHER.matches_head(received, cfg, peer) is expected
