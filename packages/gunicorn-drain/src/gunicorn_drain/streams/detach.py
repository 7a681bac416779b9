"""Detachment of a connection from its request, so that it outlives the response and holds no thread.

No worker class of Gunicorn 27.0.1 can release a connection. But each of them keeps it as a file descriptor
number, and the file of a number can be replaced: the connection gets a new number of ours, and a placeholder
gets the old one. Gunicorn writes its response to the placeholder, finds that the peer has closed, and closes
the placeholder; the thread, the place in the poller and the count of connections are free. No worker class
needs to be changed, so all of them are supported.
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
"""Maximum size of a read from the placeholder, in bytes: more than the headers that Gunicorn writes to it."""

WITHOUT_CONNECTION = (
    "Long-lived connections need HTTP/1 without TLS; terminate TLS and HTTP/2 in front of Gunicorn."
)
WITH_BODY = "A request for a long-lived connection has no body."
TOO_MANY_FILES = "This worker has no file descriptor left for a long-lived connection."


class StreamRefusedError(Exception):
    """A sentence about a connection that is not detached, and the status to respond with."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ConnectionOwner(Protocol):
    """Object that receives a detached connection."""

    def admit(self) -> None:
        """Raise StreamRefusedError, counted and logged, if there is no room for one more connection."""

    def take(
        self, connection: socket.socket, early: bytes, status: str, headers: list[tuple[str, str]]
    ) -> None:
        """Own `connection` from now on and send the headers. Called in the request's thread; must not wait.

        `early`: data that the client has sent after its request; `status` and `headers`: of the response.
        """

    def refuse(self, reason: str) -> None:
        """Count and log that the connection cannot be detached."""


def check(environ: WSGIEnvironment, owner: ConnectionOwner) -> None:
    """Raise StreamRefusedError, 400, 501 or 503, if the connection of a request cannot be detached."""
    if environ.get("CONTENT_LENGTH", "0") not in {"", "0"} or "HTTP_TRANSFER_ENCODING" in environ:
        raise StreamRefusedError(HTTPStatus.BAD_REQUEST, WITH_BODY)
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
    """Give the connection of a request to `owner`; return the function to call at the response's close.

    Call it instead of `start_response`, which Gunicorn's response to the placeholder needs as well.
    StreamRefusedError if there are too many open files; the connection is then unchanged.
    """
    if (stop_polling := environ.get(DETACH_KEY)) is not None:
        stop_polling()  # the worker's poller would have it under the placeholder's number
    try:
        connection, discard = replace(environ["gunicorn.socket"])
    except OSError as error:
        owner.refuse(f"{TOO_MANY_FILES} ({error})")
        raise StreamRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_FILES) from None
    start_response(status, headers)
    # With the headers that middleware has added, to the list or to Gunicorn's own response.
    response: Any = getattr(start_response, "__self__", None)
    if isinstance(response, Response):
        headers = list(response.headers)
    owner.take(connection, environ["wsgi.input"].reader.unreader.take_buffered(), status, headers)
    return discard


def replace(client: socket.socket) -> tuple[socket.socket, Callable[[], None]]:
    """Move the connection of `client` to a new, non-blocking socket and put a placeholder in its place.

    Returns the new socket, and the function to call after the last write to the placeholder. OSError if
    there are too many open files; `client` is then unchanged.
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
        # Unread data would cause a reset.
        far_end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            far_end.recv(PLACEHOLDER_BYTES)
        far_end.close()

    return connection, discard
