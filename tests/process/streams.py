"""An event stream or a WebSocket on a raw socket, read event by event."""

from __future__ import annotations

import json
import time
from typing import Any

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, RejectConnection, Request

from tests.process.clients import Connection, Lost


class EventStream(Connection):
    """A connection to an event stream."""

    def __init__(self, port: int, *headers: str, query: str = "", path: str = "/api/events") -> None:
        """Open the stream and read the headers of the response."""
        super().__init__(port)
        self._http = h11.Connection(h11.CLIENT)
        self._http.send(h11.Request(method="GET", target="/", headers=[("Host", "test")]))
        self._http.send(h11.EndOfMessage())
        self._text = ""
        self.ended = False
        """True once the response is complete."""
        self.send(path + query, *headers)
        head = self._next()
        assert isinstance(head, h11.Response)
        self.head = head
        assert head.status_code == 200

    def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise Lost(f"receive: {error!r}") from error
            try:
                self._http.receive_data(data)
                if not data:
                    event = self._http.next_event()
                    break
            except h11.RemoteProtocolError as error:
                raise Lost(f"cut: {error}") from error
        return event

    def part(self) -> str | None:
        """Return the next event or comment, None at the end of the response. Raises Lost if it was cut."""
        while "\n\n" not in self._text:
            try:
                event = self._next()
            except h11.RemoteProtocolError as error:
                raise Lost(f"cut: {error}") from error
            if isinstance(event, h11.EndOfMessage):
                self.ended = True
                return None
            assert isinstance(event, h11.Data), event
            self._text += event.data.decode()
        text, _, self._text = self._text.partition("\n\n")
        return text

    def event(self) -> dict[str, str] | None:
        """Return the fields of the next event by name, None at the end of the response."""
        while (text := self.part()) is not None and text.startswith(":"):
            pass
        return None if text is None else dict(line.split(": ", 1) for line in text.split("\n"))

    def tick(self) -> int:
        """Read a tick; return its number."""
        event = self.event()
        assert event is not None
        assert event["event"] == "tick", event
        data = json.loads(event["data"])
        assert str(data["sequence"]) == event["id"]
        return int(data["sequence"])

    def notification(self) -> dict[str, str]:
        """Read until the service asks the client to reconnect; return that event."""
        while True:
            event = self.event()
            assert event is not None, "the stream ended without notice"
            if event["event"] != "tick":
                return event


class Socket(Connection):
    """A WebSocket."""

    def __init__(self, port: int, query: str = "", early: bytes = b"", path: str = "/api/ws") -> None:
        """Open the WebSocket. `early`: bytes to send right after the handshake."""
        super().__init__(port)
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        handshake = self.protocol.send(Request(host="test", target=path + query))
        self.socket.sendall(handshake + early)
        response = self.event()
        assert not isinstance(response, RejectConnection), response.status_code
        assert isinstance(response, AcceptConnection)

    def send_event(self, event: Event) -> None:
        """Send one event."""
        self.socket.sendall(self.protocol.send(event))

    def event(self, respond: bool = True) -> Event:
        """Return the next event. `respond`: also to pings. Raises Lost at the end of the stream."""
        while not self._events:
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise Lost(f"receive: {error!r}") from error
            if not data:
                raise Lost("end of stream")
            self.protocol.receive_data(data)
            self._events += self.protocol.events()
            for ping in [each for each in self._events if isinstance(each, Ping)]:
                self._events.remove(ping)
                if respond:
                    self.send_event(ping.response())
        return self._events.pop(0)

    def message(self, kind: str) -> dict[str, Any]:
        """Read until a message of this type; return it."""
        while True:
            event = self.event()
            data = getattr(event, "data", None)
            if isinstance(data, str) and (message := json.loads(data))["type"] == kind:
                return dict(message)
            assert not isinstance(event, CloseConnection), event

    def tick(self) -> int:
        """Read until a tick; return its number."""
        return int(self.message("tick")["sequence"])

    def closed(self, respond: bool = True) -> CloseConnection:
        """Read until the service closes; return its close."""
        while not isinstance(event := self.event(respond), CloseConnection):
            pass
        return event


def now() -> int:
    """Return the number of the current tick."""
    return int(time.time())
