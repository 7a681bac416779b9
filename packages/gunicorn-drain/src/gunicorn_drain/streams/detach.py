"""Detaches a connection from its request, so that it outlives the response and holds no thread.

Gunicorn 27.0.1 has no way to give a connection up, in none of its worker classes. But each of them keeps it
as a file descriptor number, and what a number refers to can be changed: the connection gets a new number of
ours, and a placeholder is put under the old one. Gunicorn writes its response to the placeholder, finds that
the peer has closed, and closes it; the thread, the place in the poller and the count of connections are
free. No worker class needs to be changed, so all of them can do it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn.http.wsgi import Response

from gunicorn_drain.wsgi import DETACH_KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PLACEHOLDER_BYTES = 65536
"""More than the headers that Gunicorn writes to the placeholder."""

WITHOUT_CONNECTION = "Long connections need Gunicorn and HTTP/1 without TLS; end both in front of it."
TOO_MANY_FILES = "This worker has no file descriptor left for a long connection."


class StreamRefusedError(Exception):
    """A sentence about a connection that is not detached, and the status to respond with."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ConnectionOwner(Protocol):
    """Object that gets a detached connection."""

    def admit(self) -> None:
        """Raise StreamRefusedError, counted and logged, where there is no room for one more."""

    def take(
        self, connection: socket.socket, early: bytes, status: str, headers: list[tuple[str, str]]
    ) -> None:
        """Own `connection` from now on and send the headers. Called in the request's thread; must not wait.

        `early` is what the client has sent after its request; `status` and `headers` are the response's.
        """

    def refuse(self, reason: str) -> None:
        """Count and log that the connection cannot be detached."""


def check(environ: WSGIEnvironment, owner: ConnectionOwner) -> None:
    """Raise StreamRefusedError, 501 or 503, where the connection of a request cannot be detached."""
    client = environ.get("gunicorn.socket")
    if client is None or isinstance(client, ssl.SSLSocket) or environ.get("HTTP_VERSION") == "2":
        owner.refuse(WITHOUT_CONNECTION)
        raise StreamRefusedError(HTTPStatus.NOT_IMPLEMENTED, WITHOUT_CONNECTION)
    owner.admit()


def detach(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    owner: ConnectionOwner,
    status: str,
    headers: list[tuple[str, str]],
) -> Callable[[], None]:
    """Give the connection of a request to `owner`; return what to call when the response is closed.

    Call it instead of `start_response`, which Gunicorn's response to the placeholder needs as well.
    StreamRefusedError where there are too many open files; the connection is then as it was.
    """
    if (stop_polling := environ.get(DETACH_KEY)) is not None:
        stop_polling()  # the worker's poller would have it under the placeholder's number
    try:
        connection, discard = replace(environ["gunicorn.socket"])
    except OSError as error:
        owner.refuse(f"{TOO_MANY_FILES} ({error})")
        raise StreamRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_FILES) from None
    start_response(status, headers)
    # With what middleware has added, to the list or to Gunicorn's own response.
    response: Any = getattr(start_response, "__self__", None)
    if isinstance(response, Response):
        headers = list(response.headers)
    owner.take(connection, environ["wsgi.input"].reader.unreader.take_buffered(), status, headers)
    return discard


def replace(client: socket.socket) -> tuple[socket.socket, Callable[[], None]]:
    """Move the connection of `client` to a new, non-blocking socket and put a placeholder in its place.

    Returns the new socket, and what to call when the last was written to the placeholder. OSError where
    there are too many open files; `client` is then as it was.
    """
    placeholder, far_end = socket.socketpair()
    with placeholder:
        try:
            connection = socket.fromfd(client.fileno(), client.family, client.type)
        except OSError:
            far_end.close()
            raise
        connection.setblocking(False)
        os.dup2(placeholder.fileno(), client.fileno(), inheritable=False)

    def discard() -> None:
        # What is left unread would come back as a reset.
        far_end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            far_end.recv(PLACEHOLDER_BYTES)
        far_end.close()

    return connection, discard
