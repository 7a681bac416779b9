"""Faults of the drain itself, in every hook and callback: each is logged, and no request fails."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.process.clients import Crowd, get
from tests.process.plain import APPLICATION, kinds
from tests.process.service import Service
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

# Where a fault prevents the counting of requests, only DRAIN_MIN holds the drain: it has to be longer than
# the clients' responses take in it, also on a busy machine.
SHORT: dict[str, Any] = {"DRAIN_MIN": 4, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 8}

# The part fails as soon as the file exists: faults of most parts would otherwise prevent the start.
CONFIGURATION = """
import functools, os
import gunicorn_drain
import sys
from gunicorn_drain import master, worker, wsgi
install = sys.modules["gunicorn_drain.install"]  # the package's name for it is the function

workers, worker_class, threads, graceful_timeout, keepalive = 2, {worker_class!r}, 8, 5, 75

def breakable(owner, name):
    original = getattr(owner, name)
    @functools.wraps(original)
    def call(*arguments, **named):
        if os.path.exists({flag!r}):
            raise RuntimeError("fault of " + name)
        return original(*arguments, **named)
    setattr(owner, name, call)

breakable({owner}, {name!r})
gunicorn_drain.install(globals(), readiness="/ready")
"""

# The tests wait for a number of responses, so that a longer pause costs time, and less of the processor.
PAUSE = (0.0, 0.03)
"""Pause of a busy client after a response, in seconds."""

KINDS = kinds(PAUSE)

DRAIN = "gunicorn_drain.get_drain()"
REQUEST_PARTS = [
    ("type(gunicorn_drain.get_drain().probes)", "matches"),
    (f"{DRAIN}.worker", "count_in"),
    (f"{DRAIN}.worker", "count_out"),
    ("wsgi", "route"),
]
STOP_PARTS = [
    (f"{DRAIN}.page", "status"),
    (f"{DRAIN}.page", "streams"),
    ("master", "end_reason"),
    ("master", "backlog_of"),
    (f"{DRAIN}.master", "child_exit"),
    (f"{DRAIN}.master", "on_exit"),
    (f"{DRAIN}.page", "retire_slot"),
]
WORKER_PARTS = [
    (f"{DRAIN}.master", "pre_fork"),
    (f"{DRAIN}.worker", "post_fork"),
    (f"{DRAIN}.worker", "post_worker_init"),
    ("install", "close_removed_listeners"),
    ("worker", "status_since"),
    ("worker", "stop_accepting"),
    ("worker", "open_streams"),
]


def start(directory: Path, owner: str, name: str, worker_class: str = "gthread") -> Service:
    (directory / "service.py").write_text(APPLICATION)
    text = CONFIGURATION.format(
        flag=str(directory / "flag"), owner=owner, name=name, worker_class=worker_class
    )
    (directory / "gunicorn.conf.py").write_text(text)
    return Service("service:application", directory=directory, **SHORT)


def lose_nothing_until_the_end(service: Service, crowd: Crowd) -> None:
    """Serve clients in the drain, then stop them and wait for the end; assert that no request was lost."""
    crowd.wait_for_responses(50, "responses while draining")
    crowd.stop()
    assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
    # Service.wait() would take the traceback of the fault for a crash.
    assert service.process.wait(60) == 0, service.log


def assert_logged_once(service: Service, name: str, processes: int) -> None:
    """Assert that each of the processes logs the fault once at most, and no other error."""
    assert 1 <= service.said(f"RuntimeError: fault of {name}") <= processes, service.log
    assert service.said("[ERROR]") == service.said(f"RuntimeError: fault of {name}"), service.log


@pytest.mark.parametrize(("owner", "name"), REQUEST_PARTS, ids=[name for _, name in REQUEST_PARTS])
def test_request_does_not_fail_because_of_a_fault(owner: str, name: str, tmp_path: Path) -> None:
    with start(tmp_path, owner, name) as service:
        port = service.ready("/ready").port
        with Crowd(lambda: port, KINDS) as crowd:
            (tmp_path / "flag").touch()
            crowd.wait_for_responses(100, "responses in spite of the fault")
            service.signal(signal.SIGTERM)
            wait_until(lambda: service.said("Drain began") == 1, "the drain")
            lose_nothing_until_the_end(service, crowd)
        # Two parts that call each other may each log a fault.
        assert_logged_once(service, name, processes=4)


@pytest.mark.parametrize(("owner", "name"), STOP_PARTS, ids=[name for _, name in STOP_PARTS])
def test_drain_loses_nothing_because_of_a_fault(owner: str, name: str, tmp_path: Path) -> None:
    with start(tmp_path, owner, name) as service:
        port = service.ready("/ready").port
        with Crowd(lambda: port, KINDS) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            (tmp_path / "flag").touch()
            service.begin_drain("/ready")
            assert get(port, "/").closes
            lose_nothing_until_the_end(service, crowd)
        assert_logged_once(service, name, processes=1)


@pytest.mark.long
@pytest.mark.parametrize(("owner", "name"), WORKER_PARTS, ids=[name for _, name in WORKER_PARTS])
def test_service_survives_a_fault_when_a_worker_is_replaced(owner: str, name: str, tmp_path: Path) -> None:
    with start(tmp_path, owner, name) as service:
        port = service.ready("/ready").port
        old = set(service.workers)
        with Crowd(lambda: port, KINDS) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            (tmp_path / "flag").touch()
            service.signal(signal.SIGTTOU)  # one worker fewer
            wait_until(lambda: len(service.workers) == 1, "one worker")
            service.signal(signal.SIGTTIN)  # one worker more
            wait_until(lambda: set(service.workers) - old, "a new worker")
            crowd.wait_for_responses(100, "responses of the new worker too")
            service.signal(signal.SIGTERM)
            wait_until(lambda: service.said("Drain began") == 1, "the drain")
            lose_nothing_until_the_end(service, crowd)
        assert service.said(f"RuntimeError: fault of {name}") >= 1, service.log
