"""Ticks, one a second, as an event stream and over a WebSocket (docs/long-connections.md)."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

from flask import Blueprint, Request, Response, request

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
from gunicorn_drain.streams.flask import DetachedResponse, UpgradeRequired, handshake_key

FUTURE = 5
"""Maximum time by which another pod's clock may be ahead of ours, in seconds."""

DIGITS = 12
"""Maximum number of digits of an id: more than a tick's number will have for 30,000 years."""

SHOWN = 100
"""Maximum number of characters of a wrong id that are sent back."""

ID_PARAMETERS = frozenset({"last", "lasteventid", "evslasteventid"})
"""Names of the query parameter with the last event id, in lower case, without `_` and `-`.

`last_event_id` and `last` are ours; `lastEventId` and `evs_last_event_id` are sent by polyfills of
EventSource, `Last-Event-ID` and `lastEventID` by others that can set no header.
"""


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
        stream.begin(ticks, _resume(request))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return DetachedResponse(stream, request.environ, content_type="text/event-stream", headers=headers)

    @streams.get("/api/ws")
    def no_websocket() -> Response:
        raise UpgradeRequired

    @streams.get("/api/ws", websocket=True)
    def websocket() -> Response:
        stream = TickSocket(loop, handshake_key(request), limits)
        stream.begin(ticks, _resume(request))
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

    def begin(self, ticks: Ticks, start: Resume) -> None:
        """Set the tick after which the client resumes."""
        self.ticks = ticks
        self.after = now() - 1 if start.after is None else start.after
        self._problem = start.problem

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

    def begin(self, ticks: Ticks, start: Resume) -> None:
        """Set the tick after which the client resumes, and the data of the last event."""
        super().begin(ticks, start)
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


# ---- resuming --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resume:
    """Beginning of a client's stream."""

    after: int | None = None
    """Number of the last tick that the client has; None: begin with the present one."""
    problem: str = ""
    """Reason for None although the client sent an id."""


def resume(*given: tuple[str, list[str]]) -> Resume:
    """Read the ids that a client sends: the sources by precedence, each a name and its values.

    Nothing is refused: a browser takes a refusal as final and never reconnects. An empty id counts as none,
    as in the HTML standard. An id that no tick has, such as one of an earlier service at the same address,
    is reported in the stream.
    """
    highest = now() + FUTURE
    problem = ""
    for name, values in given:
        numbers = []
        for text in filter(None, (value.strip() for value in values)):
            if text.isascii() and text.isdigit() and len(text) <= DIGITS and int(text) <= highest:
                numbers.append(int(text))
            elif not problem:
                problem = (
                    f"{name} is {text[:SHOWN]!r}; allowed is the number of a tick, up to {highest}. "
                    "The stream begins with the present tick."
                )
        if numbers:
            return Resume(max(numbers))  # a client may add its later id to an address with an id
    return Resume(None, problem)


def _resume(request: Request) -> Resume:
    """Read the tick after which a client resumes. Other parameters, such as cache busters, are ignored."""
    header = request.headers.get("Last-Event-ID", "")
    query = [
        value
        for name, values in request.args.lists()
        if name.lower().replace("_", "").replace("-", "") in ID_PARAMETERS
        for value in values
    ]
    # The header wins: a browser's EventSource keeps the address that it was created with.
    return resume(("Last-Event-ID", header.split(",")), ("The last event id in the query", query))
