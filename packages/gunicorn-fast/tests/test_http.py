"""The fast path creates the same objects as Gunicorn's own code, to the last attribute."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.errors import InvalidHeader, InvalidHeaderName
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunicorn_fast.http import (
    CHECKED_MAX,
    ConnectionParser,
    EnvironBuilder,
    FastParser,
    LazyErrors,
    SingleWriteResponse,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TRUSTED, STRANGER = ("127.0.0.1", 4711), ("192.0.2.1", 4711)
SERVER = ("192.0.2.2", 8080)

HEADS = {
    "wrk": b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n",
    "curl": b"GET /api/sleep/1?x=%20&y=?/ HTTP/1.1\r\nHost: a:80\r\nUser-Agent: c\r\nAccept: */*\r\n\r\n",
    "browser": b"GET /%C3%A4/b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n"
    b"Accept-Language:de,en;q=0.5 \r\nX-Empty:\r\nX-Latin: \xe4\r\n\r\n",
    "old": b"HEAD / HTTP/1.0\r\nConnection: close\r\n\r\n",
    "no fields": b"GET / HTTP/1.1\r\n\r\n",
}

UNUSUAL = {
    "body": b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\n",
    "chunked": b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "expect": b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    "post": b"POST / HTTP/1.1\r\n\r\n",
    "twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "pipelined": b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "two slashes": b"GET //a HTTP/1.1\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\n\r\n",
    "absolute": b"GET http://a/ HTTP/1.1\r\n\r\n",
    "underscore": b"GET / HTTP/1.1\r\nA_B: c\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\r\nA: b\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    "null": b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    "leading empty line": b"\r\nGET / HTTP/1.1\r\n\r\n",
    "not all of it": b"GET / HTTP/1.1\r\nA: b\r\n",
    "long": b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
    "nothing": b"",
}

_names = st.sampled_from(
    [
        *(
            "Host",
            "host",
            "Accept",
            "Cookie",
            "Connection",
            "Content-Type",
            "content-length",
            "Content_Length",
        ),
        *("Transfer-Encoding", "Expect", "Upgrade", "X-Forwarded-Proto", "X-Forwarded-Ssl", "Script-Name"),
        *(
            "SCRIPT_NAME",
            "Proxy",
            "A",
            "a",
            "",
            "A B",
            "A ",
            " A",
            "Ä",
            "ß",
            "A:B",
            "#",
            "H\x00",
            "Trailer",
            "TE",
        ),
    ]
)
_values = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "a",
            " a\t",
            "close",
            "keep-alive",
            "Keep-Alive, x",
            "upgrade",
            "https",
            "on",
            "chunked",
            "0",
            "5",
        ]
    ),
    st.text(st.characters(max_codepoint=0xFF), max_size=8),
)
_fields = st.builds(
    "{}{}{}{}".format,
    _names,
    st.sampled_from([":", ": ", ":\t ", " :", ""]),
    _values,
    st.sampled_from(["\r\n"] * 9 + ["\n", "\r", ""]),
)
_targets = st.one_of(
    st.sampled_from(
        [
            "/",
            "/api",
            "//",
            "///a",
            "/a?b",
            "/a?b?c#d",
            "/#",
            "/?",
            "*",
            "a:80",
            "http://a/b",
            "/%2f%00%",
            "/;x",
            "/a b",
            "/[",
            "/é",
        ]
    ),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8).map("/".__add__),
    st.text(st.characters(max_codepoint=0xFF), max_size=8),
)
_methods = ["GET"] * 8 + [
    "HEAD",
    "HEAD",
    "POST",
    "OPTIONS",
    "CONNECT",
    "get",
    "GE",
    "GET ",
    "\r\nGET",
    "\nGET",
]
_versions = ["HTTP/1.1\r\n"] * 8 + [
    "HTTP/1.0\r\n",
    "HTTP/1.2\r\n",
    "HTTP/2.0\r\n",
    "HTTP/1.1\n",
    "http/1.1\r\n",
    "",
]
_ends = ["\r\n"] * 8 + ["\n", "", "\r\nGET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "\r\nx"]
_heads = st.builds(
    "{} {} {}{}{}".format,
    st.sampled_from(_methods),
    _targets,
    st.sampled_from(_versions),
    st.lists(_fields, max_size=5).map("".join),
    st.sampled_from(_ends),
).map(lambda head: head.encode("latin-1"))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return valid headers with changes in one or two places."""
    head = bytearray(draw(st.sampled_from(list(HEADS.values()))))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(head) - 1))
        head[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(head)


def configured(**values: Any) -> Config:
    cfg = Config()
    for name, value in values.items():
        cfg.set(name, value)
    return cfg


CONFIGURATIONS = {
    "defaults": configured(),
    "small limits": configured(limit_request_line=40, limit_request_fields=3, limit_request_field_size=20),
    "no limits": configured(limit_request_line=0, limit_request_fields=0, limit_request_field_size=0),
    "trusting": configured(
        forwarded_allow_ips="*", forwarder_headers="SCRIPT_NAME,A", header_map="dangerous"
    ),
}


def fast_path(cfg: Config, head: bytes, peer: Any = STRANGER) -> Request | None:
    parser = parser_of(cfg, peer)
    simple = parser._fast.read(head, parser._slow_path_headers)
    return (
        None if simple is None else parser._fast.request(simple, IterUnreader([]), parser._no_body, peer, 1)
    )


def parser_of(cfg: Config, peer: Any = STRANGER) -> ConnectionParser:
    return ConnectionParser(FastParser(cfg), cfg, [], peer)


def attributes(thing: Any) -> dict[str, Any]:
    """Return an object's attributes; for the objects among them, their types."""
    return {
        name: type(value) if name in ("unreader", "body", "req", "sock") else value
        for name, value in vars(thing).items()
        if name not in ("_before", "_total", "_lines")  # of SingleWriteResponse alone
    }


def comparable(environ: dict[str, Any]) -> dict[str, Any]:
    """Return the WSGI environ without objects that differ for each request; for the input, its type."""
    values = {name: type(value) if name == "wsgi.input" else value for name, value in environ.items()}
    assert isinstance(values.pop("wsgi.errors"), wsgi.WSGIErrorsWrapper)
    assert callable(values.pop("wsgi.early_hints"))
    return values


def assert_the_same(cfg: Config, head: bytes, peer: Any) -> None:
    parser = parser_of(cfg, peer)
    parser.headers = head
    if parser._fast.read(head, parser._slow_path_headers) is None:
        return  # Gunicorn's own code parses it
    ours = next(parser)
    assert parser.simple_headers is not None
    unreader = IterUnreader([head])
    theirs = Request(cfg, unreader, peer)  # raises if the parser refuses the request
    assert unreader.buf.getvalue() == b""
    assert attributes(ours) == attributes(theirs)
    assert ours.should_close() == theirs.should_close()
    for request in (ours, theirs):
        assert isinstance(request.body, Body)
        assert isinstance(request.body.reader, LengthReader)
        assert request.body.reader.length == 0
    with socket.socket() as sock:
        environment = EnvironBuilder(cfg, sock, peer, SERVER)
        environment.create(ours, parser.simple_headers)  # the connection's first request
        response, environ = environment.create(ours, parser.simple_headers)
        their_response, their_environ = wsgi.create(theirs, sock, peer, SERVER, cfg)
    assert comparable(environ) == comparable(their_environ)
    assert list(environ["wsgi.input"]) == []
    assert attributes(response) == attributes(their_response)


@given(
    st.sampled_from(list(CONFIGURATIONS)),
    st.one_of(_heads, mutated()),
    st.sampled_from([TRUSTED, STRANGER]),
)
@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@example("defaults", b"GET /a?b HTTP/1.1\r\nContent-Type: a\r\nA: b\r\n\r\n", TRUSTED)
def test_generated_headers_are_parsed_as_by_gunicorn(name: str, head: bytes, peer: Any) -> None:
    assert_the_same(CONFIGURATIONS[name], head, peer)


@pytest.mark.parametrize("name", HEADS)
def test_simple_headers_take_the_fast_path(name: str) -> None:
    assert fast_path(Config(), HEADS[name]) is not None
    assert_the_same(Config(), HEADS[name], STRANGER)


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_headers_take_gunicorns_path(name: str) -> None:
    assert fast_path(Config(), UNUSUAL[name]) is None


def test_scheme_of_a_trusted_proxy_takes_gunicorns_path_and_other_schemes_are_ignored() -> None:
    head = b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n"
    assert fast_path(Config(), head, TRUSTED) is None
    request = fast_path(Config(), head, STRANGER)
    assert request is not None
    assert request.scheme == "http"


def test_repeated_headers_create_an_equal_request() -> None:
    """Repeated headers cost less; changes of hooks and applications to the last request have no effect."""
    cfg = Config()
    parser = parser_of(cfg)
    said_first, said_next = HEADS["wrk"], HEADS["browser"]
    with socket.socket() as sock:
        environment = EnvironBuilder(cfg, sock, STRANGER, SERVER)
        for number, head in enumerate([said_first, said_first, said_next, said_first, said_first], 1):
            parser.headers = head
            request = next(parser)
            theirs = Request(cfg, IterUnreader([head]), STRANGER, number)
            assert attributes(request) == attributes(theirs)
            assert parser.simple_headers is not None
            response, environ = environment.create(request, parser.simple_headers)
            their_response, their_environ = wsgi.create(theirs, sock, STRANGER, SERVER, cfg)
            assert comparable(environ) == comparable(their_environ)
            assert attributes(response) == attributes(their_response)
            request.headers.append(("X-HOOK", "was here"))
            request.force_close()
            environ["PATH_INFO"] = "/elsewhere"
            environ.clear()


def test_unusual_headers_between_simple_headers_take_gunicorns_path() -> None:
    parser = parser_of(Config())
    for number, name in enumerate(["simple", "unusual", "unusual", "simple"], 1):
        parser.headers = HEADS["wrk"] if name == "simple" else UNUSUAL["upgrade"]
        request = next(parser)
        assert (parser.simple_headers is not None) == (name == "simple")
        assert request.req_number == number
        assert [each for each, _ in request.headers] == (["HOST"] if name == "simple" else ["UPGRADE"])


def test_errors_of_requests_are_written_to_the_present_log(capsys: pytest.CaptureFixture[str]) -> None:
    cfg = Config()
    errors = LazyErrors(cfg)
    log = logging.getLogger("gunicorn.error")
    reopened = io.StringIO()
    before = log.handlers
    log.handlers = [logging.StreamHandler(io.StringIO()), logging.StreamHandler(reopened)]
    try:
        errors.write("a ")
        errors.writelines(["line\n"])
    finally:
        log.handlers = before
    assert reopened.getvalue() == capsys.readouterr().err == "a line\n"


class Wire(socket.socket):
    """Closed socket that records each piece of sent data."""

    def __init__(self) -> None:
        super().__init__()
        self.close()
        self.pieces: list[bytes] = []

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        self.pieces.append(bytes(data))


_responses = st.tuples(
    st.sampled_from(
        ["200 OK", "204 No Content", "304 Not Modified", "404 Not Found", "101 Switching Protocols"]
    ),
    st.lists(
        st.sampled_from(
            [
                ("Content-Type", "a/b"),
                ("A", " b\t"),
                ("Connection", "upgrade"),
                ("Upgrade", "websocket"),
                ("Date", "x"),
            ]
        ),
        max_size=3,
    ),
    st.one_of(st.none(), st.integers(0, 6)),
    st.lists(st.binary(max_size=4), max_size=3),
)


@given(st.sampled_from(list(HEADS)), _responses)
@example("wrk", ("200 OK", [("Connection", "upgrade")], 2, [b"ab"]))
@pytest.mark.slow
@settings(max_examples=500, deadline=None)
def test_responses_have_the_same_bytes_on_the_wire(
    name: str, generated: tuple[str, list[tuple[str, str]], int | None, list[bytes]]
) -> None:
    status, headers, length, body = generated
    if length is not None:
        headers = [*headers, ("Content-Length", str(length))]
    logging.getLogger("gunicorn.http.wsgi").setLevel(logging.ERROR)  # Gunicorn warns of dropped bodies
    wires = []
    for kind in (
        wsgi.Response,
        SingleWriteResponse,
        SingleWriteResponse,
    ):  # the last finds its headers checked
        request = Request(CONFIGURATIONS["defaults"], IterUnreader([HEADS[name]]), STRANGER)
        wire = Wire()
        response = kind(request, wire, request.cfg)
        response.start_response(status, headers)
        for each in body:
            response.write(each)
        response.close()
        sent = b"".join(wire.pieces)
        wires.append(
            (
                b"\r\n".join(line for line in sent.split(b"\r\n") if not line.startswith(b"Date: ")),
                attributes(response),
            )
        )
    assert wires[0] == wires[1] == wires[2]


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([("A", "b\r\nc")], "A"),
        ([("A b", "c")], "A b"),
        ([("A", b"c")], "is not a string"),
        ([["A", "b\n"]], "A"),
    ],
)
def test_invalid_response_header_is_refused_each_time(headers: Any, error: str) -> None:
    for _ in range(3):
        request = Request(Config(), IterUnreader([HEADS["wrk"]]), STRANGER)
        with pytest.raises((TypeError, ValueError, InvalidHeaderName, InvalidHeader), match=error):
            SingleWriteResponse(request, Wire(), request.cfg).start_response("200 OK", headers)


