"""Thousands of broken requests, slow senders and floods of connections, beside good clients.

The environment variables FUZZ_CASES and FUZZ_SEED set the number of cases and the seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.process.clients import Connection, Crowd, Kind, Lost
from tests.process.service import Service
from tests.process.test_hostile import ODDITIES
from tests.waiting import wait_until

CASES = int(os.environ.get("FUZZ_CASES", "4000"))
SEED = int(os.environ.get("FUZZ_SEED", "20270101"))
SENDERS = 16
RESPONSE_MAX = 60.0
"""Timeout for the end of a connection, whatever was sent on it, in seconds. Most take milliseconds."""

GOOD = (
    Kind("kept", pause=(0.0, 0.05)),
    Kind("new", kept=False, pause=(0.0, 0.05)),
    Kind("idle", pause=(0.3, 1.0)),
    Kind("session", session=True, pause=(0.0, 0.05)),
)

PATHS = (
    *(b"/api", b"/api/sleep/0.1", b"/health", b"/health/ready", b"/metrics", b"/api/nowater/version"),
    b"/nowhere",
)
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n\r\n", b"\r\n ", b"\xff\xfe", b"\x16\x03\x01"),
    *(b"GET ", b"POST ", b"HTTP/1.1", b"HTTP/0.9", b"%00", b"/../", b"Host: \r\n", b"A" * 9000),
    *(b"Content-Length: ", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    *(
        b"Connection: keep-alive, close\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\n",
        b"ffffffff\r\n",
    ),
    *(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"X-Forwarded-For: a\r\n"),
)


def broken(chance: random.Random) -> bytes:
    """Return a request with random defects, or random bytes."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(400))
    said = chance.choice(list(ODDITIES.values()))
    if chance.random() < 0.5:
        said = said.replace(b"/api", chance.choice(PATHS))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(said) + 1)
        to = min(len(said), at + chance.randrange(1, 12))
        said = chance.choice(
            (
                said[:at] + chance.choice(PIECES) + said[at:],  # insertion
                said[:at] + said[to:],  # deletion
                said[:at] + chance.randbytes(to - at) + said[to:],  # replacement
                said[:at] + said[at:to] * chance.randrange(2, 30) + said[to:],  # repetition of a part
                said[:at] + said,  # repetition of the beginning
            )
        )
    return said[:200_000]


def say(port: int, said: bytes, chance: random.Random) -> bytes:
    """Send `said` on a separate connection, at once or in two pieces; return all received bytes."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), RESPONSE_MAX)) as connection:
        response = b""
        try:
            if chance.random() < 0.2:
                cut = chance.randrange(len(said) + 1)
                connection.sendall(said[:cut])
                time.sleep(0.01)
                said = said[cut:]
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                response += data
        except TimeoutError:
            raise
        except OSError:
            pass  # refused before the end of the request
        return response


def statuses(response: bytes) -> list[int]:
    """Return the statuses of the responses on one connection."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] ([0-9]{3}) ", response, re.MULTILINE)]


