"""Server-Sent Events."""

from __future__ import annotations

import contextlib
from email.utils import formatdate

from gunicorn_drain.streams.loop import Stream, StreamLoop

HEARTBEAT = 15.0
"""Interval between two comment lines, which show proxies and clients that a stream is alive, in seconds."""

RECEIVE_MAX = 65536
"""Maximum number of bytes that a client may send into its stream, where nothing is expected."""


class EventStream(Stream):
    """A stream of events, chunked for HTTP/1.1 so that its end differs from a broken connection."""

    kind = "events"

    go_away_data = '{"reason": "service restart"}'
    """Data of the last event, `restart`."""

    def __init__(self, loop: StreamLoop, protocol: str) -> None:
        """Create the stream of a request. `protocol`: HTTP/1.0 or HTTP/1.1."""
        super().__init__(loop)
        self.chunked = protocol != "HTTP/1.0"
        self._protocol = protocol
        self._received = 0
        self._next_heartbeat = 0.0

    def encode(self, data: str, event: str = "", event_id: int | str | None = None) -> bytes:
        """Return an event. `data`, `event` and `event_id` must not contain line breaks."""
        lines = [f"id: {event_id}"] if event_id is not None else []
        if event:
            lines.append(f"event: {event}")
        return self._frame("\n".join([*lines, f"data: {data}", "", ""]))

    def response_headers(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        """Return status line and headers as Gunicorn would, except for the close after the end."""
        lines = [
            f"{self._protocol} {status}",
            "Server: gunicorn",
            f"Date: {formatdate(usegmt=True)}",
            "Connection: close",
        ]
        lines += [f"{name}: {value}" for name, value in headers]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def maintain(self, now: float) -> None:
        """Send heartbeats."""
        super().maintain(now)
        if now >= self._next_heartbeat and self.is_active:
            self._next_heartbeat = now + HEARTBEAT
            self.write(self._frame(": heartbeat\n\n"))

    def send_go_away(self, retry: int) -> None:
        """Send the last event, without an id: the client resumes after the last event with one. Then end."""
        last = self._frame(f"event: restart\nretry: {retry}\ndata: {self.go_away_data}\n\n")
        self.write(last + b"0\r\n\r\n" if self.chunked else last)
        # A client that has closed the connection responds to the event with a reset. An error would end the
        # notification of the other streams at the stop.
        with contextlib.suppress(OSError):
            self.transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """Discard the data; nothing is expected here."""
        self._received += len(data)
        if self._received > RECEIVE_MAX:
            self.abort("it sends into an event stream")

    def _frame(self, text: str) -> bytes:
        data = text.encode()
        return b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data
