"""LeaderWorker's loop, in one process; tests/process runs the worker in a service."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import InvalidRequestLine, NoMoreData
from gunicorn.instrument.statsd import Statsd
from gunicorn.workers.gthread import ThreadWorker

from gunicorn_drain.probes import Probe, ProbeMatcher
from gunicorn_fast.connection import HeaderLimits
from gunicorn_fast.http import FastParser
from gunicorn_fast.leader_worker import ACCEPTS, LeaderConnection, LeaderWorker, logs_access
from gunicorn_fast.probe_worker import ProbeLaneWorker


@pytest.fixture(params=[LeaderWorker])
def worker(request: pytest.FixtureRequest) -> Iterator[Any]:
    cfg = Config()
    cfg.set("worker_tmp_dir", "/dev/shm")
    worker = request.param(1, os.getpid(), [], None, 30, cfg, Logger(cfg))
    worker.limits = HeaderLimits(cfg)
    worker.fast_parser, worker.logs_access = FastParser(cfg), False
    yield worker
    worker.tmp.close()


@pytest.mark.parametrize("worker", [ProbeLaneWorker, LeaderWorker], indirect=True)
def test_connection_closed_while_its_event_waits_is_closed_once(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One poll reports a timeout's callback and data that a slow client has sent too late."""
    with contextlib.ExitStack() as stack:
        worker.poller = stack.enter_context(selectors.DefaultSelector())
        worker.method_queue.init()
        stack.callback(worker.method_queue.close)
        worker.poller.register(
            worker.method_queue.fileno(), selectors.EVENT_READ, worker.method_queue.run_callbacks
        )
        worker.method_queue.defer(worker.deadlines.expire)
        waits = [
            (worker.deadlines.idle, worker.on_next_request),
            (worker.deadlines.partial, worker.on_more_headers),
            (worker.deadlines.lingering, worker.on_lingering_readable),
        ]
        for queue, callback in waits:
            client, server = socket.socketpair()
            stack.enter_context(client)
            conn = worker.connection_class(worker.cfg, server, ("", 0), ("", 0))
            worker.nr_conns += 1
            worker.wait(conn, queue, 0.0, callback)
            client.send(b"GET / HTTP/1.1\r\n\r\n")
        with caplog.at_level("ERROR", "gunicorn.error"):
            worker.log.error_log.propagate = True
            if isinstance(worker, LeaderWorker):
                worker.poll(block=False)
            else:
                worker.wait_for_and_dispatch_events(0)
        assert worker.nr_conns == 0
        assert [len(queue) for queue, _ in waits] == [0, 0, 0]
        assert caplog.messages == []


