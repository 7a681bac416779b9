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

    def parse(
        self, head: bytes, unreader: Any, peer: Any, number: int, odd: frozenset[str]
    ) -> Request | None:
        """Make the request that Gunicorn would make of `head`; None if it is not plain or not alone.

        `number` counts the connection's requests, `odd` are the peer's `odd_fields()`.
        """
        if len(head) > self._longest:
            return None
        text = head.decode("latin-1")
        match = _HEAD.fullmatch(text)
        if match is None:
            return None
        method, uri, path, query, minor, fields = match.groups()
        headers = [(name.upper(), value.strip(" \t")) for name, value in _FIELDS.findall(fields)]
        names = {name for name, _ in headers}
        if len(names) < len(headers) or len(headers) > self._fields or not names.isdisjoint(odd):
            return None
        request = Request.__new__(Request)
        vars(request).update(
            self._template,
            unreader=unreader,
            peer_addr=peer,
            remote_addr=peer,
            req_number=number,
            method=method,
            uri=uri,
            path=path,
            query=query or "",
            version=(1, 1) if minor == "1" else (1, 0),
            headers=headers,
            trailers=[],
            body=Body(LengthReader(unreader, 0)),
        )
        return request


class HeadParser(RequestParser):  # type: ignore[misc] # Gunicorn has no types
    """Gunicorn's parser, given each request's head by the event loop."""

    def __init__(self, plain: PlainHeads, *args: Any) -> None:
        super().__init__(*args)
        self._plain = plain
        self._odd = plain.odd_fields(self.source_addr)
        self.head = b""
        self.is_plain = False

    def __next__(self) -> Request:
        """Parse the next request."""
        head, self.head = self.head, b""
        request = self._plain.parse(head, self.unreader, self.source_addr, self.req_count + 1, self._odd)
        self.is_plain = request is not None
        if request is None:
            self.unreader.unread(head)
            return super().__next__()
        self.req_count += 1
        self.mesg = request
        return request


class PlainEnvironment:
    """Makes the response and the environ of a connection's plain requests as wsgi.create() makes them."""

    def __init__(self, cfg: Config, sock: Any, client: Any, server: Any) -> None:
        self._where = sock, client, server, cfg
        self._same: dict[str, Any] = {}

    def create(self, request: Request) -> tuple[Response, dict[str, Any]]:
        """Make both for a plain `request`."""
        sock, _, _, cfg = self._where
        if not self._same:
            response, environ = wsgi.create(request, *self._where, response_class=WholeResponse)
            if not environ["SCRIPT_NAME"] and isinstance(self._where[1], tuple):
                self._same = {name: environ[name] for name in _OF_THE_CONNECTION}
            return response, environ
        response = WholeResponse(request, sock, cfg)
        major, minor = request.version
        path = request.path
        environ = {
            **self._same,
            "wsgi.errors": wsgi.WSGIErrorsWrapper(cfg),  # anew: the log may have been reopened
            "wsgi.input": request.body,
            "wsgi.early_hints": wsgi._make_early_hints_callback(request, sock, response),
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query,
            "RAW_URI": request.uri,
            "SERVER_PROTOCOL": f"HTTP/{major}.{minor}",
            "PATH_INFO": util.unquote_to_wsgi_str(path) if "%" in path else path,
        }
        for name, value in request.headers:
            key = name.replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value
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
