"""Event streams and WebSockets on a running service: responses, limits, and cost for other clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import psutil
import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from app.settings import WORKER_CLASSES
from gunicorn_fast import LEADER_WORKER
from tests.process.clients import Connection, Lost, get
from tests.process.service import QUICK, SLACK, Service, connections_of, for_each_class
from tests.process.streams import EventStream, Socket, now
from tests.waiting import wait_until
from tools.course.streams import Streams

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def count(service: Service, what: str, kind: str) -> float:
    return service.metric(f'streams_{what}{{kind="{kind}"}}')


def streams_open(service: Service) -> float:
    return count(service, "open", "events") + count(service, "open", "websocket")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    settings = {"WEBSOCKET_MESSAGE": 1000, "WEBSOCKET_RATE": 20, "WEBSOCKET_PING": 1, "APP_VERSION": "v7"}
    with Service(WORKERS=1, THREADS=4, STREAM_LIMIT=60, **settings) as service:  # type: ignore[arg-type]
        yield service.ready()


@pytest.fixture(scope="module", params=WORKER_CLASSES)
def every(request: pytest.FixtureRequest) -> Iterator[Service]:
    with Service(WORKER_CLASS=request.param, WORKERS=1, THREADS=2, APP_VERSION="v7") as service:
        yield service.ready()


# ---- responses ---------------------------------------------------------------------------------------


def test_event_stream_sends_a_tick_per_second(every: Service) -> None:
    with EventStream(every.port) as stream:
        headers = {name.decode(): value.decode() for name, value in stream.head.headers}
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert headers["connection"] == "close"
        event = stream.event()
        assert event is not None
        first = int(event["id"])
        assert abs(first - now()) <= 1
        assert json.loads(event["data"]) == {"sequence": first, "version": "v7", "pod": socket.gethostname()}
        began = time.monotonic()
        assert [stream.tick() for _ in range(3)] == [first + 1, first + 2, first + 3]
        assert 1.5 < time.monotonic() - began < 5


def test_heartbeats_are_comments(service: Service) -> None:
    with EventStream(service.port) as stream:
        assert ": heartbeat" in (stream.part() for _ in range(20))


def test_websocket_sends_ticks_and_echoes(every: Service) -> None:
    with Socket(every.port) as ws:
        first = ws.tick()
        assert abs(first - now()) <= 1
        ws.send_event(TextMessage("a\nü\u2028\U0001f600"))
        assert ws.message("echo") == {"type": "echo", "message": "a\nü\u2028\U0001f600"}
        ws.send_event(TextMessage("in ", message_finished=False))
        ws.send_event(TextMessage("parts"))
        assert ws.message("echo")["message"] == "in parts"
        ws.send_event(BytesMessage(b"\x00\xff"))
        while not isinstance(event := ws.event(), BytesMessage):
            pass
        assert event.data == b"\x00\xff"
        ws.send_event(Ping(b"well?"))
        while not isinstance(pong := ws.event(), Pong):
            pass
        assert pong.payload == b"well?"
        assert ws.tick() > first
        ws.send_event(CloseConnection(1000))
        assert ws.closed().code == 1000
        assert ws.closed_within(5)


def test_message_right_after_the_handshake_is_received(every: Service) -> None:
    hello = bytes([0x81, 0x85, 0, 0, 0, 0]) + b"hello"  # masked with zeros
    with Socket(every.port, early=hello) as ws:
        assert ws.message("echo")["message"] == "hello"


def test_http_1_0_client_receives_unchunked_events(every: Service) -> None:
    with Connection(every.port) as connection:
        connection.socket.sendall(b"GET /api/events HTTP/1.0\r\n\r\n")
        said = b""
        while said.count(b"event: tick") < 2:
            said += connection.socket.recv(65536)
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"chunked" not in head
        assert body.startswith((b"id: ", b": "))


@pytest.mark.parametrize("path", ["/api/events", "/api/ws"])
def test_resumed_stream_repeats_the_missed_ticks(service: Service, path: str) -> None:
    after = now() - 10
    query = f"?last_event_id={after}" if path == "/api/events" else f"?last={after}"
    kind: type[EventStream | Socket] = EventStream if path == "/api/events" else Socket
    with kind(service.port, query=query) as stream:
        began = time.monotonic()
        assert [stream.tick() for _ in range(12)] == list(range(after + 1, after + 13))
        assert time.monotonic() - began < 6


def test_header_takes_precedence_over_the_query(service: Service) -> None:
    after = now() - 5
    with EventStream(service.port, f"Last-Event-ID: {after}", query=f"?last_event_id={after - 3}") as stream:
        assert stream.tick() == after + 1


def test_client_of_a_pod_with_a_fast_clock_receives_no_tick_twice(service: Service) -> None:
    after = now() + 3
    with EventStream(service.port, f"Last-Event-ID: {after}") as stream:
        assert stream.tick() == after + 1


@pytest.mark.parametrize("events", [True, False])
def test_stream_continues_on_another_instance_without_gap_or_repeat(service: Service, events: bool) -> None:
    with Service(WORKERS=2) as other:
        ports = [service.port, other.ready().port]
        last, seen = None, []
        for turn in range(6):
            with (
                EventStream(ports[turn % 2], *([f"Last-Event-ID: {last}"] if last else []))
                if events
                else Socket(ports[turn % 2], query=f"?last={last}" if last else "") as stream
            ):
                seen += [stream.tick() for _ in range(2)]
                last = seen[-1]
            time.sleep(0.3 * turn)  # disconnected, so that ticks are missed
        assert seen == list(range(seen[0], seen[0] + len(seen)))


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Service]:
    with Service(WORKERS=1, THREADS=4, STREAM_REPLAY=4) as service:
        yield service.ready()


def test_event_stream_resumed_after_stream_replay_reports_the_missed_ticks(
    forgetful: Service,
) -> None:
    after = now() - 100
    with EventStream(forgetful.port, f"Last-Event-ID: {after}") as stream:
        event = stream.event()
        assert event is not None
        assert event["event"] == "missing"
        assert "id" not in event  # the client keeps its last ID until the next tick
        missing = json.loads(event["data"])
        assert [stream.tick() for _ in range(6)] == list(range(missing["first"], missing["first"] + 6))
        assert missing["missing"] == missing["first"] - after - 1
        assert abs(now() - 6 - missing["first"]) <= 2  # the four of STREAM_REPLAY, and the current tick


def test_websocket_resumed_after_stream_replay_reports_the_missed_ticks(forgetful: Service) -> None:
    after = now() - 100
    with Socket(forgetful.port, query=f"?last={after}") as ws:
        missing = ws.message("missing")
        assert [ws.tick() for _ in range(6)] == list(range(missing["first"], missing["first"] + 6))
        assert missing["missing"] == missing["first"] - after - 1


def test_client_resumed_within_stream_replay_misses_no_tick(forgetful: Service) -> None:
    after = now() - 3
    with EventStream(forgetful.port, f"Last-Event-ID: {after}") as stream:
        assert [stream.tick() for _ in range(5)] == list(range(after + 1, after + 6))


UNKNOWN = ["x", "-1", "1.5", "9" * 30, "0x10", "999999999999", "a;b=c"]


@pytest.mark.parametrize("last", UNKNOWN)
def test_stream_with_an_unknown_id_begins_with_the_current_tick(service: Service, last: str) -> None:
    with EventStream(service.port, f"Last-Event-ID: {last}") as stream:
        event = stream.event()
        assert event is not None
        assert event["event"] == "missing"
        missing = json.loads(event["data"])
        assert missing["missing"] is None
        assert f"Last-Event-ID is {last!r}" in missing["detail"]
        assert stream.tick() == missing["first"]
        assert abs(missing["first"] - now()) <= 1
    with Socket(service.port, query=f"?{urlencode({'last': last})}") as ws:
        missing = ws.message("missing")
        assert missing["missing"] is None
        assert repr(last) in missing["detail"]
        assert ws.tick() == missing["first"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?lastEventId={after}", ()),
        ("?lastEventId={after}", ("Last-Event-ID: {after}",)),
        ("?evs_preamble=2048&evs_last_event_id={after}", ()),
        ("?Last-Event-ID={after}&_=1700000000", ()),
        ("?lastEventId=&last_event_id={after}", ("Last-Event-ID:",)),
        ("?last_event_id=1700000000&lastEventId={after}", ()),
        ("?lastEventId={after}&lastEventId={after}", ()),
        ("?r=0.123&lastEventId=x", ("last-event-id: {after}",)),
    ],
)
def test_polyfill_resumes(service: Service, query: str, headers: tuple[str, ...]) -> None:
    after = now() - 5
    sent = [header.format(after=after) for header in headers]
    with EventStream(service.port, *sent, query=query.format(after=after)) as stream:
        assert stream.tick() == after + 1
    with Socket(service.port, query=query.format(after=after)) as ws:
        assert ws.tick() == after + 1 or "lastEventId=x" in query


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?_=1700000000", ()),
        ("?lastEventId=", ()),
        ("?last_event_id=", ("Last-Event-ID:",)),
        ("?last=", ("Last-Event-ID: ",)),
        ("?1700000000", ()),
        ("?lost=1&r=0.5&r=%ff", ()),
    ],
)
def test_stream_without_an_id_begins_with_the_current_tick(
    service: Service, query: str, headers: tuple[str, ...]
) -> None:
    with EventStream(service.port, *headers, query=query) as stream:
        assert abs(stream.tick() - now()) <= 1
    with Socket(service.port, query=query) as ws:
        assert abs(ws.tick() - now()) <= 1


KEY = "Sec-WebSocket-Key: "

REFUSED = [
    ("/api/ws", [], 426, "This is a WebSocket"),
    ("/api/ws", HANDSHAKE[:2], 400, "missing Sec-WebSocket-Version and Sec-WebSocket-Key"),
    ("/api/ws", HANDSHAKE[:3], 400, "missing Sec-WebSocket-Version"),
    ("/api/ws", [*HANDSHAKE[:2], HANDSHAKE[3]], 400, "missing Sec-WebSocket-Key"),
    ("/api/ws", [*HANDSHAKE[:3], "Sec-WebSocket-Version: 8"], 426, "Version is '8'; allowed is 13"),
    ("/api/ws", [*HANDSHAKE[:3], "Sec-WebSocket-Version: 0"], 426, "Version is '0'; allowed is 13"),
    ("/api/ws", [*HANDSHAKE[:3], "Sec-WebSocket-Version: 14"], 426, "Version is '14'; allowed is 13"),
    ("/api/ws", [*HANDSHAKE[:2], "Sec-WebSocket-Version: 8"], 426, "Version is '8'; allowed is 13"),
    ("/api/ws", [*HANDSHAKE[:2], KEY + "short", HANDSHAKE[3]], 400, "Key is 'short'; allowed is the base64"),
    ("/api/ws", [*HANDSHAKE[:2], KEY + "*" * 24, HANDSHAKE[3]], 400, "allowed is the base64 of 16 bytes"),
]


@pytest.mark.parametrize(("path", "headers", "status", "says"), REFUSED)
def test_wrong_handshake_is_refused(
    service: Service, path: str, headers: list[str], status: int, says: str
) -> None:
    response = service.get(path, *headers)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert says in json.loads(response.body)["detail"]
    assert (response.headers.get("upgrade") == "websocket") is (status == 426)
    assert response.headers.get("sec-websocket-version") == ("13" if status == 426 else None)
    assert response.headers["connection"].split(", ")[1:] == (["Upgrade"] if status == 426 else [])


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_426_in_a_drain_announces_the_close(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, **{**QUICK, "DRAIN_MIN": 3}) as service:
        service.ready().begin_drain()
        assert service.get("/api/ws").headers["connection"] == "close, Upgrade"


def test_event_stream_responds_to_head_and_refuses_post(service: Service) -> None:
    with Connection(service.port) as connection:
        connection.socket.sendall(
            b"HEAD /api/events HTTP/1.1\r\nHost: test\r\n\r\nGET /api HTTP/1.1\r\nHost: test\r\n\r\n"
        )
        said = b""
        while b"Hello" not in said:
            said += connection.socket.recv(65536)
        assert said.startswith(b"HTTP/1.1 200 OK")
        assert b"text/event-stream" in said
        connection.socket.sendall(b"POST /api/events HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        assert connection.response().status == 405


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
@pytest.mark.parametrize(
    "body", ["Content-Length: 2\r\n\r\nxx", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_request_with_a_body_is_refused_by_streams(worker_class: str, body: str) -> None:
    with Service(WORKER_CLASS=worker_class) as service, Connection(service.ready().port) as connection:
        connection.socket.sendall(f"GET /api/events HTTP/1.1\r\nHost: test\r\n{body}".encode())
        response = connection.response()
        assert (response.status, b"has no body" in response.body) == (400, True)
        assert service.said("Traceback") == 0


# ---- limits and protocol errors ----------------------------------------------------------------------


def test_too_long_message_closes_the_websocket(service: Service) -> None:
    with Socket(service.port) as ws:
        ws.send_event(TextMessage("a" * 1000))
        assert ws.message("echo")["message"] == "a" * 1000
        ws.send_event(TextMessage("ü" * 501))  # characters of two bytes
        assert ws.closed().code == 1009
    with Socket(service.port) as ws:
        for _ in range(2):
            ws.send_event(BytesMessage(b"a" * 501, message_finished=False))
        assert ws.closed().code == 1009


def test_too_many_messages_close_the_websocket(service: Service) -> None:
    with Socket(service.port) as ws:
        for _ in range(20):
            ws.send_event(TextMessage("a"))
        for _ in range(20):
            ws.message("echo")
        with contextlib.suppress(OSError):
            for _ in range(40):
                ws.send_event(TextMessage("a"))
        assert ws.closed().code == 1008


def test_missing_pong_closes_the_websocket(service: Service) -> None:
    wait_until(lambda: streams_open(service) == 0, "none open")  # of earlier tests
    before = count(service, "dropped_total", "websocket")
    with Socket(service.port) as responding, Socket(service.port) as silent:
        for _ in range(5):  # responds to pings meanwhile, and stays
            responding.tick()
        assert silent.closed(respond=False).code == 1011
        assert responding.tick()
    wait_until(lambda: streams_open(service) == 0, "none open")
    assert count(service, "dropped_total", "websocket") == before + 1


PROTOCOL_ERRORS = [
    (b"\x81\x82\x00\x00\x00\x00\xff\xff", 1007),  # no UTF-8
    (b"\x81\x05hello", 1002),  # not masked
    (b"\x83\x80\x00\x00\x00\x00", 1002),  # an unknown opcode
    (b"\x80\x80\x00\x00\x00\x00", 1002),  # a continuation of nothing
    (b"\xc1\x80\x00\x00\x00\x00", 1002),  # a reserved bit
    (b"\x88\x81\x00\x00\x00\x00x", 1002),  # a close with half a code
    (b"\x82\xfe\x04\x00\x00\x00\x00\x00" + b"a" * 1024, 1009),  # longer than WEBSOCKET_MESSAGE
    (b"\x8a\x80\x00\x00\x00\x00" * 100, 1008),  # more than WEBSOCKET_RATE
]


@pytest.mark.parametrize(("frame", "code"), PROTOCOL_ERRORS)
def test_server_closes_tcp_at_once_after_a_protocol_error(service: Service, frame: bytes, code: int) -> None:
    with Socket(service.port) as ws:
        ws.socket.sendall(frame)
        assert ws.closed().code == code
        ws.send_event(
            CloseConnection(code)
        )  # as a client does, which then waits for the server (RFC 6455, 7.1.1)
        assert ws.closed_within(5)
        assert ws.socket.recv(1) == b""  # and not the reset after FAILED_TIMEOUT
    assert "Traceback" not in service.log


def test_client_that_does_not_close_after_a_protocol_error_is_dropped(service: Service) -> None:
    wait_until(lambda: streams_open(service) == 0, "none open")  # of earlier tests
    before = count(service, "dropped_total", "websocket")
    with Socket(service.port) as ws:
        ws.socket.sendall(b"\x83\x80\x00\x00\x00\x00")
        assert ws.closed().code == 1002
        assert ws.closed_within(SLACK)
        with contextlib.suppress(OSError):  # all of this is discarded, until the reset
            while True:
                ws.socket.sendall(b"\x81\x85\x00\x00\x00\x00hello")
                time.sleep(0.01)
        wait_until(lambda: streams_open(service) == 0, "none open")
    assert count(service, "dropped_total", "websocket") == before + 1


def test_protocol_error_after_the_announcement_of_a_restart_ends_the_connection() -> None:
    with Service(WORKERS=1, DRAIN_MIN=0, DRAIN_QUIET=0, DRAIN_MAX=20) as service:
        with Socket(service.ready().port) as ws:
            service.signal(signal.SIGTERM)
            assert ws.closed().code == 1012
            ws.socket.sendall(b"\x83\x80\x00\x00\x00\x00")
            assert ws.closed_within(SLACK)
        service.wait()


def test_client_that_sends_into_an_event_stream_is_dropped(service: Service) -> None:
    wait_until(lambda: streams_open(service) == 0, "none open")  # of earlier tests
    before = count(service, "dropped_total", "events")
    with EventStream(service.port) as stream, contextlib.suppress(OSError):
        for _ in range(100):
            stream.socket.sendall(b"a" * 65536)
    wait_until(lambda: count(service, "dropped_total", "events") == before + 1, "it is dropped")


def test_stream_beyond_the_limit_gets_503(service: Service) -> None:
    wait_until(lambda: streams_open(service) == 0, "none open")
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(EventStream(service.port))
        response = service.get("/api/events")
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert service.get("/api/ws", *HANDSHAKE).status == 503
        assert service.get("/api").status == 200
    wait_until(lambda: streams_open(service) == 0, "none open")
    with EventStream(service.port) as stream:
        stream.tick()


def test_client_that_does_not_read_is_dropped() -> None:
    def check(worker_class: str) -> None:
        with (
            Service(
                WORKER_CLASS=worker_class, WORKERS=1, WEBSOCKET_RATE=10000, WEBSOCKET_MESSAGE=100_000
            ) as service,
            Socket(service.ready().port) as reading,
            Socket(service.port) as deaf,
        ):
            worker = psutil.Process(service.workers[0])
            before = worker.memory_info().rss
            deaf.socket.settimeout(1)
            with contextlib.suppress(OSError):  # the service stops reading from a client that does not read
                for _ in range(1000):
                    deaf.send_event(BytesMessage(b"a" * 100_000))
            wait_until(lambda: count(service, "dropped_total", "websocket") == 1, "it is dropped")
            assert worker.memory_info().rss - before < 20_000_000
            assert reading.tick()
            assert count(service, "open", "websocket") == 1

    for_each_class(check)


# ---- cost for other clients --------------------------------------------------------------------------


def test_streams_hold_no_threads_and_are_no_requests_in_flight(every: Service) -> None:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(EventStream(every.port)) for _ in range(10)]
        sockets = [stack.enter_context(Socket(every.port)) for _ in range(10)]
        everybody: list[EventStream | Socket] = [*streams, *sockets]
        assert every.get("/api").status == 200
        assert every.get("/health").status == 200
        wait_until(lambda: every.metric("lifecycle_requests_in_flight") == 0, "none in flight")
        assert (count(every, "open", "events"), count(every, "open", "websocket")) == (10, 10)
        worker = psutil.Process(every.workers[0])
        # The pool's 2, the threads for probes, and the worker's own: none for a stream.
        assert worker.num_threads() < len(everybody)
        before, began = sum(worker.cpu_times()[:2]), time.monotonic()
        for each in everybody:
            assert [each.tick() for _ in range(3)]
        busy = (sum(worker.cpu_times()[:2]) - before) / (time.monotonic() - began)
        assert busy < 0.5  # no poller spins on a detached connection
    wait_until(lambda: streams_open(every) == 0, "none open")


@pytest.mark.parametrize("end", ["close", "half-close", "reset"])
def test_closed_streams_leave_no_count_and_no_file(every: Service, end: str) -> None:
    worker = psutil.Process(every.workers[0])
    with EventStream(every.port) as first:  # which starts the loop, with its own files
        first.tick()
    wait_until(lambda: streams_open(every) == 0, "none open")
    before = {what: count(every, f"{what}_total", "events") for what in ("told", "moved", "dropped")}
    files = worker.num_fds()
    kinds: tuple[type[EventStream | Socket], ...] = (EventStream, Socket)
    streams = [kind(every.port) for kind in kinds for _ in range(5)]
    assert streams_open(every) == 10
    for each in streams:
        if end == "half-close":
            each.socket.shutdown(socket.SHUT_WR)
        else:
            if end == "reset":
                each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.close()
    wait_until(lambda: streams_open(every) == 0, "none open")
    for each in streams:
        each.close()
    wait_until(lambda: worker.num_fds() <= files, "their files are closed")
    assert {what: count(every, f"{what}_total", "events") for what in before} == before


def test_five_hundred_streams_leave_every_thread_to_requests() -> None:
    threads = 8
    with Service(WORKERS=1, THREADS=threads) as service:
        port = service.ready().port
        with Streams(f"http://127.0.0.1:{port}", events=500) as streams, contextlib.ExitStack() as stack:
            slow = [stack.enter_context(Connection(port)) for _ in range(threads)]
            for each in slow:
                each.send("/api/sleep/3")
            wait_until(
                lambda: service.metric("lifecycle_requests_in_flight") == threads, f"{threads} in flight"
            )
            assert get(port, "/health").status == 200
            assert [each.response().status for each in slow] == [200] * threads
            streams.wait_until_current()
            assert (streams.stats.lost, streams.stats.repeated, streams.stats.aborted.total()) == (0, 0, 0)


# ---- notification and end of streams -----------------------------------------------------------------


def notifications(service: Service) -> tuple[float, ...]:
    return tuple(
        sum(count(service, f"{what}_total", kind) for kind in ("events", "websocket"))
        for what in ("told", "moved", "forced")
    )


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_clients_are_notified_evenly_after_sigterm_and_move(worker_class: str) -> None:
    settings = {"WORKER_CLASS": worker_class, "WORKERS": 1, **QUICK, "DRAIN_MAX": 10}
    with Service(**settings) as leaving, Service(**settings) as successor:
        urls = [f"http://127.0.0.1:{each.ready().port}" for each in (leaving, successor)]
        where = urls[0]
        with Streams(lambda: where, events=60, sockets=60) as streams:
            where = urls[1]
            asked = time.time()
            leaving.signal(signal.SIGTERM)
            took = leaving.wait()
            streams.wait_until_current()
            stats = streams.stats
            print(worker_class, f"exit after {took:.2f} s;", stats)
        assert (stats.lost, stats.repeated, stats.aborted.total()) == (0, 0, 0), str(stats)
        moments = sorted(at - asked for at in stats.notified)
        assert len(moments) == 120
        # From one fifth of DRAIN_MAX to three fifths, evenly: no client early, and no client later than the
        # delay of a busy machine.
        for number, moment in enumerate(moments):
            assert 0 <= moment - (2 + 4 * number / 120) <= SLACK
        assert leaving.said(
            "Long-lived connections: 120 asked to reconnect, 120 closed in time, "
            "0 closed at the deadline, 0 still open"
        )
        assert leaving.said("Drain ended: quiet")
        assert took <= 10 + SLACK  # DRAIN_MAX; usually 7 s


def test_notification_has_a_random_retry_interval(every: Service) -> None:
    settings = {"STREAM_RETRY_MIN": 1.5, "STREAM_RETRY_MAX": 2.5, "APP_VERSION": "v7", **QUICK}
    with Service(WORKERS=1, **settings) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        streams = [stack.enter_context(EventStream(port)) for _ in range(10)]
        sockets = [stack.enter_context(Socket(port)) for _ in range(10)]
        service.signal(signal.SIGTERM)
        retries = []
        for each in streams:
            event = each.notification()
            assert set(event) == {"event", "retry", "data"}  # no ID: the last tick's ID stays
            assert event["event"] == "restart"
            assert json.loads(event["data"]) == {"reason": "service restart", "pod": socket.gethostname()}
            retries.append(int(event["retry"]))
            assert each.event() is None
            assert each.ended
            each.close()
        for ws in sockets:
            close = ws.closed()
            assert close.code == 1012
            retries.append(json.loads(close.reason or "")["retry"])
            ws.send_event(close.response())
            assert ws.closed_within(5)
        assert all(1500 <= retry <= 2500 for retry in retries)
        assert len(set(retries)) > 10
        service.wait()


def test_client_that_ignores_the_notification_is_closed_before_the_drain_ends() -> None:
    def check(worker_class: str) -> None:
        with (
            Service(WORKER_CLASS=worker_class, WORKERS=1, **QUICK) as service,
            EventStream(service.ready().port) as stays,
            Socket(service.port) as stays_too,
            Socket(service.port) as goes,
        ):
            service.signal(signal.SIGTERM)
            stays.notification()
            goes.send_event(goes.closed().response())
            stays_too.closed()
            while stays_too.protocol.state.name == "REMOTE_CLOSING":
                if stays_too.closed_within(0.1):
                    break
                with contextlib.suppress(OSError):
                    stays_too.socket.sendall(b"\x8a\x80\0\0\0\0")  # a pong, and no close
            assert time.monotonic() - service.signalled >= 0.8 * QUICK["DRAIN_MAX"] - 0.2
            assert service.wait() <= QUICK["DRAIN_MAX"] + 2 * SLACK
            assert service.said("Drain ended: quiet") == 1
            assert service.said("closed 4.8 s after the drain began, whose clients had not reconnected") == 1
            assert service.said(
                "Long-lived connections: 3 asked to reconnect, 1 closed in time, "
                "2 closed at the deadline, 0 still open"
            )

    for_each_class(check)


def test_stream_opened_during_the_drain_is_served_and_notified_soon() -> None:
    with Service(WORKERS=1, **{**QUICK, "DRAIN_MIN": 5}) as service:
        port = service.ready().port
        service.begin_drain()
        wait_until(
            lambda: time.monotonic() - service.signalled > 4, "the time of all notifications has passed"
        )
        after = now() - 3
        with EventStream(port, f"Last-Event-ID: {after}") as stream:
            assert [stream.tick() for _ in range(3)] == [after + 1, after + 2, after + 3]
            stream.notification()
        service.wait()
        assert service.said("Long-lived connections: 1 asked to reconnect, 1 closed in time") == 1


def test_hundreds_of_clients_move_without_loss() -> None:
    with Service(WORKERS=1, **QUICK) as leaving, Service(WORKERS=1) as successor:
        urls = [f"http://127.0.0.1:{each.ready().port}" for each in (leaving, successor)]
        where = urls[0]
        with Streams(lambda: where, events=150, sockets=150) as streams:
            where = urls[1]
            leaving.signal(signal.SIGTERM)
            leaving.wait()
            streams.wait_until(lambda: len(streams.stats.connects) >= 300, 60)
            streams.wait_until_current()
            print(streams.stats)
            assert (streams.stats.lost, streams.stats.repeated) == (0, 0), str(streams.stats)


def test_streams_are_cut_without_the_drain() -> None:
    def check(worker_class: str) -> None:
        with (
            Service(WORKER_CLASS=worker_class, DRAIN="off", GRACEFUL_TIMEOUT=2) as service,
            EventStream(service.ready().port) as stream,
            Socket(service.port) as ws,
        ):
            service.signal(signal.SIGTERM)
            with pytest.raises(Lost):
                stream.notification()
            with pytest.raises(Lost):
                ws.closed()
            assert service.wait() <= 2 + SLACK

    for_each_class(check)


@pytest.mark.parametrize(
    ("worker_class", "number"),
    [*((name, signal.SIGTERM) for name in WORKER_CLASSES), (LEADER_WORKER, signal.SIGINT)],
)
def test_stop_without_a_drain_notifies_clients_without_waiting(
    worker_class: str, number: signal.Signals
) -> None:
    with (
        Service(WORKER_CLASS=worker_class, WORKERS=1, DRAIN_MIN=20, DRAIN_MAX=20) as service,
        EventStream(service.ready().port) as stream,
        Socket(service.port) as ws,
    ):
        if number == signal.SIGTERM:
            service.begin_drain()
        service.signal(number)
        assert stream.notification()["event"] == "restart"
        assert ws.closed().code == 1012
        assert service.wait() <= 2 * SLACK  # and not the 20 s of the drain


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTOU])
def test_streams_of_a_retiring_worker_move_to_other_workers(number: signal.Signals) -> None:
    with Service(WORKERS=2, **QUICK) as service:
        with Streams(f"http://127.0.0.1:{service.ready().port}", events=40, sockets=40) as streams:
            held = {pid: connections_of(pid) for pid in service.workers}
            assert sum(held.values()) == 80
            service.signal(number)
            # SIGHUP replaces both, SIGTTOU leaves one of them: as many exit as then remain.
            expected = 2 if number == signal.SIGHUP else 1
            wait_until(
                lambda: len(set(held) - set(service.workers)) == expected == len(service.workers),
                "the old workers are gone",
            )
            streams.wait_until_current()
            print(number.name, streams.stats)
            assert (streams.stats.lost, streams.stats.repeated, streams.stats.aborted.total()) == (0, 0, 0)
            assert streams_open(service) == 80
            told, moved, forced = notifications(service)
            assert told >= sum(held[pid] for pid in set(held) - set(service.workers))
            # A client that returns to a worker that is about to exit is notified once more and then closed at
            # the stop, which the log counts: the worker may exit before it has observed one of them leave.
            closed = re.findall(r"had not reconnected: (\d+) events, (\d+) websocket", service.log)
            assert told - moved <= 8 + sum(int(number) for line in closed for number in line)
            assert moved + forced <= told
        service.signal(signal.SIGINT)
        service.wait()


@pytest.mark.parametrize("draining", [False, True])
def test_killed_worker_leaves_no_open_streams(draining: bool) -> None:
    with Service(WORKERS=1, **QUICK) as service, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(EventStream(service.ready().port)) for _ in range(5)]
        (killed,) = service.workers
        if draining:
            service.begin_drain()
        os.kill(killed, signal.SIGKILL)
        for each in streams:
            with pytest.raises(Lost):
                each.notification()
        wait_until(lambda: len(service.workers) == 1 and killed not in service.workers, "a new worker")
        wait_until(lambda: streams_open(service) == 0, "none open")
        assert count(service, "opened_total", "events") == 5  # the count stays
        if not draining:
            service.signal(signal.SIGTERM)
        assert service.wait() <= QUICK["DRAIN_MAX"]
        assert service.said("Drain ended: quiet") == 1


def test_streams_do_not_extend_the_quiet_period(service: Service) -> None:
    """End the drain at the end of the last stream, not later: ticks are no requests."""
    with Service(WORKERS=1, **{**QUICK, "DRAIN_MAX": 4}) as leaving:
        with EventStream(leaving.ready().port) as stream:
            leaving.signal(signal.SIGTERM)
            stream.notification()
        leaving.wait()
        assert leaving.said("Drain ended: quiet") == 1
    assert get(service.port, "/api").status == 200
