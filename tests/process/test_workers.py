"""Guarantees of the service's own worker classes under load, and after failures within them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.settings import WORKER_CLASSES, Settings
from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.process.clients import Connection, Lost, get
from tests.process.service import QUICK, ROOT, SLACK, Service, connections_of
from tests.waiting import wait_until

OURS = (PROBE_LANE_WORKER, LEADER_WORKER)

PROMPT_RESPONSE = 1.0
"""Maximum duration of a response that waits for nothing, on a machine in shared use, in seconds."""

APPLICATION = """
import ctypes, gc, os, time
from pathlib import Path
from flask import request
from app import create_app

application = create_app()
served = 0

@application.get("/quick")
def quick():
    global served
    served += 1
    return {}

@application.get("/stuck")
def stuck():
    Path(request.args["note"]).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)  # PyDLL does not give up the interpreter

@application.get("/spin/<int:requests>/<int:seconds>")
def spin(requests, seconds):
    # Until so many others were served, for at most so many seconds of processor time.
    began, first = time.thread_time(), served
    while served < first + requests and time.thread_time() < began + seconds:
        pass
    return {"served": served - first, "seconds": time.thread_time() - began}

@application.get("/collect")
def collect():
    return {"found": gc.collect()}

@application.get("/exit")
def leave():
    raise SystemExit(3)
"""


@pytest.fixture
def extended(tmp_path: Path) -> tuple[str, ...]:
    """Return Gunicorn's flags for the service with endpoints that misbehave."""
    (tmp_path / "extended.py").write_text(APPLICATION)
    return "--pythonpath", f"{tmp_path},{ROOT}", "extended:application"


POLLS_FOR_AN_HOUR = """
class Derived(Base):
    def wait_for_and_dispatch_events(self, timeout):
        super().wait_for_and_dispatch_events(3600.0)
"""

LINGERS_FOR_AN_HOUR = """
from gunicorn_fast import probe_worker

assert probe_worker.LINGER_TIMEOUT
probe_worker.LINGER_TIMEOUT = 3600.0

class Derived(Base):
    pass
"""

COUNTS_ACCESSES = """
import itertools
from app import create_app

accesses = itertools.count()

class CountedConnection(Base.connection_class):
    def __getattribute__(self, name):
        next(accesses)
        return super().__getattribute__(name)

    def __eq__(self, other):  # for a lookup in a list or a deque
        next(accesses)
        return self is other

    __hash__ = object.__hash__

class Derived(Base):
    connection_class = CountedConnection

application = create_app()

@application.get("/accesses")
def count():
    return str(next(accesses))
"""


STOPS_BEFORE_ITS_LOOP = """
import os, signal

class Derived(Base):
    def run(self):
        if self.age == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        super().run()
"""

QUITS_WHILE_SUBMITTING = """
import os, signal
from concurrent.futures import ThreadPoolExecutor

class Pool(ThreadPoolExecutor):
    def _adjust_thread_count(self):  # called with the pool's lock held
        os.kill(os.getpid(), signal.SIGQUIT)
        super()._adjust_thread_count()

class Derived(Base):
    def get_thread_pool(self):
        return Pool(self.cfg.threads)
"""


def derived(worker_class: str, directory: Path, code: str) -> tuple[str, ...]:
    """Write `code` with a class Derived of the worker class Base; return Gunicorn's flags for that worker."""
    module, _, name = worker_class.rpartition(".")
    (directory / "derived.py").write_text(f"from {module} import {name} as Base\n{code}")
    return "--pythonpath", f"{directory},{ROOT}", "-k", "derived.Derived"


