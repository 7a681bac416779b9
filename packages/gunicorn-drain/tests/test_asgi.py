"""gunicorn_drain.asgi, called as a server calls it. `make drain-matrix` runs it in servers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gunicorn_drain import Drain, DrainPolicy, StreamCounter
from gunicorn_drain.asgi import SERVICE_RESTART, TERMINATING, WEBSOCKET, DrainMiddleware
from tests.waiting import wait_until

TIMEOUT = 20.0
"""Timeout of one conversation, in seconds."""


@pytest.fixture
def drain() -> Drain:
    made = Drain()
    made.configure(DrainPolicy(minimum=0, quiet=0, maximum=0.5), ["/healthz", "/ready"])
    made.declare_streams(WEBSOCKET)
    made.mark_ready()
    return made


def scope(kind: str = "http", path: str = "/", method: str = "GET", version: str = "1.1") -> dict[str, Any]:
    return {"type": kind, "path": path, "method": method, "http_version": version, "headers": []}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"5"), (b"Connection", b"keep-alive")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"Hello"})


def converse(middleware: DrainMiddleware, scope: dict[str, Any]) -> list[dict[str, Any]]:
    """Serve one request; return the messages that the application sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def serve() -> None:
        async with asyncio.timeout(TIMEOUT):
            await middleware(scope, receive, send)

    asyncio.run(serve())
    return sent


def test_response_before_the_drain_is_unchanged(drain: Drain) -> None:
    start, body = converse(DrainMiddleware(hello, drain), scope())
    assert (b"Connection", b"keep-alive") in start["headers"]
    assert body["body"] == b"Hello"


def test_response_in_the_drain_announces_the_close(drain: Drain) -> None:
    drain.begin_drain()
    start, _ = converse(DrainMiddleware(hello, drain), scope())
    assert [value for name, value in start["headers"] if name.lower() == b"connection"] == [b"close"]
    assert drain.responses_while_draining == 1


def test_response_of_http_2_has_no_connection_header(drain: Drain) -> None:
    async def without(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    drain.begin_drain()
    (start,) = converse(DrainMiddleware(without, drain), scope(version="2"))
    assert start["headers"] == []


def test_request_that_began_before_the_drain_announces_the_close(drain: Drain) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        assert drain.in_flight == 1
        drain.begin_drain()
        await hello(scope, receive, send)

    start, _ = converse(DrainMiddleware(slow, drain), scope())
    assert (b"connection", b"close") in start["headers"]
    assert drain.in_flight == 0


def test_failed_application_counts_as_responded(drain: Drain) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("of the application")

    with pytest.raises(RuntimeError, match="of the application"):
        converse(DrainMiddleware(failing, drain), scope())
    assert drain.in_flight == 0


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/ready"])
def test_probe_is_not_counted(drain: Drain, path: str) -> None:
    async def observe(scope: Any, receive: Any, send: Any) -> None:
        assert drain.in_flight == 0
        await hello(scope, receive, send)

    converse(DrainMiddleware(observe, drain), scope(path=path))
    drain.begin_drain()
    converse(DrainMiddleware(observe, drain), scope(path=path))
    assert drain.last_arrival_seconds == 0


def test_readiness_needs_no_application(drain: Drain) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the application was called")

    middleware = DrainMiddleware(refuse, drain, "/ready")
    start, body = converse(middleware, scope(path="/ready"))
    durations = {"min": 0, "quiet": 0, "max": 0.5}
    assert (start["status"], json.loads(body["body"])) == (200, {"state": "ready", "drain": durations})
    drain.begin_drain()
    start, body = converse(middleware, scope(path="/ready/", method="HEAD"))
    assert (start["status"], body["body"]) == (503, b"")


def test_lifespan_is_untouched(drain: Drain) -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    middleware, lifespan = DrainMiddleware(application, drain), {"type": "lifespan"}
    receive: Callable[[], Awaitable[Any]] = asyncio.Event().wait

    async def send(message: Any) -> None: ...

    asyncio.run(middleware(lifespan, receive, send))
    assert seen == [(lifespan, receive, send)]
    assert lifespan == {"type": "lifespan"}


def test_streaming_response_is_notified_by_an_event(drain: Drain) -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert not scope[TERMINATING].is_set()
        drain.begin_drain()
        await scope[TERMINATING].wait()
        await send({"type": "http.response.body", "body": b"event: end\n\n"})

    sent = converse(DrainMiddleware(stream, drain), scope())
    assert sent[-1]["body"] == b"event: end\n\n"


def test_websocket_is_notified_with_1012(drain: Drain) -> None:
    async def websocket(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        assert drain.streams(StreamCounter.OPEN, WEBSOCKET) == 1
        drain.begin_drain()
        await asyncio.to_thread(
            wait_until, lambda: drain.streams(StreamCounter.NOTIFIED, WEBSOCKET), "a notice", TIMEOUT
        )
        await send({"type": "websocket.send", "text": "too late"})

    accepted, closed = converse(DrainMiddleware(websocket, drain), scope("websocket"))
    assert accepted["type"] == "websocket.accept"
    assert (closed["type"], closed["code"]) == ("websocket.close", SERVICE_RESTART)
    assert drain.streams(StreamCounter.OPEN, WEBSOCKET) == 0


def test_websocket_that_was_closed_is_not_notified(drain: Drain) -> None:
    async def websocket(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        drain.begin_drain()
        await scope[TERMINATING].wait()
        await asyncio.sleep(0.4)  # the latest moment for a notice is 0.3 s after the drain began

    sent = converse(DrainMiddleware(websocket, drain), scope("websocket"))
    assert [each.get("code") for each in sent] == [None, 1000]
    assert drain.streams(StreamCounter.NOTIFIED, WEBSOCKET) == 0


def raise_fault(*arguments: Any) -> Any:
    raise RuntimeError("of the drain")


@pytest.mark.parametrize("part", ["count_in", "count_out", "matches_scope", "_event", "_with_close"])
def test_request_does_not_fail_because_of_the_drain(
    drain: Drain, part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    middleware = DrainMiddleware(hello, drain)
    owner = {"matches_scope": drain.probes, "_event": middleware, "_with_close": middleware}
    monkeypatch.setattr(owner.get(part, drain.worker), part, raise_fault)
    drain.begin_drain()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            _, body = converse(middleware, scope())
            assert body["body"] == b"Hello"
    assert len(caplog.records) == 1
    assert "requests are served without it" in caplog.text
    assert drain.in_flight == (3 if part == "count_out" else 0)


@pytest.mark.parametrize("part", ["count_stream", "_event"])
def test_websocket_does_not_fail_because_of_the_drain(
    drain: Drain, part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def websocket(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.sleep(0.01)
        await send({"type": "websocket.send", "text": "Hello"})

    middleware = DrainMiddleware(websocket, drain)
    monkeypatch.setattr(middleware if part == "_event" else drain, part, raise_fault)
    with caplog.at_level(logging.ERROR):
        accepted, sent = converse(middleware, scope("websocket"))
    assert (accepted["type"], sent["text"]) == ("websocket.accept", "Hello")
    assert len(caplog.records) == 1
