"""The WebSocket of /api/ws: echoes, ticks, pings, and limits.

wsproto does the protocol: it is made for servers whose request another parser has read, gives whole events
instead of frames, and checks UTF-8 and the order of frames.
"""

from __future__ import annotations

import asyncio
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
from wsproto.handshake import WEBSOCKET_VERSION

from app.streams import ticks
from app.streams.loop import Stream, StreamLoop

CLOSE_TIMEOUT = 2.0
"""Seconds that a client whose connection has failed has to close its end, before it is reset."""


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

    kind = "websocket"

    def __init__(self, loop: StreamLoop, start: ticks.Resume, limits: Limits, key: str) -> None:
        """`key` is the request's Sec-WebSocket-Key."""
        super().__init__(loop, start)
        self._limits = limits
        self._protocol = WSConnection(ConnectionType.SERVER)
        # The handshake has been checked, with our own reasons; wsproto gets what it makes its response of.
        # Extensions and subprotocols there are none.
        self._protocol.initiate_upgrade_connection(
            [
                (b"Host", b"localhost"),
                (b"Connection", b"Upgrade"),
                (b"Upgrade", b"websocket"),
                (b"Sec-WebSocket-Version", WEBSOCKET_VERSION),
                (b"Sec-WebSocket-Key", key.encode("latin-1")),
            ],
            b"/",
        )
        self._message = bytearray()  # what has come of it
        self._allowance = float(limits.rate)
        self._allowed_at = 0.0
        self._next_ping = 0.0
        self._pong_missing = False
        self._failed = False  # what still comes is thrown away

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

    def encode_missing(self, missing: dict[str, object]) -> bytes:
        """Make the message about ticks that do not come."""
        return self._protocol.send(TextMessage(data=ticks.dump({"type": "missing", **missing})))

    def say_farewell(self, retry: int) -> None:
        """Close with 1012, service restart. The client answers the close and goes."""
        self._send(CloseConnection(code=CloseReason.SERVICE_RESTART, reason=ticks.dump({"retry": retry})))

    def tend(self, now: float) -> None:
        """Ping, and give up a client that did not answer the last one."""
        super().tend(now)
        if self.over or self.transport.is_closing() or now < self._next_ping:
            return
        if self._pong_missing:
            self._fail(CloseReason.INTERNAL_ERROR, f"no pong within {self._limits.ping:g} s")
            return
        if self._next_ping:
            self._pong_missing = True
            self._send(Ping())
        self._next_ping = now + self._limits.ping

    def data_received(self, data: bytes) -> None:
        """Act on what came."""
        if self._failed or self.transport.is_closing():
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            self._on(event)
            if self._failed:
                return

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
        elif isinstance(event, CloseConnection):  # wsproto's word for what it cannot understand
            self._fail(event.code, event.reason or "not understood")
        elif state is not ConnectionState.OPEN:
            pass  # we have closed; what comes before the answer to that is of no use any more
        elif not self._within_rate(event):
            self._fail(CloseReason.POLICY_VIOLATION, f"more than {self._limits.rate} frames a second")
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, Pong):
            self._pong_missing = False
        elif isinstance(event, TextMessage | BytesMessage):
            self._on_message(event)

    def _on_message(self, event: TextMessage | BytesMessage) -> None:
        self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
        if len(self._message) > self._limits.message:
            self._fail(CloseReason.MESSAGE_TOO_BIG, f"more than {self._limits.message} bytes")
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

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455, 7.1.7): send the reason and close our end of TCP at once.

        The client may not have to be understood any more, so nothing is read of its answer. It is received,
        though, until the client closes too: unread, it would turn our close into a reset, which may overtake
        the reason.
        """
        self.broke_the_rules(reason)
        self.over = self._failed = True
        if self._protocol.state is ConnectionState.OPEN:  # else a close was sent before
            self._send(CloseConnection(code=code, reason=reason))
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _send(self, event: Event) -> None:
        self.transport.write(self._protocol.send(event))