def test_simultaneous_connections_are_accepted_together(worker: LeaderWorker) -> None:
    """Otherwise each waits for a round of the loop, which is as long as all requests served in it."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2 * ACCEPTS) as listener,
        contextlib.ExitStack() as stack,
    ):
        listener.setblocking(False)
        for _ in range(ACCEPTS + 1):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        worker.sockets, worker.poller = [listener], stack.enter_context(selectors.DefaultSelector())
        worker.worker_connections = ACCEPTS + 2
        worker.set_accept_enabled(True)
        worker.accept(listener)
        assert worker.nr_conns == ACCEPTS  # the others are for other workers, or for the next round
        worker.accept(listener)
        assert worker.nr_conns == ACCEPTS + 1
        for conn in list(worker.deadlines.unused):
            conn.close()


@contextlib.contextmanager
def connected(worker: LeaderWorker) -> Iterator[tuple[socket.socket, LeaderConnection]]:
    """Return both ends of a connection of `worker`."""
    client, server = socket.socketpair()
    with client, server:
        conn = LeaderConnection(worker.cfg, server, ("127.0.0.1", 1), ("127.0.0.1", 2))
        conn.limits = worker.limits
        yield client, conn


def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


def raising(error: BaseException) -> Callable[..., list[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise error

    return application


def raising_late(error: BaseException) -> Callable[..., Iterator[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        yield b"a"
        raise error

    return application


APPLICATIONS: dict[str, Any] = {
    "response": respond,
    "broken pipe": raising(OSError(errno.EPIPE, "gone")),
    "reset": raising(OSError(errno.ECONNRESET, "reset")),
    "not connected": raising(OSError(errno.ENOTCONN, "not connected")),
    "other OSError": raising(OSError(errno.EIO, "a disk")),
    "incomplete body": raising(NoMoreData()),
    "StopIteration": raising(StopIteration()),
    "fault": raising(ValueError("a fault")),
    "exit": raising(SystemExit(1)),
    "fault after the headers": raising_late(ValueError("a fault")),
    "refused request": InvalidRequestLine("refused"),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_end_of_a_request_is_that_of_gunicorn(
    worker: LeaderWorker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`handle()` is a copy: for every end it returns, raises, logs and sends what the original does."""
    worker.log.error_log.propagate = True
    worker.wsgi = application = APPLICATIONS[name]
    ends = []
    for handle in (ThreadWorker.handle, LeaderWorker.handle):
        caplog.clear()
        with connected(worker) as (client, conn), caplog.at_level("DEBUG", "gunicorn.error"):
            if isinstance(application, Exception):
                conn.refuse(application)
            else:
                conn.headers = b"GET / HTTP/1.1\r\n\r\n"
            client.shutdown(socket.SHUT_WR)  # so that no graceful close waits
            worker.enqueue_req(conn)
            try:
                end: object = handle(worker, conn)
            except BaseException as error:  # noqa: BLE001 - compared below
                end = repr(error)
            with contextlib.suppress(OSError):  # closed already
                conn.sock.shutdown(socket.SHUT_WR)
            received = b"".join(iter(partial(client.recv, 65536), b""))
            sent = [line for line in received.splitlines() if not line.startswith(b"Date:")]
            ends.append((end, sent, [record.levelname for record in caplog.records]))
    assert ends[0] == ends[1]


def test_socket_with_an_applications_timeout_blocks_again_for_the_next_request(worker: Any) -> None:
    timeouts = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        timeouts.append(environ["gunicorn.socket"].gettimeout())
        environ["gunicorn.socket"].settimeout(1)
        return respond(environ, start_response)

    worker.wsgi = application
    with connected(worker) as (_, conn):
        for _ in range(3):
            conn.headers = b"GET / HTTP/1.1\r\n\r\n"
            worker.enqueue_req(conn)
            assert worker.handle(conn)
    assert timeouts == [None, None, None]


def test_probes_between_repeated_requests_get_their_threads(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that the connection repeats is not compared with the probes' paths again."""
    worker.probes = ProbeMatcher([Probe("/health")])
    worker.wsgi = respond
    probes: list[bytes] = []

    def to_probes(conn: LeaderConnection, _pool: object) -> None:
        probes.append(conn.headers)
        conn.parser.unreader.unread(conn.headers)
        conn.headers = b""

    monkeypatch.setattr(worker, "submit", to_probes)
    api, health = b"GET /api HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\r\n\r\n"
    with connected(worker) as (_, conn):
        for headers in (health, health, api, api, health, health, api, health):
            before = len(probes)
            conn.headers = headers
            worker.enqueue_req(conn)
            assert probes[before:] == ([health] if headers is health else [])
            assert worker.handle(conn)


@pytest.mark.parametrize(
    ("kind", "accesslog", "expected"),
    [(Logger, None, False), (Logger, "-", True), (Statsd, None, True), (Statsd, "-", True)],
)
def test_access_log_is_called_only_for_an_effect(
    kind: type[Logger], accesslog: str | None, expected: bool
) -> None:
    cfg = Config()
    cfg.set("accesslog", accesslog)
    cfg.set("statsd_host", "127.0.0.1:8125")
    log: Any = kind(cfg)
    with log.sock if kind is Statsd else contextlib.nullcontext():
        assert logs_access(log) is expected


def test_access_log_that_a_hook_has_replaced_is_called() -> None:
    log: Any = Logger(Config())
    log.access = print
    assert logs_access(log)