@contextlib.contextmanager
def unharmed(service: Service) -> Iterator[Crowd]:
    """Check that good clients lose nothing and no worker exits.

    No request may stay in flight, and no traceback may be logged.
    """
    port, workers = service.port, service.workers
    with Crowd(lambda: port, GOOD) as crowd:
        wait_until(crowd.everyone_served, "a response to every kind of good client")
        before = crowd.responses
        yield crowd
        wait_until(lambda: crowd.responses > before + 100, "good clients are served meanwhile")
    assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
    assert service.workers == workers
    wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "none in flight", 60)
    assert service.metric("lifecycle_requests_cut_off_total") == 0
    assert "Traceback" not in service.log, service.log
    assert service.get("/health/ready").status == 200
    print(f"good clients meanwhile:\n{crowd}")


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, PROBE_LANE_WORKER, "gthread"])
def test_broken_requests_harm_no_good_client(worker_class: str) -> None:
    cases = CASES if worker_class == LEADER_WORKER else CASES // 4
    seen: Counter[str] = Counter()

    def sender(number: int) -> Counter[str]:
        chance, mine = random.Random(SEED + number), Counter[str]()
        for _ in range(cases // SENDERS):
            said = broken(chance)
            response = say(port, said, chance)
            found = statuses(response)
            assert not response or found, (said, response)
            assert b"Traceback" not in response, (said, response)
            # 501 and 505 are HTTP's statuses for requests that a client should not send.
            assert all(status < 500 or status in (501, 505) for status in found), (said, response)
            mine.update(map(str, found) if found else ["closed"])
            mine["cases"] += 1
        return mine

    with Service(WORKER_CLASS=worker_class, SLEEP_LIMIT=0.2) as service:
        port = service.ready().port
        with unharmed(service), ThreadPoolExecutor(SENDERS) as pool:
            for mine in pool.map(sender, range(SENDERS)):
                seen += mine
    print(f"{worker_class}, seed {SEED}: {dict(sorted(seen.items()))}")
    assert seen["cases"] >= cases - SENDERS
    assert {"200", "400", "404"} <= set(seen)  # valid, refused and not found


CONNECTIONS = 1500


@pytest.mark.long
def test_flood_of_connections_harms_no_good_client() -> None:
    """Keep half of the connections open and silent; open and reset the other half again and again."""
    reset = struct.pack("ii", 1, 0)
    with Service() as service, contextlib.ExitStack() as stack:
        port, over, resets = service.ready().port, threading.Event(), Counter[str]()

        def storm() -> None:
            chance = random.Random(SEED)
            while not over.is_set():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 20) as each:
                    each.send(chance.choice((b"", b"GET ", b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n")))
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    resets["reset"] += 1

        with unharmed(service) as crowd, ThreadPoolExecutor(4) as pool:
            storms = [pool.submit(storm) for _ in range(4)]
            try:
                for _ in range(CONNECTIONS):
                    stack.enter_context(Connection(port))
                crowd.wait_for_responses(1000, "good clients are served", 120)
                wait_until(lambda: resets["reset"] > CONNECTIONS, "as many resets", 120)
            finally:
                over.set()
            for each in storms:
                each.result()
        print(f"{CONNECTIONS} silent connections, {resets['reset']} resets")


SLOW = 200


def has_responses(crowd: Crowd, target: int) -> bool:
    return crowd.responses > target


@pytest.mark.long
def test_slow_senders_harm_no_good_client() -> None:
    """Send headers at one byte per second, from many more clients than threads."""
    with Service(WORKERS=1, THREADS=8) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        with unharmed(service) as crowd:
            slow = [stack.enter_context(Connection(port)) for _ in range(SLOW)]
            for byte in b"GET /api HTTP/1.1":
                for each in slow:
                    with contextlib.suppress(OSError):  # closed after HEADER_TIMEOUT
                        each.socket.send(bytes([byte]))
                target = crowd.responses + 20
                wait_until(partial(has_responses, crowd, target), "good clients are served", 60)
                time.sleep(0.8)
            wait_until(lambda: all(each.closed_within(0) for each in slow), "the slow are shut out", 60)


def slow_bodies(service: Service, count: int, head: bytes) -> tuple[int, int]:
    """Send good requests beside `count` slow bodies after `head`, for 5 s.

    Returns the number of responses, and the number of requests without a response in 2 s.
    """
    port, until = service.port, time.monotonic() + 5
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Connection(port)) for _ in range(count)]
        for each in slow:
            each.socket.sendall(head)
        responses = late = 0
        while time.monotonic() < until:
            for each in slow:
                with contextlib.suppress(OSError):
                    each.socket.send(b"x")
            try:
                with Connection(port, 2) as good:
                    responses += good.ask().status == 200
            except Lost:
                late += 1
            time.sleep(0.1)
    return responses, late


READER = """
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
UNREAD = (b"Content-Length: 100000", b"Content-Length: 1000", b"Transfer-Encoding: chunked")


@pytest.mark.parametrize("field", UNREAD)
def test_slow_unread_bodies_harm_no_good_client(field: bytes) -> None:
    head = b"POST /api HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n"

    def good_clients(worker_class: str) -> tuple[int, int]:
        with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=4) as service:
            return slow_bodies(service.ready(), 40, head)

    classes = (PROBE_LANE_WORKER, LEADER_WORKER, "gevent")
    with ThreadPoolExecutor(len(classes)) as pool:
        for worker_class, (responses, late) in zip(classes, pool.map(good_clients, classes), strict=True):
            print(f"{worker_class}, {field!r}: {responses} responses, {late} not")
            assert responses > 5
            assert late == 0


def test_slow_bodies_that_are_read_take_a_thread_each(tmp_path: Path) -> None:
    """Confirm the limit that docs/security.md names: a proxy in front has to buffer bodies."""
    (tmp_path / "reader.py").write_text(READER)
    flags = ("--pythonpath", str(tmp_path), "reader:application")
    with Service(*flags, WORKER_CLASS=LEADER_WORKER, WORKERS=1, THREADS=4) as service:
        wait_until(lambda: service.get("/").status == 200, "the first response")
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        responses, late = slow_bodies(service, 40, head)
    print(f"{responses} responses, {late} not")
    assert late > 0
