"""A short way for plain requests and answers; whatever is odd in any way takes Gunicorn's own.

Plain is a GET or HEAD with a short head of ordinary lines, without a body and without any field that
changes how a request is read. tests/unit/test_leader_http.py holds both ways against each other.
"""

from __future__ import annotations

import re
import time
from typing import Any

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import HeaderPolicy, Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import Response

# No "//" at the start of the target and no fragment, which Gunicorn treats apart; no underscore in a name,
# which header_map is about. Possessive, so that nothing is tried twice.
_NAME, _VALUE = r"[!#$%&'*+\-.^`|~0-9A-Za-z]++", r"[^\x00-\x08\x0a-\x1f\x7f]*+"
_FIELDS = re.compile(rf"({_NAME}):({_VALUE})\r\n")
_HEAD = re.compile(
    r"(GET|HEAD) ((/(?!/)[!\"$->@-~]*+)(?:\?([!\"$-~]*+))?+) HTTP/1\.([01])\r\n"
    rf"((?:{_NAME}:{_VALUE}\r\n)*+)\r\n"
)

_FRAMING = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"})

_OF_THE_CONNECTION = (
    *("wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.file_wrapper"),
    *("wsgi.input_terminated", "wsgi.url_scheme", "gunicorn.socket", "SERVER_SOFTWARE", "SCRIPT_NAME"),
    *("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT"),
)
"""What stays the same in the environ of a connection's plain requests."""


class PlainHeads:
    """Reads plain heads of one configuration."""

    def __init__(self, cfg: Config) -> None:
        plainest = Request(cfg, IterUnreader([b"GET / HTTP/1.1\r\n\r\n"]), ("127.0.0.1", 0))
        self._template = vars(plainest)
        limits = (plainest.limit_request_line, plainest.limit_request_field_size)
        self._longest = 0 if plainest._use_fast else min(limit for limit in (*limits, 8190) if limit > 0)
        self._fields = plainest.limit_request_fields
        self._cfg = cfg

    def odd_fields(self, peer: Any) -> frozenset[str]:
        """Name the fields with which a request of `peer` is not plain: a trusted proxy's are some of them."""
        policy = HeaderPolicy()
        policy.cfg, policy.peer_addr = self._cfg, peer
        secure_scheme_headers, _ = policy._peer_trusted_for_forwarded()
        return _FRAMING.union(secure_scheme_headers)

    def read(self, head: bytes, odd: frozenset[str]) -> PlainHead | None:
        """Read `head` as Gunicorn would; None if it is not plain or not alone.

        `odd` are the peer's `odd_fields()`.
        """
        if len(head) > self._longest:
            return None
        text = head.decode("latin-1")
        match = _HEAD.fullmatch(text)
        if match is None:
            return None
        headers = [(name.upper(), value.strip(" \t")) for name, value in _FIELDS.findall(match[6])]
        names = {name for name, _ in headers}
        if len(names) < len(headers) or len(headers) > self._fields or not names.isdisjoint(odd):
            return None
        return PlainHead(match, headers)

    def request(self, head: PlainHead, unreader: Any, peer: Any, number: int) -> Request:
        """Make the request that Gunicorn would make of `head`. `number` counts the connection's requests."""
        request = Request.__new__(Request)
        vars(request).update(
            self._template,
            unreader=unreader,
            peer_addr=peer,
            remote_addr=peer,
            req_number=number,
            trailers=[],
            body=Body(LengthReader(unreader, 0)),
            **head.of_request,
        )
        # A list of its own: a hook may change it.
        request.headers = request.headers[:]
        return request


