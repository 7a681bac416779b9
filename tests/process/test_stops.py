"""Stops other than a drain: SIGINT and SIGQUIT with requests in flight, workers that cannot boot."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from app.settings import WORKER_CLASSES
from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.process.clients import Connection, Lost
from tests.process.service import Service, for_each_class
from tests.waiting import CONDITION_TIMEOUT, wait_until

LONG_DRAIN: dict[str, Any] = {"DRAIN_MIN": 20, "DRAIN_MAX": 20, "GRACEFUL_TIMEOUT": 2}
"""Settings of a long drain: an exit before DRAIN_MIN proves that the stop did not wait for it."""


# Gunicorn's master handles both signals alike; test_signals.py has the other two pairs, on an idle service.
@pytest.mark.parametrize(("number", "draining"), [(signal.SIGINT, False), (signal.SIGQUIT, True)])
def test_sigint_and_sigquit_do_not_wait_for_requests_in_flight(
    number: signal.Signals, draining: bool
) -> None:
    def seconds_to_exit(worker_class: str) -> float:
        with (
            Service(WORKER_CLASS=worker_class, **LONG_DRAIN) as service,
            Connection(service.ready().port) as slow,
        ):
            slow.send("/api/sleep/30")
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 1, "one in flight")
            if draining:
                service.signal(signal.SIGTERM)
                wait_until(lambda: service.said("Drain began") == 1, "the drain")
            service.signal(number)
            with contextlib.suppress(Lost):
                # Stock sync raises SystemExit in the application, and responds with a 500.
                assert (worker_class, slow.response().status) == ("sync", 500)
            assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log
            return time.monotonic() - service.signalled

    for worker_class, took in for_each_class(seconds_to_exit).items():
        # Python waits for a sleeping thread; Gunicorn terminates the process after GRACEFUL_TIMEOUT.
        assert took < LONG_DRAIN["DRAIN_MIN"], worker_class


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, PROBE_LANE_WORKER, "gthread"])
def test_kept_connections_do_not_hold_up_the_exit_of_a_drained_service(worker_class: str) -> None:
    """They have 2 s after the drain for a last request, and not GRACEFUL_TIMEOUT."""
    settings: dict[str, Any] = {"WORKERS": 1, "DRAIN_MIN": 1, "DRAIN_MAX": 5, "GRACEFUL_TIMEOUT": 60}
    with contextlib.ExitStack() as stack, Service(WORKER_CLASS=worker_class, **settings) as service:
        port = service.ready().port
        for _ in range(100):
            kept = stack.enter_context(Connection(port))
            kept.send("/api")
            assert kept.response().status == 200
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.said("Drain ended") == 1, "the end of the drain")
        ended = time.monotonic()
        assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log
        assert time.monotonic() - ended < 20


BREAKS = """
import os, time
if os.path.exists({flag!r}):
    raise RuntimeError("this version does not boot")
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("worker_class", [name for name in WORKER_CLASSES if name != "sync"])
def test_workers_that_cannot_boot_end_the_service_in_time(
    worker_class: str, draining: bool, tmp_path: Path
) -> None:
    """Leave neither a timer nor a process of the drain when Gunicorn exits because no worker boots."""
    flag = tmp_path / "broken"
    (tmp_path / "breaks.py").write_text(BREAKS.format(flag=str(flag)))
    flags = ("--pythonpath", str(tmp_path), "-c", "python:no_preload", "breaks:application")
    # The service's own configuration, with the application loaded in each worker.
    (tmp_path / "no_preload.py").write_text(
        "from runpy import run_path\nglobals().update(run_path('gunicorn.conf.py'))\npreload_app = False\n"
    )
    # One worker: if a second worker fails at the same time, Gunicorn's own stop fails (status 1).
    settings: dict[str, Any] = {"WORKERS": 1, "PYTHONPATH": str(tmp_path), **LONG_DRAIN}
    with Service(*flags, WORKER_CLASS=worker_class, **settings) as service:
        service.ready("/")
        flag.touch()
        if draining:
            service.signal(signal.SIGTERM)
            wait_until(lambda: service.said("Drain began") == 1, "the drain")
        service.signalled = time.monotonic()
        for pid in service.workers:
            os.kill(pid, signal.SIGKILL)
        status = service.process.wait(CONDITION_TIMEOUT)
        assert status == 3, service.log  # Gunicorn's WORKER_BOOT_ERROR
        assert service.said("Worker failed to boot") == 1