def test_headers_that_are_added_around_checked_headers_are_sent() -> None:
    for number in range(3):
        wire = Wire()
        request = Request(Config(), IterUnreader([HEADS["wrk"]]), STRANGER)
        response = SingleWriteResponse(request, wire, request.cfg)
        response.headers.append(("X-Before", f"{number}"))
        response.start_response("200 OK", [("Content-Length", "2"), ("A", "b")])
        if number == 2:
            response.headers.append(("X-After", "c"))
        response.write(b"hi")
        lines = b"".join(wire.pieces).decode().split("\r\n")
        after = ["X-After: c"] if number == 2 else []
        assert lines[4:] == [f"X-Before: {number}", "Content-Length: 2", "A: b", *after, "", "hi"]


def test_headers_after_an_error_are_not_cached_with_the_length_of_the_first_ones() -> None:
    after = [("X-After", "an error")]
    for first in ([("Content-Length", "2")], after):
        request = Request(Config(), IterUnreader([HEADS["wrk"]]), STRANGER)
        response = SingleWriteResponse(request, Wire(), request.cfg)
        response.start_response("200 OK", first)
        if first is not after:
            error = ValueError("while the response was created")
            response.start_response("200 OK", after, (ValueError, error, None))
    assert (response.response_length, response.chunked) == (None, True)


