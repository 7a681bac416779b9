"""Slow, silent, broken and hostile clients: their responses, and their cost for other clients."""

from __future__ import annotations

import contextlib
import re
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from gunicorn_fast.probe_worker import HEADER_TIMEOUT
from tests.process.clients import Connection, Lost, get
from tests.process.service import QUICK, SLACK, Service
from tests.waiting import wait_until

OURS = (PROBE_LANE_WORKER, LEADER_WORKER)

THREADS = 4

CLIENT_TIMEOUT = 3.0
"""Timeout of a client for a response, in seconds."""


@contextlib.contextmanager
def hostile(port: int) -> Iterator[None]:
    """Run clients that are silent, that send one byte per second, and that never close their end."""
    with contextlib.ExitStack() as stack:

        def crowd() -> list[Connection]:
            return [stack.enter_context(Connection(port)) for _ in range(2 * THREADS)]

        crowd()  # silent
        lazy = crowd()
        for each in lazy:
            each.send("/api", "Connection: close")
        slow, over = crowd(), threading.Event()

        def drip() -> None:
            for byte in b"GET /api HTTP/1.1\r\nHost: test\r\nX-Much-More: to come":
                for each in slow:
                    with contextlib.suppress(OSError):  # it may have been closed already
                        each.socket.send(bytes([byte]))
                if over.wait(1):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            yield
        finally:
            over.set()
            dripping.join()


def longest_wait(port: int) -> float:
    """Send requests on new and kept connections; return the longest wait, at most CLIENT_TIMEOUT."""
    longest, kept = 0.0, Connection(port, CLIENT_TIMEOUT)
    try:
        for number in range(20):
            began = time.monotonic()
            if number % 2:
                response = get(port, "/api")
            else:
                response = kept.ask()
                if response.closes:
                    kept.close()
                    kept = Connection(port, CLIENT_TIMEOUT)
            assert response.status == 200
            longest = max(longest, time.monotonic() - began)
    except Lost as lost:
        if not isinstance(lost.__cause__, TimeoutError):
            raise
        return CLIENT_TIMEOUT
    finally:
        kept.close()
    return longest


@pytest.mark.parametrize("worker_class", [*OURS, "gthread"])
def test_hostile_clients_delay_no_other_client(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=THREADS) as service:
        port = service.ready().port
        with hostile(port):
            waited = longest_wait(port)
    print(worker_class, waited)
    if worker_class in OURS:
        assert waited < CLIENT_TIMEOUT / 3
    else:
        assert waited > CLIENT_TIMEOUT / 2  # the control: these clients do delay stock gthread


@pytest.mark.parametrize("worker_class", OURS)
def test_hostile_clients_delay_the_exit_by_the_timeout_of_headers_at_most(worker_class: str) -> None:
    settings: dict[str, Any] = {"WORKERS": 1, "THREADS": THREADS, **QUICK, "GRACEFUL_TIMEOUT": 60}
    with Service(WORKER_CLASS=worker_class, **settings) as service:
        port = service.ready().port
        with hostile(port):
            service.signal(signal.SIGTERM)
            assert longest_wait(port) < CLIENT_TIMEOUT / 3
            # The clients that send a byte per second have begun requests: those have their timeout, no more.
            # The exit of the processes alone has taken 5 s on a busy machine.
            assert service.wait() < 3 * HEADER_TIMEOUT  # and not GRACEFUL_TIMEOUT
        assert service.said("Drain ended: quiet") == 1


@pytest.mark.parametrize("worker_class", OURS)
def test_probe_does_not_wait_behind_requests(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=8) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        for _ in range(50):
            stack.enter_context(Connection(port)).send("/api/sleep/3")
        wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 8, "all threads busy")
        for path in ("/health", "/health/ready", "/metrics") * 5:
            began = time.monotonic()
            assert get(port, path).status == 200
            assert time.monotonic() - began < 6, path  # behind the requests the response would take 18 s
        assert service.metric("lifecycle_requests_in_flight") == 8


# ---- unusual HTTP: the same responses as from Gunicorn's gthread -------------------------------------

END = b"Host: test\r\nConnection: close\r\n\r\n"
GET = b"GET /api HTTP/1.1\r\nHost: test\r\n\r\n"
LAST = b"GET /api HTTP/1.1\r\n" + END
POST = b"POST /api HTTP/1.1\r\nHost: test\r\n"

