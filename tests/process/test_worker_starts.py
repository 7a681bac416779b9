"""A worker that cannot be started ends nothing: the others serve, and the start is repeated."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from app.settings import WORKER_CLASSES
from tests.process.clients import Crowd
from tests.process.service import QUICK, ROOT, Service
from tests.waiting import CONDITION_TIMEOUT, wait_until

FAILED = "A worker could not be started"

# Stands before install(), which chains the hook: the second start after a reload fails, as a fork does at the
# limit of processes.
SECOND_START_FAILS = """
import errno
starts = 0
def pre_fork(server, worker):
    global starts
    starts += 1
    if starts == 2:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
"""


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_killed_worker_is_replaced_when_the_start_is_possible_again(
    worker_class: str, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Service(
        "--worker-tmp-dir", str(temporary), WORKER_CLASS=worker_class, WORKERS=2, **QUICK
    ) as service:
        first, second = service.ready().workers
        temporary.rmdir()  # Gunicorn has unlinked the files in it
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: FAILED in service.log or service.process.poll() is not None, "a failed start")
        assert service.process.poll() is None, service.log
        assert "1 of 2 run; the start is repeated each second: RuntimeError: " in service.log
        assert [service.get("/api").status for _ in range(20)] == [200] * 20
        assert service.workers == [second]
        temporary.mkdir()
        wait_until(lambda: "All workers run again: 2" in service.log, "all workers")
        assert service.said(FAILED) == 1  # not once a second
        service.ready().begin_drain()
        assert service.get("/api").status == 200
        assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log


def test_start_without_any_worker_ends_with_the_error(tmp_path: Path) -> None:
    with Service("--worker-tmp-dir", str(tmp_path / "missing")) as service:
        assert service.process.wait(CONDITION_TIMEOUT) != 0
        assert FAILED not in service.log


def test_reload_whose_second_worker_cannot_be_started_completes_without_a_loss(tmp_path: Path) -> None:
    configuration = tmp_path / "gunicorn.conf.py"
    good = (ROOT / "gunicorn.conf.py").read_text()
    configuration.write_text(good)
    with Service("-c", str(configuration), WORKERS=2, **QUICK) as service:
        old, port = set(service.ready().workers), service.port
        with Crowd(lambda: port, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            configuration.write_text(SECOND_START_FAILS + good)
            service.signal(signal.SIGHUP)
            wait_until(lambda: not old & set(service.workers), "new workers only", seconds=60)
            wait_until(lambda: len(service.workers) == 2, "two workers")
            crowd.wait_for_responses(50, "traffic afterwards")
        assert "the old workers retire first: Resource temporarily unavailable" in service.log
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
