"""Event streams and WebSockets as responses of Flask's views."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn_drain.extras import extra
from gunicorn_drain.streams.detach import ConnectionOwner, StreamRefusedError, check, detach

with extra("streams"):
    from flask import Request, Response, current_app
    from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable
    from werkzeug.exceptions import NotImplemented as NotSupported
    from werkzeug.wsgi import ClosingIterator
    from wsproto.handshake import WEBSOCKET_VERSION

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

RETRY_AFTER = 1
"""Interval after which a client may retry if there is no room for its connection, in seconds."""

VERSION = WEBSOCKET_VERSION.decode()
"""Version of RFC 6455: 13; lower numbers were drafts'."""

KEY_BYTES = 16
"""Length of the nonce in Sec-WebSocket-Key (RFC 6455, 4.1)."""


class DetachedResponse(Response):
    """A response whose connection is given to its owner instead of back to Gunicorn."""

    automatically_set_content_length = False  # the body has no end yet

    def __init__(self, owner: ConnectionOwner, environ: WSGIEnvironment, **more: Any) -> None:
        """Raise NotImplemented (501) or ServiceUnavailable (503) if the connection cannot be detached."""
        super().__init__(**more)
        self._owner = owner
        try:
            check(environ, owner)
        except StreamRefusedError as refusal:
            _raise(refusal)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Detach the connection, and let Gunicorn respond to the placeholder."""
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        _, status, headers = self.get_wsgi_response(environ)
        try:
            discard = detach(environ, start_response, self._owner, status, headers)
        except StreamRefusedError as refusal:
            # The views' errors have been handled by now.
            try:
                _raise(refusal)
            except HTTPException as error:
                response = current_app.make_response(current_app.handle_http_exception(error))
            return response(environ, start_response)
        return ClosingIterator((), [discard, self.close])


def _raise(refusal: StreamRefusedError) -> NoReturn:
    if refusal.status == HTTPStatus.NOT_IMPLEMENTED:
        raise NotSupported(str(refusal)) from None
    raise ServiceUnavailable(str(refusal), retry_after=RETRY_AFTER) from None


class UpgradeRequired(HTTPException):
    """426: the request must be a WebSocket's handshake."""

    code = 426
    description = (
        "This is a WebSocket: send Connection: Upgrade, Upgrade: websocket and "
        f"Sec-WebSocket-Version: {VERSION}."
    )

    def get_headers(self, *_: object) -> list[tuple[str, str]]:
        """Return the headers that name the protocol to upgrade to."""
        return [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]


def handshake_key(request: Request) -> str:
    """Return the key of a WebSocket's opening handshake; raise UpgradeRequired or BadRequest without one.

    For the view of a rule with `websocket=True`: Werkzeug's router has checked Connection and Upgrade.
    """
    if request.method == "HEAD":  # which Flask adds to GET
        raise UpgradeRequired
    version = request.headers.get("Sec-WebSocket-Version")
    if version is not None and version != VERSION:
        raise UpgradeRequired(f"Sec-WebSocket-Version is {version!r}; allowed is {VERSION}.")
    key = request.headers.get("Sec-WebSocket-Key")
    missing = [
        name
        for name, value in (("Sec-WebSocket-Version", version), ("Sec-WebSocket-Key", key))
        if value is None
    ]
    if key is None or missing:
        raise BadRequest(f"A WebSocket handshake needs the missing {' and '.join(missing)}.")
    if request.environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        raise BadRequest("A WebSocket handshake in HTTP/1.0; allowed is HTTP/1.1.")
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != KEY_BYTES:
        raise BadRequest(f"Sec-WebSocket-Key is {key!r}; allowed is the base64 of {KEY_BYTES} bytes.")
    return key