ODDITIES = {
    "one": LAST,
    "kept": GET,
    "pipelined": GET + GET + LAST,
    "pipelined probes": LAST.replace(b"/api", b"/health").replace(b"close", b"keep-alive") + GET + LAST,
    "pipelined in the middle of a head": GET + LAST[:20],
    "behind a close": LAST + GET,
    "HEAD": b"HEAD /api HTTP/1.1\r\n" + END,
    "HTTP/1.0": b"GET /api HTTP/1.0\r\n\r\n",
    "HTTP/1.0 kept": b"GET /api HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + LAST,
    "no host": b"GET /api HTTP/1.1\r\nConnection: close\r\n\r\n",
    "absolute": b"GET http://test/api HTTP/1.1\r\n" + END,
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + END,
    "body unread": POST + b"Content-Length: 5\r\n\r\nhello" + LAST,
    "body cut off": POST + b"Content-Length: 50\r\n\r\nhello",
    "chunked": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + LAST,
    "chunked with trailer": POST
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    + LAST,
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n" + LAST,
    "unknown coding": POST + b"Transfer-Encoding: brotli\r\n\r\n",
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "bad length": POST + b"Content-Length: five\r\n\r\nhello",
    "expect": POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + LAST,
    "expect more": POST + b"Expect: the-unexpected\r\nContent-Length: 5\r\n\r\nhello",
    "upgrade": b"GET /api HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: test\r\n\r\n" + LAST,
    "long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + END,
    "longer line than is held": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + END,
    "long header": b"GET /api HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n" + END,
    "longer header than is held": b"GET /api HTTP/1.1\r\nA: " + b"a" * 100_000 + b"\r\n" + END,
    "many headers": b"GET /api HTTP/1.1\r\n" + b"A: b\r\n" * 101 + END,
    "folded header": b"GET /api HTTP/1.1\r\nA: b\r\n c\r\n" + END,
    "no colon": b"GET /api HTTP/1.1\r\nAb\r\n" + END,
    "space before colon": b"GET /api HTTP/1.1\r\nA : b\r\n" + END,
    "underscore": b"GET /api HTTP/1.1\r\nA_b: c\r\n" + END,
    "null in header": b"GET /api HTTP/1.1\r\nA: \x00\r\n" + END,
    "no version": b"GET /api\r\n\r\n",
    "version 2": b"GET /api HTTP/2.0\r\n" + END,
    "version 9": b"GET /api HTTP/9.9\r\n" + END,
    "lower case": b"get /api HTTP/1.1\r\n" + END,
    "odd method": b"BR{EW /api HTTP/1.1\r\n" + END,
    "two spaces": b"GET  /api HTTP/1.1\r\n" + END,
    "fragment": b"GET /api#there HTTP/1.1\r\n" + END,
    "line ends without CR": b"GET /api HTTP/1.1\nHost: test\n\n",
    "header ends without CR": b"GET /api HTTP/1.1\r\nHost: test\n\n",
    "line that does not end": b"GET /" + b"a" * 9000,
    "header that does not end": b"GET /api HTTP/1.1\r\nA: " + b"a" * 9000,
    "leading empty line": b"\r\n" + LAST,
    "only a line end": b"\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "an h2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nothing": b"",
    "half a head": LAST[:20],
}

INCOMPLETE = (
    *(b"\r", b"\r\n", b"\r\n\r", b"\r\n\r\n", b"\r\r\n", b"\n", b"\n\n", b"\rGET / HTTP/1.1\r\n\r\n"),
    b"GET /api HTTP/1.5\r\nHost: a\r\n",
    b"GET /api HTTP/1.1\r\n\r",
    b"\r\nGET /api HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET /api HTTP/1.1\r\nHost: a\r\n\r\n",
    b"get /api HTTP/1.1\r\nHost: a",
    b"GET /api HTTP/2.7\r\nHost: a",
    b"GET /api HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 8000) for n in range(8)),
)
"""Requests whose end is missing."""


def conversation(port: int, said: bytes, pieces: int, half_close: bool) -> tuple[bytes, str]:
    """Send `said` in so many pieces; return the received bytes, and `open` or `closed` for the connection."""
    with Connection(port) as connection:
        size = max(1, -(-len(said) // pieces))
        with contextlib.suppress(OSError):  # refused before the last piece
            for start in range(0, len(said), size):
                connection.socket.sendall(said[start : start + size])
                if pieces > 1:
                    time.sleep(0.02)  # so that the pieces arrive separately
            if half_close:
                connection.socket.shutdown(socket.SHUT_WR)
        response, end = b"", "open"
        while select.select([connection.socket], [], [], 1)[0]:
            try:
                data = connection.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                end = "closed"
                break
            response += data
    response = re.sub(rb"(Date|X-Request-ID): [^\r]*", rb"\1:", response)
    if b"too large (" in response:  # Gunicorn reports the size that it has read, which is random
        response = re.sub(rb"too large \([0-9]+|Content-Length: [0-9]+", b"", response)
    return response, end


@pytest.mark.parametrize("worker_class", OURS)
def test_unusual_http_gets_the_same_responses_as_from_gthread(worker_class: str) -> None:
    cases = [(*odd, pieces, half) for odd in ODDITIES.items() for pieces in (1, 3) for half in (False, True)]
    with (
        Service(WORKER_CLASS=worker_class, APP_VERSION="v") as service,
        Service(WORKER_CLASS="gthread", APP_VERSION="v") as stock,
    ):
        ports = service.ready().port, stock.ready().port
        with ThreadPoolExecutor(16) as pool:
            ours, theirs = (
                list(pool.map(lambda case, port=port: conversation(port, *case[1:]), cases)) for port in ports
            )
        differ = []
        for case, our, their in zip(cases, ours, theirs, strict=True):
            if our == their:
                continue
            # Once more, alone: two threads of a worker wait for all bodies that no application reads, so that
            # one case can be late because of the others.
            ours_alone, theirs_alone = (conversation(port, *case[1:]) for port in ports)
            if ours_alone != theirs_alone:
                name, _, pieces, half = case
                differ.append(
                    f"{name!r} in {pieces}, half-closed {half}: {ours_alone}, gthread {theirs_alone}"
                )
        assert not differ, "\n".join(differ)
        assert all(any(response for response, _ in ours[n::4]) for n in range(4))
        assert service.get("/api").status == 200
        assert "Traceback" not in service.log


@pytest.mark.parametrize("worker_class", OURS)
def test_clients_that_hang_up_leave_no_request_in_flight(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, WORKERS=1, **QUICK) as service:
        port = service.ready().port
        for said in (b"", LAST[:20], LAST, LAST.replace(b"/api", b"/api/sleep/0.3"), GET * 50):
            for _ in range(10):
                with Connection(port) as connection:
                    connection.socket.sendall(said)
                    # A reset instead of a close.
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "none in flight")
        assert service.get("/api").status == 200
        service.signal(signal.SIGTERM)
        assert service.wait() <= QUICK["DRAIN_MIN"] + SLACK
