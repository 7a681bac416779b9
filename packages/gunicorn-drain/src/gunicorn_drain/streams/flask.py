"""Event streams and WebSockets as responses of Flask's views."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.http.wsgi import Response as GunicornResponse

from gunicorn_drain.extras import extra
from gunicorn_drain.streams.detach import ConnectionOwner, StreamRefusedError, check, detach

with extra("streams"):
    from flask import Request, Response, after_this_request, current_app
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

LAST_EVENT_ID = "Last-Event-ID"
"""Header in which a browser's EventSource sends the id of the last event that it has."""

ID_PARAMETERS = frozenset({"last", "lasteventid", "evslasteventid"})
"""Names of the query parameter with that id, in lower case, without `_` and `-`.

`lastEventId` and `evs_last_event_id` are sent by polyfills of EventSource, `Last-Event-ID` and `lastEventID`
by others that can set no header; `last_event_id` and `last` are for your own clients.
"""


class DetachedResponse(Response):
    """A response whose connection is given to its owner instead of back to Gunicorn."""

    automatically_set_content_length = False  # the body has no end yet

    def __init__(self, owner: ConnectionOwner, environ: WSGIEnvironment, **more: Any) -> None:
        """Raise BadRequest, NotImplemented or ServiceUnavailable if the connection cannot be detached."""
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
    if refusal.status == HTTPStatus.BAD_REQUEST:
        raise BadRequest(str(refusal)) from None
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

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description)
        # Whatever response an error handler of the application creates.
        after_this_request(_UpgradeResponse.force_type)

    def get_headers(self, *of: Any) -> list[tuple[str, str]]:
        """Return the headers, with those that name the protocol to upgrade to."""
        return [*super().get_headers(*of), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]


class _UpgradeResponse(Response):
    """A response whose Upgrade header is announced by `Connection: Upgrade` (RFC 9110, 7.8)."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Add `Connection: Upgrade` to Gunicorn's own response.

        An application does not set Connection (PEP 3333). Gunicorn accepts "Upgrade" in it, but then sends
        no `Connection: close`, which a drain needs. Two Connection headers count as one list.
        """

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            write = start_response(status, headers, *more)
            gunicorns = getattr(start_response, "__self__", None)
            if isinstance(gunicorns, GunicornResponse):
                gunicorns.headers.append(("Connection", "Upgrade"))
            return write

        return super().__call__(environ, start)


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


def last_event_ids(request: Request) -> list[tuple[str, list[str]]]:
    """Return the ids of last events that a client sends: a name and its values, by precedence.

    The header comes first: a browser's EventSource keeps the address that it was created with. Empty ids
    count as none, as in the HTML standard; other parameters, such as cache busters, are ignored.
    """
    query = [
        value
        for name, values in request.args.lists()
        if name.lower().replace("_", "").replace("-", "") in ID_PARAMETERS
        for value in values
    ]
    header = request.headers.get(LAST_EVENT_ID, "").split(",")
    return [
        (name, [value.strip() for value in values if value.strip()])
        for name, values in ((LAST_EVENT_ID, header), ("The last event id in the query", query))
    ]
