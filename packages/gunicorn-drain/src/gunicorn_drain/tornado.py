"""The drain in Gunicorn's tornado worker, which calls no hook of a request.

The worker passes its application to a tornado `HTTPServer`. A delegate in between counts requests, announces
closes and responds to the readiness probe, for WSGI applications and for `tornado.web.Application`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.ioloop import IOLoop
from tornado.web import Application
from tornado.wsgi import WSGIContainer

from gunicorn_drain.probes import Probe, ProbeMatcher

if TYPE_CHECKING:
    from gunicorn_drain.drain import Drain

POLL_WRITES = 0.02
"""Interval between two checks whether a response has been written, in seconds."""


def wrap_application(worker: Any, drain: Drain, readiness: str | None) -> None:
    """Wrap the application of a tornado worker; warn of WebSockets, which the drain does not protect."""
    if isinstance(worker.wsgi, Application):
        worker.log.warning(
            "gunicorn-drain: worker_class tornado closes WebSockets without notice when the drain is over"
        )
    worker.wsgi = DrainContainer(worker.wsgi, drain, readiness)


# The worker would wrap any other object; HTTPServer uses the interface of a connection's delegate.
class DrainContainer(WSGIContainer, HTTPServerConnectionDelegate):
    """An application of tornado's `HTTPServer` that drains."""

    def __init__(self, application: Any, drain: Drain, readiness: str | None = None) -> None:
        super().__init__(application)
        native = isinstance(application, Application | WSGIContainer)
        self._server = HTTPServer(application if native else WSGIContainer(application))
        self._drain = drain
        self._readiness = None if readiness is None else ProbeMatcher([Probe(readiness)])

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        """Return the delegate of one request (tornado's interface)."""
        message = _Message(self._drain, self._readiness, request_conn)
        # First the connection: the application's delegate may store its methods.
        delegate = self._server.start_request(server_conn, request_conn)
        message.application = delegate
        return message

    def on_close(self, server_conn: Any) -> None:
        """Do nothing: the worker's server keeps the list of connections (tornado's interface)."""


class _Message(HTTPMessageDelegate):
    """Delegate of one request and its response."""

    application: HTTPMessageDelegate

    def __init__(self, drain: Drain, readiness: ProbeMatcher | None, connection: Any) -> None:
        self._drain = drain
        self._readiness = readiness
        self._connection = connection
        self._headers = HTTPHeaders()
        self._counted = False
        self._responds = False
        self._is_head = False
        self._write_headers = connection.write_headers
        self._finish = connection.finish
        self._detach = connection.detach
        self._set_close_callback = connection.set_close_callback
        connection.write_headers = self._announce
        connection.finish = self._finish_response
        connection.detach = self._detach_connection
        connection.set_close_callback = self._end_at_close
        connection.set_close_callback(None)

    # ---- the request ---------------------------------------------------------------------------------------

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        with self._drain.worker.guarded("tornado request"):
            self._headers = headers
            self._begin(cast("RequestStartLine", start_line), headers)
        return None if self._responds else self.application.headers_received(start_line, headers)

    def _begin(self, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        scope = {
            "path": unquote(start_line.path.partition("?")[0]),
            "method": start_line.method,
            "headers": [(name.encode("latin-1"), b"") for name in headers],
        }
        self._is_head = start_line.method == "HEAD"
        self._responds = self._readiness is not None and self._readiness.matches_scope(scope)
        if not self._responds and not self._drain.probes.matches_scope(scope):
            self._drain.worker.count_in()
            self._counted = True

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._responds else self.application.data_received(chunk)

    def finish(self) -> None:
        if not self._responds:
            self.application.finish()
            return
        status, body = self._drain.readiness()
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        start_line = ResponseStartLine("HTTP/1.1", status.value, status.phrase)
        self._connection.write_headers(start_line, headers, b"" if self._is_head else body)
        self._connection.finish()

    def on_connection_close(self) -> None:
        self._end()
        if not self._responds:
            self.application.on_connection_close()

    def _end_at_close(self, callback: Callable[[], None] | None) -> None:
        """Replace the connection's set_close_callback(): a client that disconnects ends its request too."""

        def close() -> None:
            self._end()
            if callback is not None:
                callback()

        self._set_close_callback(close)

    # ---- the response --------------------------------------------------------------------------------------

    def _announce(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> Any:
        with self._drain.worker.guarded("tornado response"):
            if self._drain.terminating_since and start_line.code >= 200:
                headers["Connection"] = "close"
                if (
                    self._headers.get("Connection", "").lower() == "keep-alive"
                ):  # HTTP/1.0: tornado repeats it
                    self._headers["Connection"] = "close"
                self._connection._disconnect_on_finish = True
        return self._write_headers(start_line, headers, chunk)

    def _finish_response(self) -> None:
        stream = self._connection.stream
        self._finish()
        self._end_when_written(stream)

    def _end_when_written(self, stream: Any) -> None:
        if stream is not None and not stream.closed() and stream.writing():
            IOLoop.current().call_later(POLL_WRITES, partial(self._end_when_written, stream))
        else:
            self._end()

    def _detach_connection(self) -> Any:
        self._end()  # a WebSocket from here on, for which the drain does not wait
        return self._detach()

    def _end(self) -> None:
        with self._drain.worker.guarded("tornado response"):
            if self._counted:
                self._counted = False
                self._drain.worker.count_out()
