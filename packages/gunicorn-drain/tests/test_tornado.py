"""gunicorn_drain.tornado in tornado's own server. `make drain-matrix` runs it in Gunicorn's worker."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from gunicorn_drain import Drain, DrainPolicy
from gunicorn_drain.tornado import DrainContainer
from tests.waiting import wait_until

TIMEOUT = 20.0
"""Timeout of one conversation, in seconds."""


@pytest.fixture
def drain() -> Drain:
    drain = Drain()
    drain.configure(DrainPolicy(), ["/healthz", "/ready"])
    drain.mark_ready()
    return drain


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]


def native(drain: Drain, in_flight: list[int]) -> Application:
    class Index(RequestHandler):
        async def get(self) -> None:
            in_flight.append(drain.in_flight)
            self.write("Hello")

    class Begins(RequestHandler):
        async def get(self) -> None:
            drain.begin_drain()
            await asyncio.sleep(0)
            self.write("Hello")

    class Waits(RequestHandler):
        async def get(self) -> None:
            in_flight.append(drain.in_flight)
            await asyncio.sleep(TIMEOUT)

    return Application([("/", Index), ("/healthz", Index), ("/begins", Begins), ("/waits", Waits)])


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def get(
        self, path: str = "/", *headers: str, method: str = "GET", version: str = "1.1"
    ) -> tuple[int, str, bytes]:
        """Return the status, the headers in lower case and the body of a response."""
        self.send(path, *headers, method=method, version=version)
        return await self.response(method)

    async def response(self, method: str = "GET") -> tuple[int, str, bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = b"" if method == "HEAD" else await self._reader.readexactly(length)
        return int(head.split()[1]), head, body

    def send(self, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: test", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode())

    async def is_closed(self) -> bool:
        return await self._reader.read() == b""


def converse(application: Any, drain: Drain, talk: Callable[[Client], Awaitable[None]]) -> None:
    """Serve `application` to a client that runs `talk`."""

    async def serve() -> None:
        server = HTTPServer(DrainContainer(application, drain, "/ready"))
        listener, port = bind_unused_port()
        server.add_socket(listener)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(TIMEOUT):
                await talk(Client(reader, writer))
        finally:
            writer.close()
            await writer.wait_closed()
            server.stop()
            await server.close_all_connections()

    asyncio.run(serve())


@pytest.fixture(params=["WSGI", "native"])
def application(request: pytest.FixtureRequest, drain: Drain) -> Any:
    return wsgi if request.param == "WSGI" else native(drain, [])


def test_connection_is_kept_before_the_drain_and_closed_during_the_drain(
    drain: Drain, application: Any
) -> None:
    async def talk(client: Client) -> None:
        status, headers, body = await client.get()
        assert (status, body) == (200, b"Hello")
        assert "connection: close" not in headers
        drain.begin_drain()
        status, headers, body = await client.get()
        assert (status, body) == (200, b"Hello")
        assert "connection: close" in headers
        assert await client.is_closed()

    converse(application, drain, talk)
    assert (drain.in_flight, drain.responses_while_draining) == (0, 1)


def test_request_that_began_before_the_drain_announces_the_close(drain: Drain) -> None:
    async def talk(client: Client) -> None:
        _, headers, body = await client.get("/begins")
        assert body == b"Hello"
        assert "connection: close" in headers
        assert await client.is_closed()

    converse(native(drain, []), drain, talk)


def test_http_1_0_connection_that_asks_to_be_kept_is_closed_in_the_drain(drain: Drain) -> None:
    async def talk(client: Client) -> None:
        _, headers, _ = await client.get("/", "Connection: keep-alive", version="1.0")
        assert "connection: keep-alive" in headers
        drain.begin_drain()
        _, headers, _ = await client.get("/", "Connection: keep-alive", version="1.0")
        assert "connection: close" in headers
        assert "keep-alive" not in headers

    converse(wsgi, drain, talk)


def test_readiness_path_needs_no_application(drain: Drain, application: Any) -> None:
    async def talk(client: Client) -> None:
        status, _, body = await client.get("/ready")
        assert (status, json.loads(body)["state"]) == (200, "ready")
        drain.begin_drain()
        assert (await client.get("/ready/", method="HEAD"))[0] == 503

    converse(application, drain, talk)
    assert drain.last_arrival_seconds == 0


def test_probe_is_not_counted_and_client_request_is(drain: Drain) -> None:
    in_flight: list[int] = []

    async def talk(client: Client) -> None:
        await client.get("/healthz")
        await client.get("/")
        await client.get("/?q=%2F")

    converse(native(drain, in_flight), drain, talk)
    assert in_flight == [0, 1, 1]
    assert drain.in_flight == 0


def test_request_whose_client_disconnects_is_counted_out(drain: Drain) -> None:
    in_flight: list[int] = []

    async def talk(client: Client) -> None:
        client.send("/waits")
        await asyncio.to_thread(wait_until, lambda: in_flight, "a request", TIMEOUT)
        client.writer.close()
        await asyncio.to_thread(wait_until, lambda: not drain.in_flight, "the request's end", TIMEOUT)

    converse(native(drain, in_flight), drain, talk)
    assert in_flight == [1]


def test_large_response_is_counted_out_after_the_last_byte(drain: Drain) -> None:
    size = 50_000_000
    left: list[int] = []

    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [bytes(size)]

    async def talk(client: Client) -> None:
        client.send("/")
        await asyncio.sleep(0.1)  # the client does not read, so the response cannot be complete
        left.append(drain.in_flight)
        assert len((await client.response())[2]) == size
        await asyncio.to_thread(wait_until, lambda: not drain.in_flight, "the request's end", TIMEOUT)

    converse(large, drain, talk)
    assert left == [1]


@pytest.mark.parametrize("method", ["count_in", "count_out"])
def test_request_does_not_fail_because_of_the_drain(
    drain: Drain,
    application: Any,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("of the drain")

    monkeypatch.setattr(drain.worker, method, fail)

    async def talk(client: Client) -> None:
        for _ in range(3):
            assert (await client.get())[::2] == (200, b"Hello")

    with caplog.at_level(logging.ERROR):
        converse(application, drain, talk)
    assert len([record for record in caplog.records if "The drain's tornado" in record.getMessage()]) == 1