def test_number_of_cached_response_headers_is_bounded() -> None:
    for number in range(2 * CHECKED_MAX + 10):
        request = Request(Config(), IterUnreader([HEADS["wrk"]]), STRANGER)
        headers = [("Content-Length", "2"), ("Set-Cookie", f"a={number}")]
        SingleWriteResponse(request, Wire(), request.cfg).start_response("200 OK", headers)
    assert len(SingleWriteResponse._checked) <= CHECKED_MAX


@pytest.mark.parametrize("name", ["wrk", "old"])
def test_early_hints_are_those_of_gunicorn(name: str) -> None:
    cfg = Config()
    sent = []
    for fast in (True, False):
        wire, parser = Wire(), parser_of(cfg)
        environment = EnvironBuilder(cfg, wire, STRANGER, SERVER)
        for _ in range(2):  # the first environ of a connection is Gunicorn's
            parser.headers = HEADS[name]
            request = next(parser)
            assert parser.simple_headers is not None
            if fast:
                response, environ = environment.create(request, parser.simple_headers)
            else:
                response, environ = wsgi.create(request, wire, STRANGER, SERVER, cfg)
            environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload"), (b"A", b"b")])
            with pytest.raises(InvalidHeaderName) if name == "wrk" else contextlib.nullcontext():
                environ["wsgi.early_hints"]([("A b", "c")])
            response.start_response("200 OK", [("Content-Length", "2")])
            response.write(b"hi")
            environ["wsgi.early_hints"]([("Link", "too late")])
        sent.append([piece for piece in wire.pieces if b" 103 " in piece])
    assert sent[0] == sent[1]
    assert len(sent[0]) == (2 if name == "wrk" else 0)