def seconds(ask: Callable[[], object]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


# ---- a worker that hangs -----------------------------------------------------------------------------

TIMEOUT = 3


def stop_one(service: Service, note: Path) -> int:
    pid = service.workers[0]
    os.kill(pid, signal.SIGSTOP)
    return pid


def stick_one(service: Service, note: Path) -> int:
    with Connection(service.port) as connection:
        connection.send(f"/stuck?note={note}")
        wait_until(lambda: note.exists() and note.read_text() != "", "a stuck worker")
    return int(note.read_text())


@pytest.mark.parametrize("worker_class", OURS)
@pytest.mark.parametrize("hang", [stop_one, stick_one])
def test_hanging_worker_is_replaced_while_the_others_serve(
    hang: Callable[[Service, Path], int], worker_class: str, extended: tuple[str, ...], tmp_path: Path
) -> None:
    with Service(*extended, "--timeout", str(TIMEOUT), WORKER_CLASS=worker_class, WORKERS=2) as service:
        port = service.ready().port
        hung = hang(service, tmp_path / "note")
        began = time.monotonic()
        responses = 0
        while hung in service.workers or len(service.workers) < 2:
            assert time.monotonic() - began < 4 * TIMEOUT, service.log
            # Clients accepted by the hung worker, or for it by the kernel, wait; clients of the other do not.
            with contextlib.suppress(Lost, OSError), Connection(port, timeout=0.5) as connection:
                responses += connection.ask().status == 200
            time.sleep(0.02)  # the others need not be busy, and the look at the workers is not free
        assert responses > 0
        wait_until(lambda: service.said("WORKER TIMEOUT") == 1, "what the log says")
        for _ in range(10):
            assert get(port, "/health").status == 200


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_hanging_worker_is_replaced_after_worker_timeout(worker_class: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "WORKER_TIMEOUT": 5,
        "SLEEP_LIMIT": 1,
        "WORKER_CLASS": worker_class,
        "WORKERS": 1,
    }
    with Service(**settings) as service:
        service.ready()
        began = time.monotonic()
        hung = stop_one(service, tmp_path / "note")
        wait_until(lambda: hung not in service.workers, "the end of the hanging worker")
        # Its last sign of life is up to a second older; a sync worker's SLEEP_LIMIT is added.
        assert time.monotonic() - began > 3.5
        assert service.said("WORKER TIMEOUT") == 1
        service.ready()


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_worker_that_hangs_before_its_loop_is_replaced(worker_class: str, tmp_path: Path) -> None:
    classes = {"gthread": "gunicorn.workers.gthread.ThreadWorker", "sync": "gunicorn.workers.sync.SyncWorker"}
    classes["gevent"] = "gunicorn.workers.ggevent.GeventWorker"
    worker = derived(classes.get(worker_class, worker_class), tmp_path, STOPS_BEFORE_ITS_LOOP)
    with Service(*worker, "--timeout", str(TIMEOUT), WORKERS=1, WORKER_CLASS=worker_class) as service:
        service.ready()
        assert service.said("WORKER TIMEOUT") == 1


def test_sigquit_ends_worker_that_holds_its_pools_lock(tmp_path: Path) -> None:
    worker = derived(PROBE_LANE_WORKER, tmp_path, QUITS_WHILE_SUBMITTING)
    with Service(*worker, "--timeout", "600", WORKERS=1) as service:
        (before,) = service.ready().workers
        with Connection(service.port) as connection:
            connection.send("/api")
            wait_until(lambda: before not in service.workers, "the end of the worker")


def test_worker_that_hangs_in_a_drain_is_replaced(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"DRAIN_MIN": 4 * TIMEOUT, "DRAIN_MAX": 4 * TIMEOUT}
    with Service("--timeout", str(TIMEOUT), WORKERS=2, **settings) as service:
        service.ready().begin_drain()
        hung = stop_one(service, tmp_path / "note")
        wait_until(lambda: hung not in service.workers, "it is ended", 3 * TIMEOUT)
        assert service.said("WORKER TIMEOUT") == 1
        wait_until(lambda: len(service.workers) == 2, "another")
        assert service.get("/api").closes  # a worker started in a drain announces the close too


@pytest.mark.parametrize("worker_class", OURS)
def test_requests_longer_than_the_timeout_are_no_hang(worker_class: str) -> None:
    settings: dict[str, Any] = {"WORKER_CLASS": worker_class, "WORKERS": 1, "THREADS": 2}
    with Service("--timeout", "4", **settings) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        slow = [stack.enter_context(Connection(port)) for _ in range(4)]
        for each in slow:
            each.send("/api/sleep/5")
        assert [each.response().status for each in slow] == [200] * 4
        assert service.said("WORKER TIMEOUT") == 0


# ---- threads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("worker_class", OURS)
@pytest.mark.parametrize("threads", [1, 8])
def test_requests_beyond_the_number_of_threads_wait_in_a_queue(worker_class: str, threads: int) -> None:
    settings: dict[str, Any] = {"WORKER_CLASS": worker_class, "WORKERS": 1, "THREADS": threads}
    with Service(**settings) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        for round_ in (1, 2):  # the second round reuses the threads of the first
            connections = [stack.enter_context(Connection(port)) for _ in range(2 * threads)]
            began = time.monotonic()
            for each in connections:
                each.send("/api/sleep/1")
            wait_until(
                lambda: service.metric("lifecycle_requests_in_flight") == threads, f"{threads} in flight"
            )
            # All threads are busy, and the loop and the probes still have a thread.
            assert seconds(lambda: get(port, "/health")) < PROMPT_RESPONSE
            assert all(each.response().status == 200 for each in connections), round_
            took = time.monotonic() - began
            assert 2 <= took < 2 + 2 * PROMPT_RESPONSE, took


@pytest.mark.parametrize("worker_class", OURS)
def test_responses_to_many_pipelined_requests_are_in_order(worker_class: str) -> None:
    count = 3000  # more than Python's stack can hold
    with Service(WORKER_CLASS=worker_class, WORKERS=1) as service, Connection(service.ready().port) as one:
        one.socket.settimeout(60)
        sent = b"".join(b"GET /api/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(count))
        got = 0
        for start in range(0, len(sent), 16384):
            one.socket.sendall(sent[start : start + 16384])
            for _ in range(sent[:start].count(b"\r\n\r\n") - got):
                assert f'"instance": "/api/{got}"'.encode() in one.response().body
                got += 1
        while got < count:
            assert f'"instance": "/api/{got}"'.encode() in one.response().body
            got += 1


@pytest.mark.parametrize("worker_class", OURS)
def test_slow_pipelined_requests_of_many_clients_wait_for_no_other_event(
    worker_class: str, tmp_path: Path
) -> None:
    each, crowd = 20, 12
    # No event but the requests' own: a request that waits for the end of a poll is never responded to.
    worker = derived(worker_class, tmp_path, POLLS_FOR_AN_HOUR)
    with Service(*worker, "--timeout", "600", WORKERS=1, THREADS=16) as service, ExitStack() as stack:
        connections = [stack.enter_context(Connection(service.ready().port)) for _ in range(crowd)]
        for one in connections:
            one.socket.sendall(b"GET /api/sleep/0.02 HTTP/1.1\r\nHost: a\r\n\r\n" * each)
        for one in connections:
            assert [one.response().status for _ in range(each)] == [200] * each


@pytest.mark.parametrize("worker_class", OURS)
def test_computing_request_does_not_starve_other_requests(
    worker_class: str, extended: tuple[str, ...]
) -> None:
    others, processor_seconds = 20, 10
    with Service(*extended, WORKER_CLASS=worker_class, WORKERS=1, THREADS=8) as service:
        port = service.ready().port
        with Connection(port) as computing, Connection(port, timeout=60) as quick:
            computing.send(f"/spin/{others}/{processor_seconds}")
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 1, "the computing request")
            for _ in range(others):
                assert quick.ask("/quick").status == 200
            computed = json.loads(computing.response().body)
    print(worker_class, computed)
    assert computed["served"] == others  # and not served only after the computation


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, PROBE_LANE_WORKER])
def test_exit_of_the_application_closes_its_own_connection_only(
    worker_class: str, extended: tuple[str, ...]
) -> None:
    with Service(*extended, WORKER_CLASS=worker_class, WORKERS=1) as service:
        port = service.ready().port
        workers = service.workers
        with Connection(port) as other:
            assert other.ask().status == 200
            with Connection(port) as one:
                one.send("/exit")
                assert one.rest() == b""
            assert other.ask().status == 200
        assert service.workers == workers
        assert service.said("SystemExit: 3") == 1
        # A thread counts its request out after the client has the response.
        wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "no request in flight")


