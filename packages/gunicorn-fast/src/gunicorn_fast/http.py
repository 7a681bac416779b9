"""Fast path for simple requests and responses; everything else falls back to Gunicorn's parser.

Simple is a GET or HEAD with few and well-formed headers, without a body and without any header that changes
how a request is read. tests/test_http.py compares both paths.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import HeaderPolicy, Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import Response

# No "//" at the start of the target and no fragment, which Gunicorn handles separately; no underscore in a
# name, to which header_map applies. Possessive, so that nothing is tried twice.
_NAME, _VALUE = r"[!#$%&'*+\-.^`|~0-9A-Za-z]++", r"[^\x00-\x08\x0a-\x1f\x7f]*+"
_FIELDS = re.compile(rf"({_NAME}):({_VALUE})\r\n")
_HEADERS = re.compile(
    r"(GET|HEAD) ((/(?!/)[!\"$->@-~]*+)(?:\?([!\"$-~]*+))?+) HTTP/1\.([01])\r\n"
    rf"((?:{_NAME}:{_VALUE}\r\n)*+)\r\n"
)

_FRAMING = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"})

CHECKED_MAX = 256
"""Maximum number of cached response headers: clients may choose some of their values."""

CHECKED_SIZE = 1024
"""Maximum size of cached response headers, in bytes."""

_PER_CONNECTION = (
    *("wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.file_wrapper"),
    *("wsgi.input_terminated", "wsgi.url_scheme", "gunicorn.socket", "SERVER_SOFTWARE", "SCRIPT_NAME"),
    *("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT"),
)
"""Environ keys that have the same value for all simple requests of a connection."""


class FastParser:
    """Parser of simple request lines and headers, for one configuration."""

    def __init__(self, cfg: Config) -> None:
        simplest = Request(cfg, IterUnreader([b"GET / HTTP/1.1\r\n\r\n"]), ("127.0.0.1", 0))
        self._template = vars(simplest)
        limits = (simplest.limit_request_line, simplest.limit_request_field_size)
        self._longest = 0 if simplest._use_fast else min(limit for limit in (*limits, 8190) if limit > 0)
        self._fields = simplest.limit_request_fields
        self._cfg = cfg

    def slow_path_headers(self, peer: Any) -> frozenset[str]:
        """Return the headers that Gunicorn's parser has to read, including some of a trusted proxy."""
        policy = HeaderPolicy()
        policy.cfg, policy.peer_addr = self._cfg, peer
        secure_scheme_headers, _ = policy._peer_trusted_for_forwarded()
        return _FRAMING.union(secure_scheme_headers)

    def read(self, data: bytes, slow_path_headers: frozenset[str]) -> SimpleHeaders | None:
        """Parse `data` as Gunicorn would; return None unless it is one simple request without more data.

        `slow_path_headers`: those of the peer.
        """
        if len(data) > self._longest:
            return None
        text = data.decode("latin-1")
        match = _HEADERS.fullmatch(text)
        if match is None:
            return None
        headers = [(name.upper(), value.strip(" \t")) for name, value in _FIELDS.findall(match[6])]
        names = {name for name, _ in headers}
        if (
            len(names) < len(headers)
            or len(headers) > self._fields
            or not names.isdisjoint(slow_path_headers)
        ):
            return None
        return SimpleHeaders(match, headers, self._template)

    def request(self, simple: SimpleHeaders, unreader: Any, body: Body, peer: Any, number: int) -> Request:
        """Create the request that Gunicorn would create; `number` counts the connection's requests."""
        # A copied dictionary has its final size; one that is filled name by name grows several times.
        attributes = simple.of_request.copy()
        attributes["unreader"] = unreader
        attributes["peer_addr"] = attributes["remote_addr"] = peer
        attributes["req_number"] = number
        attributes["trailers"] = []
        attributes["headers"] = attributes["headers"][:]  # a separate list: a hook may change it
        attributes["body"] = body
        request = Request.__new__(Request)
        request.__dict__ = attributes
        return request


