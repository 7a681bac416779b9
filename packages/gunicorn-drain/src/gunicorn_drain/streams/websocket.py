"""WebSockets: messages, pings, limits, and close code 1012 when the service terminates.

wsproto implements the protocol: it is meant for servers whose request another parser has read, returns whole
events instead of frames, and checks UTF-8 and the order of frames.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from gunicorn_drain.extras import extra
from gunicorn_drain.streams.loop import Stream, StreamLoop

with extra("streams"):
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

FAILED_TIMEOUT = 2.0
"""Timeout for the client's close of a failed connection, in seconds; the connection is then reset."""


@dataclass(frozen=True)
class WebSocketLimits:
    """Limits of a client."""

    ping: float = 20.0
    """Interval between two pings in seconds; each must be responded to before the next."""
    message: int = 16384
    """Maximum size of a message in bytes."""
    rate: int = 50
    """Maximum number of frames a second, also of a burst."""


class WebSocket(Stream):
    """A stream of WebSocket messages in both directions."""

    kind = "websocket"

    def __init__(self, loop: StreamLoop, key: str, limits: WebSocketLimits) -> None:
        """Create the WebSocket of a request. `key`: its Sec-WebSocket-Key."""
        super().__init__(loop)
        self._limits = limits
        self._protocol = WSConnection(ConnectionType.SERVER)
        # The handshake has been checked, with our own errors; wsproto gets the headers for its response.
        # There are no extensions and no subprotocols.
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
        self._message = bytearray()  # received so far
        self._allowance = float(limits.rate)
        self._allowed_at = 0.0
        self._next_ping = 0.0
        self._pong_missing = False
        self._failed = False  # data received after that is discarded

    def received(self, message: str | bytes) -> None:
        """Process a message of the client, for a subclass to define."""

    def encode(self, text: str) -> bytes:
        """Return a text message. A server's frames are the same for every client."""
        return self._protocol.send(TextMessage(data=text))

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        if isinstance(message, str):
            self._send(TextMessage(data=message))
        else:
            self._send(BytesMessage(data=message))

    def response_headers(self, status: str, headers: list[tuple[str, str]]) -> bytes:  # noqa: ARG002 - it is always 101
        """Accept the handshake."""
        more = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
            if name != "Content-Type"  # which frameworks add to every response
        ]
        return self._protocol.send(AcceptConnection(extra_headers=more))

    def send_go_away(self, retry: int) -> None:
        """Close with 1012, service restart. The client responds with a close and reconnects."""
        self._send(CloseConnection(code=CloseReason.SERVICE_RESTART, reason=json.dumps({"retry": retry})))

    def maintain(self, now: float) -> None:
        """Send pings, and fail the connection of a client that did not respond to the last ping."""
        super().maintain(now)
        if not self.is_active or now < self._next_ping:
            return
        if self._pong_missing:
            self._fail(CloseReason.INTERNAL_ERROR, f"no pong within {self._limits.ping:g} s")
            return
        if self._next_ping:
            self._pong_missing = True
            self._send(Ping())
        self._next_ping = now + self._limits.ping

    def data_received(self, data: bytes) -> None:
        """Process received data."""
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
            self.close()
        elif isinstance(event, CloseConnection):  # a protocol error, as wsproto reports it
            self._fail(event.code, event.reason or "not understood")
        elif state is not ConnectionState.OPEN:
            pass  # we have closed; messages before the client's close are of no use
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
            self.received(message.decode() if isinstance(event, TextMessage) else bytes(message))

    def _within_rate(self, event: Event) -> bool:
        """Return whether the rate is within its limit. Parts of a frame count only once it is finished."""
        if isinstance(event, TextMessage | BytesMessage) and not event.frame_finished:
            return True
        now, rate = asyncio.get_running_loop().time(), self._limits.rate
        self._allowance = min(rate, self._allowance + (now - self._allowed_at) * rate) - 1
        self._allowed_at = now
        return self._allowance >= 0

    def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455, 7.1.7): send the reason and close our end of TCP at once.

        Later data of the client is received and discarded until it closes too: unread data would turn our
        close into a reset, which may overtake the reason.
        """
        self.record_protocol_error(reason)
        self.finished = self._failed = True
        if self._protocol.state is ConnectionState.OPEN:  # else a close was sent before
            self._send(CloseConnection(code=code, reason=reason))
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(FAILED_TIMEOUT, self.transport.abort)

    def _send(self, event: Event) -> None:
        self.transport.write(self._protocol.send(event))