# ---- exceptions in the event loop --------------------------------------------------------------------

BROKEN = """
from gunicorn_fast import LeaderWorker

class BreaksForOne(LeaderWorker):
    def wait(self, conn, *arguments):
        if conn.parser is not None and "break" in conn.parser.mesg.uri:
            raise ValueError("the loop breaks here")
        super().wait(conn, *arguments)

class BreaksForAll(LeaderWorker):
    def accept(self, listener):
        super().accept(listener)
        if self.nr_conns >= 3:
            raise ValueError("the loop breaks here")
"""


@pytest.fixture
def broken(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "broken.py").write_text(BROKEN)
    return "--pythonpath", f"{tmp_path},{ROOT}"


def test_exception_of_one_connection_closes_that_connection_only(broken: tuple[str, ...]) -> None:
    with Service(*broken, "-k", "broken.BreaksForOne", WORKERS=1, **QUICK) as service:
        port = service.ready().port
        workers = service.workers
        with Connection(port) as other:
            assert other.ask().status == 200
            for _ in range(3):
                with Connection(port) as one:
                    assert one.ask("/api?break").status == 200
                    assert one.closed_within(5)
            assert other.ask().status == 200
        assert service.workers == workers
        assert service.said("ValueError: the loop breaks here") == 3
        service.signal(signal.SIGTERM)
        service.process.wait(QUICK["DRAIN_MIN"] + SLACK + 5)


def test_worker_with_a_broken_loop_is_replaced(broken: tuple[str, ...]) -> None:
    with Service(*broken, "-k", "broken.BreaksForAll", WORKERS=1) as service, contextlib.ExitStack() as stack:
        port = service.ready().port
        before = service.workers
        for _ in range(4):
            stack.enter_context(Connection(port)).send("/api/sleep/30")
        wait_until(lambda: service.workers != before and len(service.workers) == 1, "another worker")
        wait_until(lambda: service.said("ValueError: the loop breaks here") >= 1, "what the log says")
        wait_until(lambda: service.get("/health").status == 200, "it serves")


