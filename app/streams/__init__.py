"""Connections that last: the event stream and the WebSocket, and what their requests may say."""

from __future__ import annotations

import base64
import binascii
import socket

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import BadRequest, HTTPException
from wsproto.handshake import WEBSOCKET_VERSION

from app.settings import Settings
from app.streams.events import EventStream
from app.streams.handover import Handover
from app.streams.loop import Farewell, StreamLoop
from app.streams.ticks import Origin, Resume, resume
from app.streams.websocket import Limits, WebSocket
from gunicorn_drain import Drain

ID_PARAMETERS = frozenset({"last", "lasteventid", "evslasteventid"})
"""Names of the query's parameter, in lower case, without `_` and `-`.

`last_event_id` and `last` are ours; `lastEventId` and `evs_last_event_id` are sent by polyfills of
EventSource, `Last-Event-ID` and `lastEventID` by others that can set no header.
"""

VERSION = WEBSOCKET_VERSION.decode()
"""The one version of RFC 6455, 13; the numbers below were drafts'."""

KEY_BYTES = 16
"""Length of the nonce in Sec-WebSocket-Key (RFC 6455, 4.1)."""


class UpgradeRequired(HTTPException):
    """426: the request must be a WebSocket's handshake."""

    code = 426
    description = (
        "This is a WebSocket: send Connection: Upgrade, Upgrade: websocket and "
        f"Sec-WebSocket-Version: {VERSION}."
    )

    def get_headers(self, *_: object) -> list[tuple[str, str]]:
        """Say what to upgrade to."""
        return [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]


def blueprint(settings: Settings, drain: Drain) -> Blueprint:
    """Make the routes of the long connections."""
    streams = Blueprint("streams", __name__)
    farewell = Farewell(
        first=settings.stream_tell_first * settings.drain_max,
        last=settings.stream_tell_last * settings.drain_max,
        deadline=settings.stream_deadline * settings.drain_max,
        retry_min=settings.stream_retry_min,
        retry_max=settings.stream_retry_max,
    )
    origin = Origin(settings.app_version, socket.gethostname())
    loop = StreamLoop(drain, farewell, origin, settings.stream_limit, settings.stream_replay)
    limits = Limits(settings.websocket_ping, settings.websocket_message, settings.websocket_rate)

    @streams.get("/api/events")
    def events() -> Response:
        start = _resume(request)
        loop.admit(EventStream.kind)
        stream = EventStream(loop, start, request.environ["SERVER_PROTOCOL"])
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Handover(stream, request.environ, content_type="text/event-stream", headers=headers)

    @streams.get("/api/ws")
    def no_websocket() -> Response:
        raise UpgradeRequired

    @streams.get("/api/ws", websocket=True)
    def websocket() -> Response:
        if request.method == "HEAD":  # which Flask lets in with GET
            raise UpgradeRequired
        key = _handshake_key(request)
        start = _resume(request)
        loop.admit(WebSocket.kind)
        stream = WebSocket(loop, start, limits, key)
        return Handover(stream, request.environ, status=101)

    return streams


def _resume(request: Request) -> Resume:
    """Read after which tick a client goes on. Other parameters are ignored, cache busters are some."""
    header = request.headers.get("Last-Event-ID", "")
    query = [
        value
        for name, values in request.args.lists()
        if name.lower().replace("_", "").replace("-", "") in ID_PARAMETERS
        for value in values
    ]
    # The header wins: a browser's EventSource keeps the address that it was made with.
    return resume(("Last-Event-ID", header.split(",")), ("The last event id in the query", query))


def _handshake_key(request: Request) -> str:
    """Read the key of a WebSocket's opening handshake; UpgradeRequired or BadRequest where it is none.

    The router has seen to Connection and Upgrade.
    """
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
