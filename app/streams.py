"""Ticks, one a second, as an event stream and over a WebSocket (docs/long-connections.md)."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterable

from flask import Blueprint, Response, request

from app.settings import Settings
from gunicorn_drain import Drain
from gunicorn_drain.streams import (
    EventStream,
    GoAwaySchedule,
    Stream,
    StreamLoop,
    WebSocket,
    WebSocketLimits,
)
from gunicorn_drain.streams.flask import (
    DetachedResponse,
    UpgradeRequired,
    handshake_key,
    last_event_ids,
)

FUTURE = 5
"""Maximum time by which another pod's clock may be ahead of ours, in seconds."""

NUMBER = re.compile("[0-9]{1,12}")
"""Pattern of a tick's number; 12 digits last for 30,000 years."""

SHOWN = 100
"""Maximum number of characters of a wrong id that are sent back."""


def blueprint(settings: Settings, drain: Drain) -> Blueprint:
    """Create the routes of the event stream and the WebSocket."""
    streams = Blueprint("streams", __name__)
    schedule = GoAwaySchedule(
        first=settings.stream_tell_first * settings.drain_max,
        last=settings.stream_tell_last * settings.drain_max,
        deadline=settings.stream_deadline * settings.drain_max,
        retry_min=settings.stream_retry_min,
        retry_max=settings.stream_retry_max,
    )
    loop = StreamLoop(drain, schedule, settings.stream_limit, "STREAM_LIMIT")
    ticks = Ticks(settings.app_version, socket.gethostname(), settings.stream_replay)
    limits = WebSocketLimits(settings.websocket_ping, settings.websocket_message, settings.websocket_rate)

    @streams.get("/api/events")
    def events() -> Response:
        stream = TickEvents(loop, request.environ["SERVER_PROTOCOL"])
        stream.begin(ticks, last_event_ids(request))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return DetachedResponse(stream, request.environ, content_type="text/event-stream", headers=headers)

    @streams.get("/api/ws")
    def no_websocket() -> Response:
        raise UpgradeRequired

    @streams.get("/api/ws", websocket=True)
    def websocket() -> Response:
        stream = TickSocket(loop, handshake_key(request), limits)
        stream.begin(ticks, last_event_ids(request))
        return DetachedResponse(stream, request.environ, status=101)

    return streams


# ---- ticks -----------------------------------------------------------------------------------------------


def now() -> int:
    """Return the present tick's sequence number: whole seconds since 1970, the same on every pod."""
    return int(time.time())


def dump(message: object) -> str:
    """Return JSON on one line, as streams need it."""
    return json.dumps(message, ensure_ascii=False)


class Ticks:
    """Ticks of this process. The present one is encoded once for all streams of a kind."""

    def __init__(self, version: str, pod: str, replay: int) -> None:
        """Create the ticks. `replay`: maximum age of a missed tick that is repeated, in seconds."""
        self.pod = pod
        self._version = version
        self._replay = replay
        self._present = 0
        self._encoded: dict[object, bytes] = {}  # the present tick, by encoding

    def missed(self, stream: TickStream) -> bytes:
        """Return the ticks that `stream` does not have yet; none while a clock is set back."""
        present = now()
        if present > self._present:
            self._present = present
            self._encoded.clear()
        after, stream.after = stream.after, max(stream.after, self._present)
        if after >= self._present:
            return b""
        if after == self._present - 1:
            if stream.encoding not in self._encoded:
                self._encoded[stream.encoding] = self._encode(stream, self._present)
            return self._encoded[stream.encoding]
        first = max(after + 1, self._present - self._replay)
        data = b"".join(self._encode(stream, number) for number in range(first, self._present + 1))
        if missing := first - after - 1:  # disconnected for long, or the clock has been set
            data = stream.encode_message("missing", {"missing": missing, "first": first}) + data
        return data

    def _encode(self, stream: TickStream, number: int) -> bytes:
        tick = {"sequence": number, "version": self._version, "pod": self.pod}
        return stream.encode_message("tick", tick, number)


class TickStream(Stream):
    """A stream that sends each tick."""

    encoding: object
    """Key of the encoding: streams with the same key send the same bytes."""

    def begin(self, ticks: Ticks, ids: Iterable[tuple[str, list[str]]]) -> None:
        """Set the tick after which the client resumes."""
        self.ticks = ticks
        after, self._problem = resume(ids)
        self.after = now() - 1 if after is None else after

    def encode_message(self, kind: str, message: dict[str, object], number: int | None = None) -> bytes:
        """Return the bytes of a message; `number` is a tick's."""
        raise NotImplementedError

    def update(self) -> None:
        """Send the ticks that the client does not have yet."""
        if self._problem:
            problem: dict[str, object] = {"missing": None, "first": self.after + 1, "detail": self._problem}
            self.write(self.encode_message("missing", problem))
            self._problem = ""
        if data := self.ticks.missed(self):
            self.write(data)


class TickEvents(TickStream, EventStream):
    """Stream of GET /api/events."""

    def begin(self, ticks: Ticks, ids: Iterable[tuple[str, list[str]]]) -> None:
        """Set the tick after which the client resumes, and the data of the last event."""
        super().begin(ticks, ids)
        self.encoding = type(self), self.chunked
        self.go_away_data = dump({"reason": "service restart", "pod": ticks.pod})

    def encode_message(self, kind: str, message: dict[str, object], number: int | None = None) -> bytes:
        """Return an event. Only a tick has an id, after which a client resumes."""
        return self.encode(dump(message), kind, number)


class TickSocket(TickStream, WebSocket):
    """WebSocket of GET /api/ws: ticks, and echoes of the client's messages."""

    encoding = "websocket"

    def encode_message(self, kind: str, message: dict[str, object], number: int | None = None) -> bytes:  # noqa: ARG002 - it is in the message
        """Return a message as JSON."""
        return self.encode(dump({"type": kind, **message}))

    def received(self, message: str | bytes) -> None:
        """Echo a message of the client."""
        self.send(message if isinstance(message, bytes) else dump({"type": "echo", "message": message}))


def resume(given: Iterable[tuple[str, list[str]]]) -> tuple[int | None, str]:
    """Return the last tick that a client has, or None and, if it sent an id, the sentence to report.

    `given`: as last_event_ids() returns it. Nothing is refused: a browser takes a refusal as final and never
    reconnects. An id that no tick has may be one of an earlier service at the same address.
    """
    highest = now() + FUTURE
    wrong = ""
    for name, values in given:
        numbers = [int(text) for text in values if NUMBER.fullmatch(text) and int(text) <= highest]
        if numbers:
            return max(numbers), ""  # a client may add its later id to an address with an id
        if values and not wrong:
            wrong = (
                f"{name} is {values[0][:SHOWN]!r}; allowed is the number of a tick, up to {highest}. "
                "The stream begins with the present tick."
            )
    return None, wrong
