"""The drain in ASGI workers: Gunicorn's own and uvicorn's, which call no hook that sees a response.

An ASGI middleware around the application counts requests, announces closes and responds to the readiness
probe. It also notifies WebSockets, with code 1012, and streaming responses, by an event in their scope.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gunicorn_drain.http2 import last_stream
from gunicorn_drain.idle import IDLE, IdleConnections
from gunicorn_drain.policy import DrainPolicy
from gunicorn_drain.probes import Probe, ProbeMatcher
from gunicorn_drain.shared import StreamCounter
from gunicorn_drain.support import LOOP, stop_accepting

if TYPE_CHECKING:
    from gunicorn_drain.drain import Drain

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[int, Any], Any]

TERMINATING = "gunicorn_drain.terminating"
"""Key in the scope of an asyncio.Event that is set when the process is asked to terminate.

A response without an end, such as an event stream, ends itself then; the drain waits for it.
"""

WEBSOCKET = "websocket"
"""Kind of streams as which WebSockets are counted."""

SERVICE_RESTART = 1012
"""Close code of a WebSocket whose client should reconnect (IANA's registry for RFC 6455)."""

NOTIFY_FIRST, NOTIFY_LAST = 0.2, 0.6
"""Shares of the policy's maximum between which WebSockets are notified: not all clients reconnect at once."""

POLL = 0.1
"""Interval between two checks whether the process is asked to terminate, in seconds."""

CLOSE_TIMEOUT = 1.0
"""Timeout of the end of an HTTP/2 connection, in seconds; Gunicorn 25 and 26 never report it."""

current_request: ContextVar[Any] = ContextVar("gunicorn_drain.request", default=None)
"""Request that Gunicorn's ASGI worker has passed to the hook `pre_request`."""


class DrainMiddleware:
    """ASGI middleware that drains its application."""

    def __init__(self, application: Application, drain: Drain, readiness: str | None = None) -> None:
        self._application = application
        self._drain = drain
        self._readiness = None if readiness is None else ProbeMatcher([Probe(readiness)])
        self._terminating: asyncio.Event | None = None
        self._poll: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket or the lifespan."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        worker = self._drain.worker
        request = current_request.get()

        async def announce(message: Message) -> None:
            with worker.guarded("response"):
                message = self._with_close(scope, message, request)
            await send(message)

        responds = is_counted = False
        with worker.guarded("request"):
            scope[TERMINATING] = self._event()
            responds = self._readiness is not None and self._readiness.matches_scope(scope)
            if not responds and not self._drain.probes.matches_scope(scope):
                worker.count_in()
                is_counted = True
        if responds:
            await self._respond_ready(scope, announce)
            return
        try:
            await self._application(scope, receive, announce)
        finally:
            with worker.guarded("response"):
                if is_counted:
                    worker.count_out()
        if self._drain.terminating_since:
            with worker.guarded("response"):
                await _announce_close(request)

    def _with_close(self, scope: Scope, message: Message, request: Any) -> Message:
        """Return a message to the server, with the announcement of the close where one is due."""
        if message["type"] != "http.response.start" or not self._drain.terminating_since:
            return message
        if request is not None and hasattr(request, "must_close"):
            request.must_close = True  # otherwise Gunicorn keeps the connection that the header closes
        # HTTP/2 has no such header; its connections get a GOAWAY after the response.
        if not scope.get("http_version", "1.1").startswith("1."):
            return message
        kept = [each for each in message.get("headers", ()) if each[0].lower() != b"connection"]
        return {**message, "headers": [*kept, (b"connection", b"close")]}

    async def _respond_ready(self, scope: Scope, send: Send) -> None:
        status, body = self._drain.readiness()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        worker, is_counted = self._drain.worker, False
        notice: asyncio.Task[None] | None = None
        closed = False

        async def track(message: Message) -> None:
            nonlocal notice, closed
            if closed:  # by the notice; the application receives websocket.disconnect
                return
            if message["type"] == "websocket.accept":
                with worker.guarded("WebSocket"):
                    notice = asyncio.create_task(notify())
            closed = message["type"] == "websocket.close"
            await send(message)

        async def notify() -> None:
            with worker.guarded("WebSocket"):
                await close_in_time()

        async def close_in_time() -> None:
            nonlocal closed
            await self._event().wait()
            policy = self._drain.policy or DrainPolicy()
            due = self._drain.terminating_since + policy.maximum * random.uniform(NOTIFY_FIRST, NOTIFY_LAST)  # noqa: S311 - to spread
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if not closed:
                closed = True
                self._drain.count_stream(WEBSOCKET, StreamCounter.NOTIFIED)
                await send({"type": "websocket.close", "code": SERVICE_RESTART, "reason": "service restart"})

        with worker.guarded("WebSocket"):
            scope[TERMINATING] = self._event()
            self._drain.count_stream(WEBSOCKET, StreamCounter.OPENED)
            self._drain.count_stream(WEBSOCKET, StreamCounter.OPEN)
            is_counted = True
        try:
            await self._application(scope, receive, track)
        finally:
            with worker.guarded("WebSocket"):
                if is_counted:
                    self._drain.count_stream(WEBSOCKET, StreamCounter.OPEN, -1)
            if notice is not None:
                notice.cancel()

    def _event(self) -> asyncio.Event:
        """Return the event of TERMINATING; the first call starts the task that sets it."""
        if self._terminating is None:
            self._terminating = asyncio.Event()
            self._poll = asyncio.create_task(self._watch(self._terminating))
        return self._terminating

    async def _watch(self, terminating: asyncio.Event) -> None:
        while not self._drain.terminating_since:
            await asyncio.sleep(POLL)
        terminating.set()


async def _announce_close(request: Any) -> None:
    """Close the HTTP/2 connection of `request` with a GOAWAY, if it is idle now."""
    if (stream := last_stream(request)) is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await stream.connection.close(last_stream_id=stream.stream_id)


def wrap_application(worker: Any, drain: Drain, readiness: str | None) -> None:
    """Wrap the application of an ASGI worker."""
    drain.declare_streams(WEBSOCKET)
    attribute = "asgi" if is_gunicorns(worker) else "wsgi"
    setattr(worker, attribute, DrainMiddleware(getattr(worker, attribute), drain, readiness))


def is_gunicorns(worker: Any) -> bool:
    """Return whether an ASGI worker is Gunicorn's own, not uvicorn's."""
    return hasattr(worker, "asgi")


def restore_post_request(worker: Any, own: object) -> None:
    """Restore the hook `post_request` of the configuration itself, `own`; the drain needs none here.

    Gunicorn keeps a connection waiting until a background task ends if there is a hook to call after it.
    """
    setting = worker.cfg.settings["post_request"]
    if own is None:
        setting.value = setting.default
    else:
        setting.set(own)


def take_over_sigterm(worker: Any, drain: Drain) -> None:
    """Let a retiring ASGI worker drain at SIGTERM before its server stops."""
    on_sigterm = drain.worker.on_sigterm
    if not is_gunicorns(worker):
        return  # uvicorn sets its handlers when it begins to serve
    from gunicorn.asgi.protocol import ASGIProtocol

    idle = IdleConnections(worker, ASGIProtocol)

    def stop(*_: Any) -> None:
        worker.handle_exit_signal()
        idle.close_from_now_on()

    # asyncio's handlers are called in addition to one of signal.signal(), so they are replaced as well.
    worker.loop.add_signal_handler(signal.SIGQUIT, worker.handle_quit_signal)
    worker.loop.add_signal_handler(signal.SIGTERM, on_sigterm, stop, signal.SIGTERM, None)


def _stop_uvicorn(worker: Any, drain: Drain, stop: Handler, sig: int, frame: Any) -> None:
    """Stop a uvicorn worker; under traffic not before it has read from the connections that it accepted last.

    uvicorn closes those at once. In the meantime the next service accepts, which has the same listeners.
    """
    stop_accepting(worker)
    loop = getattr(worker, LOOP)
    if drain.worker.seconds_since_request >= IDLE:
        stop(sig, frame)
    else:
        loop.call_soon_threadsafe(
            loop.call_later, min(IDLE, worker.cfg.graceful_timeout / 2), stop, sig, frame
        )


def mark_ready_when_serving(worker: Any, drain: Drain) -> None:
    """Mark the worker ready at its first heartbeat: the lifespan's startup is complete, the listeners accept.

    Not before: a startup may take longer than Gunicorn's `timeout`, and it may fail.
    """
    notify = worker.notify

    def notify_first() -> None:
        worker.notify = notify
        if drain.policy is not None and not is_gunicorns(worker):
            setattr(worker, LOOP, asyncio.get_running_loop())
            stop = partial(_stop_uvicorn, worker, drain, cast("Handler", signal.getsignal(signal.SIGTERM)))
            signal.signal(signal.SIGTERM, partial(drain.worker.on_sigterm, stop))
        drain.mark_ready()
        notify()

    worker.notify = notify_first