class SimpleHeaders:
    """A simple request line and headers, parsed: the same for each request that repeats them."""

    def __init__(
        self, match: re.Match[str], headers: list[tuple[str, str]], template: dict[str, Any]
    ) -> None:
        """Create the headers. `template`: attributes of any simple request."""
        method, uri, path, query, minor, _ = match.groups()
        self.of_request: dict[str, Any] = {
            **template,
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
        """Part of the environ."""
        for name, value in headers:
            key = name.replace("-", "_")
            self.of_environ[key if key == "CONTENT_TYPE" else "HTTP_" + key] = value


class ConnectionParser(RequestParser):
    """Gunicorn's parser, given each request's headers by the event loop."""

    def __init__(self, fast: FastParser, *args: Any) -> None:
        super().__init__(*args)
        self._fast = fast
        self._slow_path_headers = fast.slow_path_headers(self.source_addr)
        self.headers = b""
        # Nothing can be read from it, so nothing of it changes: one for all simple requests.
        self._no_body = Body(LengthReader(self.unreader, 0))
        self.last_simple = b""
        """Received bytes of the last request, if they were simple."""
        self.simple_headers: SimpleHeaders | None = None
        """Headers of the last request, if they were simple."""

    def __next__(self) -> Request:
        """Parse the next request."""
        headers, self.headers = self.headers, b""
        # A client that keeps its connection mostly repeats its headers.
        if headers != self.last_simple:
            self.simple_headers = self._fast.read(headers, self._slow_path_headers)
            # Others may have 64 KB of a body, which an idle connection must not hold.
            self.last_simple = b"" if self.simple_headers is None else headers
        if self.simple_headers is None:
            self.unreader.unread(headers)
            return super().__next__()
        self.req_count += 1
        self.mesg = self._fast.request(
            self.simple_headers, self.unreader, self._no_body, self.source_addr, self.req_count
        )
        return self.mesg


class LazyErrors(wsgi.WSGIErrorsWrapper):
    """Gunicorn's wsgi.errors for every request, which finds the log's streams only to write to them."""

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg

    def write(self, data: str) -> None:
        """Write to the log's streams, which may have been reopened since."""
        wsgi.WSGIErrorsWrapper(self._cfg).write(data)


class EnvironBuilder:
    """Builder of the response and the environ of a connection's simple requests, as in wsgi.create()."""

    def __init__(self, cfg: Config, sock: Any, client: Any, server: Any) -> None:
        self._where = sock, client, server, cfg
        self._same: dict[str, Any] = {}

    def create(self, request: Request, simple: SimpleHeaders) -> tuple[Response, dict[str, Any]]:
        """Create both for a `request` with `simple` headers."""
        sock, client, _, cfg = self._where
        if not self._same:
            response, environ = wsgi.create(request, *self._where, response_class=SingleWriteResponse)
            if not environ["SCRIPT_NAME"] and isinstance(client, tuple):
                self._same = {name: environ[name] for name in _PER_CONNECTION}
                self._same["wsgi.errors"] = LazyErrors(cfg)
            return response, environ
        response = SingleWriteResponse(request, sock, cfg)
        environ = {
            **self._same,
            **simple.of_environ,
            "wsgi.input": request.body,
            "wsgi.early_hints": response.send_early_hints,
        }
        return response, environ


class CheckedHeaders(NamedTuple):
    """A status and headers that Gunicorn has checked, and the result."""

    status_code: int | None
    headers: list[tuple[str, str]]
    lines: str
    response_length: int


class SingleWriteResponse(Response):
    """Gunicorn's response; headers and a complete body are sent with one system call."""

    _dated: tuple[int, str, dict[tuple[Any, ...], str]] = (0, "", {})
    """Current second, its date, and the first lines of the responses that were sent with this date."""
    _checked: ClassVar[dict[tuple[Any, ...], CheckedHeaders]] = {}
    _before, _total, _lines = 0, 0, ""
    """`_lines` has the headers from number `_before` on, if there are `_total`."""

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Set status and headers (Gunicorn checks each of them, for each response)."""
        key: tuple[Any, ...] = (status, *headers)
        try:
            checked = self._checked.get(key)
        except TypeError:  # a header that is a list
            return super().start_response(status, headers, exc_info)
        before = len(self.headers)
        if checked is None or exc_info is not None or self.status is not None or self.req.method == "HEAD":
            super().start_response(status, headers, exc_info)
            # After an error the response still has the length of the headers that the new ones replace.
            if checked is None and exc_info is None:
                self._remember(key, before)
        else:
            self.status = status
            self.status_code, added, self._lines, self.response_length = checked
            self.headers += added
            self._before, self._total = before, len(self.headers)
        return self.write

    def _remember(self, key: tuple[Any, ...], before: int) -> None:
        """Cache headers that Gunicorn has checked, if a body of known length follows."""
        if self._omits_body or self.upgrade or self.response_length is None:
            return
        added = self.headers[before:]
        lines = "".join([f"{name}: {value}\r\n" for name, value in added])
        if len(lines) > CHECKED_SIZE:
            return
        if len(self._checked) >= CHECKED_MAX:
            self._checked.clear()
        self._checked[key] = CheckedHeaders(self.status_code, added, lines, self.response_length)

    def default_headers(self) -> list[str]:
        """Return the status line and first headers (Gunicorn formats them for each response)."""
        if self.upgrade or self.chunked:
            return super().default_headers()
        return [self._first_lines()]

    def _first_lines(self) -> str:
        """Return the status line and first headers of a response that is not chunked."""
        now = int(time.time())
        # Read at once: another thread may replace all three in the next second.
        second, date, known = SingleWriteResponse._dated
        if second != now:
            date, known = util.http_date(now), {}
            SingleWriteResponse._dated = (now, date, known)
        connection = "close" if self.should_close() else "keep-alive"
        key = (self.status, self.req.version, self.version, connection)
        lines = known.get(key)
        if lines is None:
            major, minor = self.req.version
            lines = known[key] = (
                f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\nDate: {date}\r\n"
                f"Connection: {connection}\r\n"
            )
        return lines

    def send_early_hints(self, headers: list[tuple[str, str]]) -> None:
        """Send 103 Early Hints by Gunicorn's function, created only for an application that calls this."""
        wsgi._make_early_hints_callback(self.req, self.sock, self)(headers)

    def write(self, arg: bytes) -> None:
        """Send a body, or a part of it."""
        if (
            self.headers_sent
            or self._omits_body
            or self.upgrade
            or len(arg) != self.response_length
            or type(arg) is not bytes
        ):
            super().write(arg)
            return
        head = self._first_lines()
        added, checked = self.headers, ""
        if len(added) == self._total:
            added, checked = added[: self._before], self._lines
        for name, value in added:
            head += f"{name}: {value}\r\n"
        self.headers_sent = True
        self.sent = len(arg)
        self.sock.sendall(f"{head}{checked}\r\n".encode("latin-1") + arg)
