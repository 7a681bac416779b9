"""The WebSocket of /api/ws: echoes, ticks, pings, and limits.

wsproto does the protocol: it is made for servers whose request another parser has read, gives whole events
instead of frames, and checks UTF-8 and the order of frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason

from app.lifecycle import Long
from app.streams import ticks
from app.streams.loop import KINDS, Stream, StreamLoop

CLOSE_TIMEOUT = 2.0
"""Seconds that a client has to answer a close that its own doing brought on."""


@dataclass(frozen=True)
class Limits:
    """What a client must keep to."""

    ping: float
    """Seconds between two pings; each must be answered before the next."""
    message: int
    """Bytes of a message."""
    rate: int
    """Frames a second, also for a burst."""


class WebSocket(Stream):
    """A WebSocket."""

    kind = KINDS.index("websocket")

    def __init__(
        self, loop: StreamLoop, after: int | None, limits: Limits, handshake: Iterable[tuple[str, str]]
    ) -> None:
        """`handshake` are the request's headers. Raises RemoteProtocolError where they are no handshake."""
        super().__init__(loop, after)
        self._limits = limits
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._protocol.initiate_upgrade_connection(
            [(name.encode("latin-1"), value.encode("latin-1")) for name, value in handshake], b"/"
        )
        self._message = bytearray()  # what has come of it
        self._allowance = float(limits.rate)
        self._allowed_at = 0.0
        self._next_ping = 0.0
        self._pong_missing = False

    def head(self, status: str, headers: list[tuple[str, str]]) -> bytes:  # noqa: ARG002 - it is always 101
        """Accept the handshake."""
        more = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
            if name != "Content-Type"  # which Flask gives every answer
        ]
        return self._protocol.send(AcceptConnection(extra_headers=more))

    def encode(self, sequence: int) -> bytes:
        """Make the message of a tick. A server's frames are the same for every client."""
        tick = {"type": "tick", **self.origin.tick(sequence)}
        return self._protocol.send(TextMessage(data=ticks.dump(tick)))

    def say_farewell(self, retry: int) -> None:
        """Close with 1012, service restart. The client answers the close and goes."""
        self._send(CloseConnection(code=CloseReason.SERVICE_RESTART, reason=ticks.dump({"retry": retry})))

    def tend(self, now: float) -> None:
        """Ping, and give up a client that did not answer the last one."""
        super().tend(now)
        if self.transport.is_closing() or now < self._next_ping:
            return
        if self.over:
            if self._outcome is Long.DROPPED:
                self.transport.abort()  # it was told why, and does not close
            return
        if self._pong_missing:
            self._close(CloseReason.INTERNAL_ERROR, f"no pong within {self._limits.ping:g} s")
            return
        if self._next_ping:
            self._pong_missing = True
            self._send(Ping())
        self._next_ping = now + self._limits.ping

    def data_received(self, data: bytes) -> None:
        """Act on what came."""
        if self.transport.is_closing():
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            self._on(event)

    def _on(self, event: Event) -> None:
        if isinstance(event, Request):
            return
        state = self._protocol.state
        if isinstance(event, CloseConnection) and state in (
            ConnectionState.REMOTE_CLOSING,
            ConnectionState.CLOSED,
        ):
            if state is ConnectionState.REMOTE_CLOSING:
                self._send(event.response())
            self.hang_up()
        elif state is not ConnectionState.OPEN:
            pass  # we have closed; what comes before the answer to that is of no use any more
        elif isinstance(event, CloseConnection):  # wsproto's word for what it cannot understand
            self._close(event.code, event.reason or "not understood")
        elif not self._within_rate(event):
            self._close(CloseReason.POLICY_VIOLATION, f"more than {self._limits.rate} frames a second")
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, Pong):
            self._pong_missing = False
        elif isinstance(event, TextMessage | BytesMessage):
            self._on_message(event)

    def _on_message(self, event: TextMessage | BytesMessage) -> None:
        self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
        if len(self._message) > self._limits.message:
            self._close(CloseReason.MESSAGE_TOO_BIG, f"more than {self._limits.message} bytes")
        elif event.message_finished:
            message, self._message = self._message, bytearray()
            if isinstance(event, TextMessage):
                self._send(TextMessage(data=ticks.dump({"type": "echo", "message": message.decode()})))
            else:
                self._send(BytesMessage(data=bytes(message)))

    def _within_rate(self, event: Event) -> bool:
        """Whether there is allowance left. Parts of one frame, as they come, are no frames."""
        if isinstance(event, TextMessage | BytesMessage) and not event.frame_finished:
            return True
        now, rate = asyncio.get_running_loop().time(), self._limits.rate
        self._allowance = min(rate, self._allowance + (now - self._allowed_at) * rate) - 1
        self._allowed_at = now
        return self._allowance >= 0

    def _close(self, code: int, reason: str) -> None:
        """Close on a client that does not keep to the rules; it has a moment to hear why."""
        self.broke_the_rules(reason)
        self.over = True
        self._send(CloseConnection(code=code, reason=reason))
        self._next_ping = asyncio.get_running_loop().time() + CLOSE_TIMEOUT

    def _send(self, event: Event) -> None:
        self.transport.write(self._protocol.send(event))