def test_cached_first_lines_are_those_of_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for second, close, status, head in (
        (1, False, "200 OK", "wrk"),
        (1, True, "200 OK", "wrk"),
        (1, False, "200 Fine", "wrk"),
        (1, False, "200 OK", "old"),
        (1, False, "200 OK", "wrk"),
        (2, False, "200 OK", "wrk"),
    ):
        monkeypatch.setattr("gunicorn_fast.http.time.time", lambda now=second: now)
        request = Request(Config(), IterUnreader([HEADS[head]]), STRANGER)
        response = SingleWriteResponse(request, Wire(), request.cfg)
        response.start_response(status, [("Content-Length", "2")])
        if close:
            response.force_close()
        seen.append("".join(response.default_headers()).splitlines())
    server, dates = "Server: gunicorn", [f"Date: Thu, 01 Jan 1970 00:00:0{second} GMT" for second in (1, 2)]
    first = ["HTTP/1.1 200 OK", server, dates[0], "Connection: keep-alive"]
    assert seen == [
        first,
        [*first[:3], "Connection: close"],
        ["HTTP/1.1 200 Fine", *first[1:]],
        ["HTTP/1.0 200 OK", *first[1:3], "Connection: close"],
        first,
        ["HTTP/1.1 200 OK", server, dates[1], "Connection: keep-alive"],
    ]


def test_complete_response_is_sent_with_one_call() -> None:
    wire = Wire()
    request = Request(Config(), IterUnreader([HEADS["wrk"]]), STRANGER)
    response = SingleWriteResponse(request, wire, request.cfg)
    response.start_response("200 OK", [("Content-Length", "5")])
    response.write(b"hello")
    response.close()
    assert len(wire.pieces) == 1
