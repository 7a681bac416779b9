"""Takes a connection out of Gunicorn's hands, so that it outlives its request and holds no thread.

Gunicorn 27.0.1 has no way to give a connection up, in none of its worker classes. But each of them keeps it
as a file descriptor number, and what lies under a number can be changed: the connection gets a new number of
our own, and a stand-in is put under the old one. Gunicorn writes its answer to the stand-in, finds that the
peer has left, and closes it; the thread, the place in the poller and the count of connections are free.
No worker class needs to know, so all of them can do it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from flask import Response
from werkzeug.exceptions import NotImplemented as NotSupported
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wsgi import ClosingIterator

from app.errors import problem_response
from app.request_id import ENVIRON, HEADER
from gunicorn_drain import DETACH_KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STAND_IN_BYTES = 65536
"""More than the head that Gunicorn writes to the stand-in."""

WITHOUT_CONNECTION = "Long connections need Gunicorn and HTTP/1 without TLS; end both in front of it."
TOO_MANY_FILES = "This worker has no file descriptor left for a long connection."


class Taker(Protocol):
    """Who gets the connection."""

    def take(
        self, connection: socket.socket, early: bytes, status: str, headers: list[tuple[str, str]]
    ) -> None:
        """Own `connection` from now on and send the head. Called in the request's thread; must not wait.

        `early` is what the peer has sent after its request; `status` and `headers` are the answer's.
        """

    def refuse(self, why: str) -> None:
        """Count and log that the connection cannot be taken."""


class Handover(Response):
    """An answer whose connection goes to a taker instead of back to Gunicorn."""

    automatically_set_content_length = False  # the body has no end yet

    def __init__(self, taker: Taker, environ: WSGIEnvironment, **more: Any) -> None:
        """Raise NotSupported (501) where the connection cannot be taken."""
        super().__init__(**more)
        self._taker = taker
        client = environ.get("gunicorn.socket")
        if client is None or isinstance(client, ssl.SSLSocket) or environ.get("HTTP_VERSION") == "2":
            taker.refuse(WITHOUT_CONNECTION)
            raise NotSupported(WITHOUT_CONNECTION)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand over, and let Gunicorn answer the stand-in."""
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        _, status, headers = self.get_wsgi_response(environ)
        if (detach := environ.get(DETACH_KEY)) is not None:
            detach()  # its poller still has the connection, and would have it under the stand-in's number
        try:
            connection, discard = take_over(environ["gunicorn.socket"])
        except OSError as error:
            self._taker.refuse(f"{TOO_MANY_FILES} ({error})")
            refusal = problem_response(ServiceUnavailable(TOO_MANY_FILES, retry_after=1))
            return refusal(environ, start_response)  # type: ignore[operator,no-any-return] # a Response
        start_response(status, headers)
        early = environ["wsgi.input"].reader.unreader.take_buffered()
        if HEADER not in dict(headers):  # it is in the response that Gunicorn writes to the stand-in
            headers.append((HEADER, environ[ENVIRON]))
        self._taker.take(connection, early, status, headers)
        return ClosingIterator((), [discard, self.close])


def take_over(client: socket.socket) -> tuple[socket.socket, Callable[[], None]]:
    """Move the connection of `client` to a new socket, not blocking, and put a stand-in in its place.

    Returns the new socket, and what to call when the last was written to the stand-in. OSError where
    there are too many open files; `client` is then as it was.
    """
    stand_in, far_end = socket.socketpair()
    with stand_in:
        try:
            connection = socket.fromfd(client.fileno(), client.family, client.type)
        except OSError:
            far_end.close()
            raise
        connection.setblocking(False)
        os.dup2(stand_in.fileno(), client.fileno(), inheritable=False)

    def discard() -> None:
        # What is left unread would come back as a reset.
        far_end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            far_end.recv(STAND_IN_BYTES)
        far_end.close()

    return connection, discard
