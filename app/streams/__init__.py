"""Connections that last: the event stream and the WebSocket, and what their requests may say."""

from __future__ import annotations

import socket

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import BadRequest, HTTPException
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from app.lifecycle import Lifecycle
from app.settings import Settings
from app.streams.events import EventStream
from app.streams.handover import Handover
from app.streams.loop import Farewell, StreamLoop
from app.streams.ticks import Origin, resume_after
from app.streams.websocket import Limits, WebSocket

HANDSHAKE = ("host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-version")
"""The headers that a WebSocket's handshake is made of; extensions and subprotocols there are none."""


class UpgradeRequired(HTTPException):
    """426: the request must be a WebSocket's handshake."""

    code = 426
    description = (
        "This is a WebSocket: send Connection: Upgrade, Upgrade: websocket and Sec-WebSocket-Version: 13."
    )

    def get_headers(self, *_: object) -> list[tuple[str, str]]:
        """Say what to upgrade to."""
        return [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]


def blueprint(settings: Settings, lifecycle: Lifecycle) -> Blueprint:
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
    loop = StreamLoop(lifecycle, farewell, origin, settings.stream_limit, settings.stream_replay)
    limits = Limits(settings.websocket_ping, settings.websocket_message, settings.websocket_rate)

    @streams.get("/api/events")
    def events() -> Response:
        text = _argument(request, "last_event_id")
        after = _resume(
            "Last-Event-ID" if "Last-Event-ID" in request.headers else "last_event_id",
            request.headers.get("Last-Event-ID", text),
        )
        loop.admit()
        stream = EventStream(loop, after, request.environ["SERVER_PROTOCOL"])
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Handover(stream, request.environ, content_type="text/event-stream", headers=headers)

    @streams.get("/api/ws")
    def no_websocket() -> Response:
        raise UpgradeRequired

    @streams.get("/api/ws", websocket=True)
    def websocket() -> Response:
        if request.method == "HEAD":  # which Flask lets in with GET
            raise UpgradeRequired
        after = _resume("last", _argument(request, "last"))
        loop.admit()
        handshake = [(name, request.headers[name]) for name in HANDSHAKE if name in request.headers]
        try:
            stream = WebSocket(loop, after, limits, handshake)
        except (RemoteProtocolError, LocalProtocolError) as error:
            raise BadRequest(f"This is no WebSocket handshake: {error}.") from error
        return Handover(stream, request.environ, status=101)

    def _resume(name: str, text: str | None) -> int | None:
        if text is None:
            return None
        try:
            return resume_after(text, name, settings.stream_replay)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    return streams


def _argument(request: Request, name: str) -> str | None:
    """Read the one parameter that a long connection takes."""
    given = request.args.to_dict(flat=False)
    unknown = sorted(set(given) - {name})
    if unknown:
        raise BadRequest(
            f"{request.path} has no parameter {', '.join(map(repr, unknown))}; allowed is {name}."
        )
    values = given.get(name, [])
    if len(values) > 1:
        raise BadRequest(f"{name} is given {len(values)} times; allowed is once.")
    return values[0] if values else None
