"""Connections with unfinished headers, or without any, hold no thread and delay no other connection."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from gunicorn_fast.deadlines import STOP_LINGER
from gunicorn_fast.probe_worker import HEADER_TIMEOUT
from tests.process.clients import Connection, get
from tests.process.service import QUICK, SLACK, Service, connections_of, for_each_class
from tests.process.test_hostile import INCOMPLETE, ODDITIES
from tests.waiting import wait_until

OURS = (PROBE_LANE_WORKER, LEADER_WORKER)

PROMPT = 3.0
"""Timeout for a response that waits for no other client, in seconds. A held thread is held for 10 s."""

WITHIN_LIMITS = b"GET /api HTTP/1.1\r\nHost: x\r\n" + b"".join(
    b"X-%d: %s\r\n" % (number, b"a" * 8000) for number in range(99)
)
"""792 KB of headers that Gunicorn's limits allow, without an end."""


def prefixes(said: bytes) -> list[bytes]:
    """Return every prefix of `said`; of a long one only the shortest, and some near powers of two."""
    lengths = {
        *range(min(len(said), 200)),
        len(said) - 1,
        4095,
        4097,
        8193,
        65536,
        65600,
    }
    return [said[:length] for length in sorted(lengths) if 0 < length < len(said)]


@pytest.mark.parametrize("worker_class", OURS)
def test_unfinished_headers_hold_no_thread(worker_class: str) -> None:
    """Use one thread: a single connection that held it would keep /api from responding."""
    corpus = {**ODDITIES, **{repr(said[:40]): said for said in INCOMPLETE}, "within limits": WITHIN_LIMITS}
    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=1) as service:
        port = service.ready().port
        for name, said in corpus.items():
            with contextlib.ExitStack() as stack:
                for prefix in prefixes(said):
                    connection = stack.enter_context(Connection(port))
                    with contextlib.suppress(OSError):  # refused before the last byte
                        connection.socket.sendall(prefix)
                for path in ("/api", "/health/ready"):
                    with stack.enter_context(Connection(port, PROMPT)) as good:
                        assert good.ask(path).status == 200, name
        assert "Traceback" not in service.log


@pytest.mark.long
@pytest.mark.parametrize("worker_class", OURS)
def test_unfinished_headers_are_closed_after_the_timeout(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=2) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        for said in (b"\r\n", b"GET", WITHIN_LIMITS[:65600], WITHIN_LIMITS) * 30:
            connection = stack.enter_context(Connection(port))
            connection.socket.settimeout(HEADER_TIMEOUT + 5)
            with contextlib.suppress(OSError):
                connection.socket.sendall(said)
        began = time.monotonic()
        last = stack.enter_context(Connection(port))
        last.socket.sendall(b"\r\n")
        while time.monotonic() - began < 2:
            assert get(port, "/api").status == 200
        assert last.closed_within(HEADER_TIMEOUT + SLACK)
        assert time.monotonic() - began > HEADER_TIMEOUT - 1


def test_large_headers_of_many_connections_take_bounded_memory() -> None:
    with Service(WORKERS=1, THREADS=2) as service, contextlib.ExitStack() as stack:
        port, worker = service.ready().port, service.workers[0]
        before = resident(worker)
        connections = [stack.enter_context(Connection(port)) for _ in range(150)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda each: try_to_send(each, WITHIN_LIMITS), connections))
        assert get(port, "/api").status == 200
        grown = resident(worker) - before
        print(f"{grown / 2**20:.0f} MiB more for {150 * len(WITHIN_LIMITS) / 2**20:.0f} MiB of headers")
        assert grown < 64 * 2**20
        whole = stack.enter_context(Connection(port))
        whole.socket.sendall(WITHIN_LIMITS + b"\r\n")
        assert whole.response().status == 200


def resident(pid: int) -> int:
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


def try_to_send(connection: Connection, said: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.socket.sendall(said)


# ---- connections opened before they are needed -------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("worker_class", OURS)
def test_unused_connection_is_kept_for_keepalive(worker_class: str) -> None:
    keepalive = int(HEADER_TIMEOUT) + 3
    with Service(WORKER_CLASS=worker_class, WORKERS=1, KEEPALIVE=keepalive) as service:
        port = service.ready().port
        with Connection(port) as first, Connection(port) as second:
            began = time.monotonic()
            assert not first.closed_within(HEADER_TIMEOUT + 1.5)
            assert first.ask().status == 200
            assert second.closed_within(keepalive + SLACK)
            assert keepalive - 1 < time.monotonic() - began


@pytest.mark.parametrize("worker_class", OURS)
def test_unused_connection_delays_no_exit(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, WORKERS=1, **QUICK) as service:
        port = service.ready().port
        with Connection(port) as unused, Connection(port) as used:
            service.begin_drain()
            response = used.ask()
            assert (response.status, response.closes) == (200, True)
            assert service.wait() < QUICK["DRAIN_MIN"] + 2 + SLACK
            assert unused.closed_within(SLACK)
        assert service.said("Drain ended: quiet") == 1


@pytest.mark.parametrize("worker_class", OURS)
def test_oldest_silent_connection_is_closed_for_a_new_one(worker_class: str) -> None:
    limit = 40
    flags = ("--worker-connections", str(limit))
    with Service(*flags, WORKER_CLASS=worker_class, WORKERS=1, THREADS=2) as service:
        port = service.ready().port
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(Connection(port)) for _ in range(3 * limit)]
            for each in silent[::2]:
                with contextlib.suppress(OSError):
                    each.socket.send(b"GET /")
            for _ in range(20):
                with Connection(port, 10) as good:
                    assert good.ask().status == 200
            wait_until(lambda: silent[0].closed_within(0), "the oldest is closed")


# ---- headers that arrive while their worker stops ----------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_request_that_began_before_the_stop_gets_its_response(number: signal.Signals) -> None:
    """Complete the headers when the worker has been stopping for longer than silent connections have."""

    def complete_late(worker_class: str) -> None:
        if worker_class == "sync":  # it serves one connection at a time, and finishes it
            return
        with Service(WORKER_CLASS=worker_class, WORKERS=1, **QUICK) as service:
            port, old = service.ready().port, service.workers
            with Connection(port) as kept, Connection(port) as slow:
                wait_until(lambda: connections_of(old[0]) == 2, "both are accepted")
                service.signal(number)
                wait_until(lambda: kept.ask().closes, "the worker terminates")
                slow.socket.sendall(b"GET /api HTTP/1.1\r\nHost:")
                assert not slow.closed_within(QUICK["DRAIN_MIN"] + STOP_LINGER + 1.5), worker_class
                slow.socket.sendall(b" x\r\n\r\n")
                response = slow.response()
                assert (response.status, response.closes) == (200, True), worker_class
            wait_until(lambda: not set(old) & set(service.workers), "the old worker has exited")

    for_each_class(complete_late)