# ---- memory ------------------------------------------------------------------------------------------


def test_garbage_collection_leaves_the_memory_of_workers_shared(extended: tuple[str, ...]) -> None:
    with Service(*extended, WORKERS=1) as service:
        worker = psutil.Process(*service.ready().workers)
        before = worker.memory_full_info().uss
        assert service.get("/collect").status == 200
        grown = worker.memory_full_info().uss - before
        assert grown < 2_000_000  # 10 MB if the collection writes to all that the master has loaded


# ---- many idle connections ---------------------------------------------------------------------------

IDLE = 1000


@contextlib.contextmanager
def idle(port: int, count: int = IDLE) -> Iterator[list[Connection]]:
    """Yield `count` kept connections, each of which has received one response."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 500), hard), hard))
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connections.append(stack.enter_context(Connection(port)))
            connections[-1].send("/api")
            if len(connections) % 100 == 0:
                for each in connections[-100:]:
                    assert each.response().status == 200
        yield connections


@pytest.mark.parametrize("worker_class", OURS)
def test_idle_connections_add_no_work_to_a_request(worker_class: str, tmp_path: Path) -> None:
    requests = 200
    flags = derived(worker_class, tmp_path, COUNTS_ACCESSES)
    with Service(*flags, "derived:application", WORKERS=1) as service:
        port = service.ready().port

        def accesses() -> int:
            return int(get(port, "/accesses").body)

        def accesses_of_requests() -> int:
            before = accesses()
            with Connection(port) as connection:
                for _ in range(requests):
                    assert connection.ask().status == 200
            return accesses() - before

        alone = accesses_of_requests()
        assert alone > requests  # otherwise accesses are not counted
        with idle(port):
            beside = accesses_of_requests()
        print(f"{worker_class}: {alone} and {beside} accesses to connections")
        # One access to every idle connection for each request would be 200 times as many.
        assert beside < alone + IDLE


@pytest.mark.parametrize("worker_class", OURS)
def test_drain_with_idle_connections_ends_in_time(worker_class: str) -> None:
    settings: dict[str, Any] = {"DRAIN_MIN": 2, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 10}
    with (
        Service(WORKER_CLASS=worker_class, WORKERS=1, **settings) as service,
        idle(service.ready().port) as connections,
    ):
        service.begin_drain()
        told = [each.ask() for each in connections[:100]]
        assert all(each.status == 200 and each.closes for each in told)
        # Gunicorn gives silent connections 2 s after the drain, and not KEEPALIVE, which is longer than this.
        service.wait(Settings.keepalive / 2)
        assert all(each.closed_within(1) for each in connections)


@pytest.mark.parametrize("worker_class", OURS)
def test_connections_beyond_the_limit_wait_their_turn(worker_class: str) -> None:
    limit = 100
    service = Service("--worker-connections", str(limit), WORKER_CLASS=worker_class, WORKERS=1)
    with service, contextlib.ExitStack() as stack:
        port = service.ready().port
        (worker,) = service.workers
        # With a request each: a connection that is silent for a second may be closed for a new one.
        connections = [stack.enter_context(Connection(port)) for _ in range(3 * limit)]
        for each in connections:
            each.send("/api")
        # At most the limit minus the threads are kept; responses on the others announce the close.
        wait_until(lambda: connections_of(worker) >= limit // 2, "connections that are taken in")
        for number, each in enumerate(connections):
            if number % (limit // 5) == 0:  # slow on a machine with many connections
                assert connections_of(worker) <= limit
            assert each.response().status == 200
            each.close()


@pytest.mark.parametrize("worker_class", OURS)
def test_lazy_clients_do_not_delay_a_good_client(worker_class: str, tmp_path: Path) -> None:
    crowd = 20
    with (
        Service(*derived(worker_class, tmp_path, LINGERS_FOR_AN_HOUR), WORKERS=1, THREADS=4) as service,
        ExitStack() as stack,
    ):
        port = service.ready().port
        worker = psutil.Process(*service.workers)

        def lingering() -> int:
            found = worker.net_connections("tcp")
            return sum(each.status in (psutil.CONN_FIN_WAIT1, psutil.CONN_FIN_WAIT2) for each in found)

        for _ in range(crowd):  # they receive a response that announces the close, and do not close
            lazy = stack.enter_context(Connection(port))
            lazy.send("/api", "Connection: close")
            assert lazy.response().closes
        wait_until(lambda: lingering() == crowd, "connections that wait for their client's close")
        with Connection(port) as connection:
            for _ in range(100):
                assert connection.ask().status == 200
        assert lingering() == crowd  # so no request waited for one of them
