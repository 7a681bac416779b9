"""Server-Sent Events: the stream of GET /api/events."""

from __future__ import annotations

from email.utils import formatdate

from app.streams import ticks
from app.streams.loop import Stream, StreamLoop

HEARTBEAT = 15.0
"""Seconds between two comment lines, which keep proxies and clients sure of a stream."""

READ_LIMIT = 65536
"""Bytes that a client may send into its stream, where nothing is expected."""


class EventStream(Stream):
    """A stream of events, chunked for HTTP/1.1 so that its end can be told from a cut."""

    kind = "events"

    def __init__(self, loop: StreamLoop, start: ticks.Resume, protocol: str) -> None:
        """`protocol` is the request's: HTTP/1.0 or HTTP/1.1."""
        super().__init__(loop, start)
        self._protocol = protocol
        self._chunked = protocol != "HTTP/1.0"
        self._heard = 0
        self._next_heartbeat = 0.0

    @property
    def wire(self) -> object:
        """Chunked or not."""
        return self._protocol

    def head(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        """Make the head as Gunicorn would, but for the close after the end."""
        lines = [
            f"{self._protocol} {status}",
            "Server: gunicorn",
            f"Date: {formatdate(usegmt=True)}",
            "Connection: close",
        ]
        lines += [f"{name}: {value}" for name, value in headers]
        if self._chunked:
            lines.append("Transfer-Encoding: chunked")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def encode(self, sequence: int) -> bytes:
        """Make the event of a tick."""
        tick = ticks.dump(self.origin.tick(sequence))
        return self._frame(f"id: {sequence}\nevent: tick\ndata: {tick}\n\n")

    def encode_missing(self, missing: dict[str, object]) -> bytes:
        """Make the event about ticks that do not come. Without an id: the next tick has one."""
        return self._frame(f"event: missing\ndata: {ticks.dump(missing)}\n\n")

    def _frame(self, text: str) -> bytes:
        data = text.encode()
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def tend(self, now: float) -> None:
        """Send heartbeats."""
        super().tend(now)
        if now >= self._next_heartbeat and not self.over and not self.transport.is_closing():
            self._next_heartbeat = now + HEARTBEAT
            self.transport.write(self._frame(": heartbeat\n\n"))

    def say_farewell(self, retry: int) -> None:
        """Send the last event, and end. Without an id, so that the client goes on after the last tick."""
        goodbye = ticks.dump({"reason": "service restart", "pod": self.origin.pod})
        last = self._frame(f"event: restart\nretry: {retry}\ndata: {goodbye}\n\n")
        self.transport.write(last + b"0\r\n\r\n" if self._chunked else last)
        self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """Nothing is expected here."""
        self._heard += len(data)
        if self._heard > READ_LIMIT:
            self.drop("it sends into an event stream")