class PlainHead:
    """What a plain head says, wherever and however often it comes."""

    def __init__(self, match: re.Match[str], headers: list[tuple[str, str]]) -> None:
        method, uri, path, query, minor, _ = match.groups()
        self.of_request: dict[str, Any] = {
            "method": method,
            "uri": uri,
            "path": path,
            "query": query or "",
            "version": (1, int(minor)),
            "headers": headers,
        }
        """Attributes of the request."""
        self.of_environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "QUERY_STRING": query or "",
            "RAW_URI": uri,
            "SERVER_PROTOCOL": f"HTTP/1.{minor}",
            "PATH_INFO": util.unquote_to_wsgi_str(path) if "%" in path else path,
        }
        """Its part of the environ."""
        for name, value in headers:
            key = name.replace("-", "_")
            self.of_environ[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value


class HeadParser(RequestParser):  # type: ignore[misc] # Gunicorn has no types
    """Gunicorn's parser, given each request's head by the event loop."""

    def __init__(self, plain: PlainHeads, *args: Any) -> None:
        super().__init__(*args)
        self._plain = plain
        self._odd = plain.odd_fields(self.source_addr)
        self.head = b""
        self._last = b""
        self.plain_head: PlainHead | None = None
        """The head of the last request, if it was plain."""

    def __next__(self) -> Request:
        """Parse the next request."""
        head, self.head = self.head, b""
        # A client that keeps its connection mostly says the same again.
        if head != self._last:
            self._last, self.plain_head = head, self._plain.read(head, self._odd)
        if self.plain_head is None:
            self.unreader.unread(head)
            return super().__next__()
        self.req_count += 1
        self.mesg = self._plain.request(self.plain_head, self.unreader, self.source_addr, self.req_count)
        return self.mesg


class LateErrors(wsgi.WSGIErrorsWrapper):  # type: ignore[misc] # Gunicorn has no types
    """Gunicorn's wsgi.errors for every request: looks where the log goes when there is something to write."""

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg

    def write(self, data: str) -> None:
        """Write to the log's streams, which may have been reopened since."""
        wsgi.WSGIErrorsWrapper(self._cfg).write(data)


class PlainEnvironment:
    """Makes the response and the environ of a connection's plain requests as wsgi.create() makes them."""

    def __init__(self, cfg: Config, sock: Any, client: Any, server: Any) -> None:
        self._where = sock, client, server, cfg
        self._same: dict[str, Any] = {}

    def create(self, request: Request, head: PlainHead) -> tuple[Response, dict[str, Any]]:
        """Make both for a plain `request` and its `head`."""
        sock, client, _, cfg = self._where
        if not self._same:
            response, environ = wsgi.create(request, *self._where, response_class=WholeResponse)
            if not environ["SCRIPT_NAME"] and isinstance(client, tuple):
                self._same = {name: environ[name] for name in _OF_THE_CONNECTION}
                self._same["wsgi.errors"] = LateErrors(cfg)
            return response, environ
        response = WholeResponse(request, sock, cfg)
        environ = {
            **self._same,
            **head.of_environ,
            "wsgi.input": request.body,
            "wsgi.early_hints": wsgi._make_early_hints_callback(request, sock, response),
        }
        return response, environ


class WholeResponse(Response):  # type: ignore[misc] # Gunicorn has no types
    """Gunicorn's response; one whose body comes whole goes out in one piece."""

    headers_sent: bool
    _date = (0, "")

    def default_headers(self) -> list[str]:
        """Make the head's first lines (Gunicorn formats the date anew for each)."""
        if self.upgrade or self.chunked:
            headers: list[str] = super().default_headers()
            return headers
        now = int(time.time())
        second, date = WholeResponse._date
        if second != now:
            date = util.http_date(now)
            WholeResponse._date = (now, date)
        major, minor = self.req.version
        return [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\nDate: {date}\r\n"
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n"
        ]

    def write(self, arg: bytes) -> None:
        """Send a body, or a part of it."""
        if (
            self.headers_sent
            or self._omits_body
            or len(arg) != self.response_length
            or type(arg) is not bytes
        ):
            super().write(arg)
            return
        lines = self.default_headers()
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        self.headers_sent = True
        self.sent = len(arg)
        util.write(self.sock, b"%b\r\n%b" % ("".join(lines).encode("latin-1"), arg))
