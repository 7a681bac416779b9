"""Workers of which threads cannot be started serve with those that run."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from gunicorn_fast.threads import ThreadPool
from tests.process.clients import Connection
from tests.process.service import Service
from tests.waiting import CONDITION_TIMEOUT, wait_until

# A stack larger than the address space: starts fail as they do at the limit of processes.
APPLICATION = """
import threading, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/limit":
        threading.stack_size(1 << 50)
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]
"""

CONFIGURATION = """
import gunicorn_drain
threads, graceful_timeout = 8, 3
policy = gunicorn_drain.DrainPolicy(0.2, 0.1, 10)
gunicorn_drain.install(globals(), readiness="/ready", policy=policy)
"""


def test_failed_start_is_logged_once_while_an_idle_thread_serves(caplog: pytest.LogCaptureFixture) -> None:
    pool, release = ThreadPool(2), threading.Event()
    before = threading.stack_size()
    try:
        pool.submit(int).result(CONDITION_TIMEOUT)
        threading.stack_size(1 << 50)
        for requests in (1, 20):
            wait_until(lambda: pool._idle_semaphore._value > 0, "an idle thread")
            busy = pool.submit(release.wait, CONDITION_TIMEOUT)
            waiting = [pool.submit(int) for _ in range(requests)]
            assert not any(each.done() for each in waiting)
            release.set()
            assert busy.result(CONDITION_TIMEOUT)
            assert [each.result(CONDITION_TIMEOUT) for each in waiting] == [0] * requests
            release.clear()
    finally:
        threading.stack_size(before)
        pool.shutdown()
    assert [each.split(":")[0] for each in caplog.messages] == ["A thread could not be started, 1 of 2 run"]


@pytest.mark.slow
@pytest.mark.parametrize("worker_class", [LEADER_WORKER, PROBE_LANE_WORKER])
def test_worker_continues_where_no_thread_can_be_started(worker_class: str, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(APPLICATION)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    with Service("-k", worker_class, "service:application", directory=tmp_path) as service:
        service.ready("/ready")
        (worker,) = service.workers
        assert service.get("/limit").status == 200
        with ThreadPoolExecutor(4) as pool:
            assert {each.status for each in pool.map(service.get, ["/slow"] * 4)} == {200}
        assert service.said("A thread could not be started") == 1, service.log
        with Connection(service.port) as connection:
            connection.send("/slow")
            wait_until(lambda: service.get("/ready").status == 200, "a probe during a slow request")
            service.signal(signal.SIGTERM)
            assert connection.response().status == 200
        assert service.workers in ([], [worker])
        service.wait()
        assert service.said("Stopped: every request completed") == 1
