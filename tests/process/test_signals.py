"""Effect of each signal on the service, at every moment of its life."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.settings import WORKER_CLASSES
from gunicorn_fast import LEADER_WORKER
from tests.process.clients import CALM_KINDS, Connection, Crowd, Kind, Lost
from tests.process.delay import ROUND_TRIP, DelayProxy
from tests.process.service import QUICK, SLACK, Service, catches, for_each_class
from tests.waiting import CONDITION_TIMEOUT, wait_until

VERSION = "/api/nowater/version"
PROBE_HEADER = "X-Custom-Header: Awesome"

LASTING: dict[str, Any] = {"DRAIN_MIN": 60, "DRAIN_MAX": 60, "GRACEFUL_TIMEOUT": 60}
"""Settings of a drain and a graceful stop that no test waits for, also on a busy machine."""


@contextlib.contextmanager
def in_flight(service: Service, seconds: float, count: int = 1) -> Iterator[list[Connection]]:
    """Send `count` requests of `seconds` each; yield their connections once all are in flight."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(service.port)) for _ in range(count)]
        for each in connections:
            each.send(f"/api/sleep/{seconds:g}")
        wait_until(
            lambda: service.metric("lifecycle_requests_in_flight") == count, f"{count} requests in flight"
        )
        yield connections


# ---- SIGTERM -----------------------------------------------------------------------------------------


def test_idle_service_exits_after_drain_min() -> None:
    # On a busy machine the exit of the processes takes longer than the drain; only the maximum is far away.
    settings = {**QUICK, "DRAIN_MAX": 60}

    def seconds_to_exit(worker_class: str) -> float:
        with Service(WORKER_CLASS=worker_class, **settings) as service:
            service.ready().signal(signal.SIGTERM)
            took = service.wait()
            ended = re.search(r"Drain ended: quiet; 0 requests completed in ([\d.]+) s", service.log)
            assert ended, service.log
            assert QUICK["DRAIN_MIN"] <= float(ended[1]) <= QUICK["DRAIN_MIN"] + SLACK, worker_class
            return took

    took = for_each_class(seconds_to_exit)
    print(took)
    for worker_class, seconds in took.items():
        assert QUICK["DRAIN_MIN"] <= seconds < settings["DRAIN_MAX"] / 2, worker_class


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_draining_service_serves_and_announces_the_close(worker_class: str) -> None:
    with Service(WORKER_CLASS=worker_class, **QUICK) as service:
        port = service.ready().port
        with Connection(port) as kept, Connection(port) as slow:
            assert kept.ask().closes is (worker_class == "sync")
            if worker_class == "sync":
                kept.close()
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "it counted out")
            # Begins before the drain, and holds it until the other requests are sent, also on a busy machine.
            slow.send("/api/sleep/3")
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 1, "one in flight")
            service.begin_drain()
            wait_until(lambda: service.said("Drain began") == 1, "the line with what is in flight")
            ready = service.get("/health/ready")
            assert (ready.status, ready.body) == (503, b'{"state": "draining"}\n')
            alive = service.get("/health")
            assert (alive.status, alive.body) == (200, b'{"state": "draining"}\n')
            assert service.get(VERSION, PROBE_HEADER).status == 503
            assert service.get(VERSION).status == 200
            responses = [service.get("/api"), service.get("/metrics"), alive, ready]
            if worker_class != "sync":
                responses.append(kept.ask())
                assert kept.closed_within(SLACK)
            responses.append(slow.response())
            assert slow.closed_within(SLACK)
            assert all(each.closes for each in responses)
        service.wait()
        began = re.search(
            r"Drain began: .* 1\.5 s at the earliest, 0\.3 s .*, 6\.0 s .*; 1 request in flight", service.log
        )
        # The request in flight, GET /api, the version without the probe's header, the kept connection.
        completed = 3 + (worker_class != "sync")
        ended = re.search(
            rf"Drain ended: quiet; {completed} requests completed in [0-9.]+ s, 0 still in flight, 0 waiting",
            service.log,
        )
        assert began, service.log
        assert ended, service.log
        assert (service.said("Drain began"), service.said("Drain ended")) == (1, 1)


def test_metrics_cover_all_workers() -> None:
    with Service(WORKERS=2, **LASTING) as service:
        service.ready()

        def same(**values: float) -> None:
            for _ in range(8):  # whichever worker responds
                page = service.get("/metrics").body.decode()
                for name, value in values.items():
                    assert f"\nlifecycle_{name} {float(value)}\n" in page, name

        same(ready=1, draining=0, requests_in_flight=0, drain_requests_total=0, drain_duration_seconds=0)
        with in_flight(service, 5, count=4) as slow:
            same(ready=1, draining=0, requests_in_flight=4)
            service.begin_drain()
            observed = time.monotonic()
            same(ready=0, draining=1, requests_in_flight=4, drain_requests_total=0)
            for _ in range(7):
                service.get("/api")
            assert all(each.response().status == 200 for each in slow)
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "none in flight")
            same(drain_requests_total=11)
            at_least = time.monotonic() - observed
            lasted = service.metric("lifecycle_drain_duration_seconds")
            assert at_least <= lasted <= time.monotonic() - service.signalled
        service.signal(signal.SIGTERM)
        service.wait()
        assert service.said("Drain ended: second signal; 11 requests completed") == 1


def test_drain_waits_for_requests_in_flight_beyond_drain_min() -> None:
    with Service(**QUICK) as service, in_flight(service.ready(), 3) as (slow,):
        service.signal(signal.SIGTERM)
        assert slow.response().status == 200
        took = service.wait()
        assert took >= 2.5  # not at DRAIN_MIN
        assert service.said("Drain ended: quiet; 1 request completed")


def test_drain_with_endless_traffic_ends_at_drain_max() -> None:
    # The quiet period is longer than any pause of the clients on a busy machine.
    settings: dict[str, Any] = {"DRAIN_MIN": 1, "DRAIN_QUIET": 2, "DRAIN_MAX": 2.5}
    endless = (Kind("busy kept", pause=(0.0, 0.1)), Kind("busy new", pause=(0.0, 0.1), kept=False))

    def lasts(worker_class: str) -> float:
        with Service(WORKER_CLASS=worker_class, **settings) as service:
            port = service.ready().port
            with Crowd(lambda: port, endless) as crowd:
                wait_until(crowd.everyone_served, "traffic")
                service.signal(signal.SIGTERM)
                service.wait()
            ended = re.search(
                r"Drain ended: maximum; ([1-9]\d*) requests completed in ([\d.]+) s", service.log
            )
            assert ended, service.log
            return float(ended[2])

    for lasted in for_each_class(lasts).values():
        assert 2.5 <= lasted <= 2.5 + SLACK


def test_second_sigterm_ends_the_drain() -> None:
    with Service(**LASTING) as service, in_flight(service.ready(), 3) as (slow,):
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.said("Drain began") == 1, "the drain")
        service.signal(signal.SIGTERM)
        assert slow.response().status == 200  # the stop is still graceful
        slow.close()
        assert service.wait() < LASTING["DRAIN_MIN"] / 2
        assert service.said("Drain ended: second signal; 0 requests completed") == 1
        assert service.said("Drain began") == 1


def test_sigterm_to_the_process_group_begins_one_drain() -> None:
    with Service(group=True, **QUICK) as service, in_flight(service.ready(), 3) as (slow,):
        service.signalled = time.monotonic()
        os.killpg(service.process.pid, signal.SIGTERM)
        wait_until(lambda: service.said("Drain began") == 1, "the drain")
        for _ in range(20):
            assert service.get("/api").status == 200
        assert slow.response().status == 200
        service.wait()
        assert service.said("Drain ended: quiet; 21 requests completed") == 1


# ---- SIGTERM while starting --------------------------------------------------------------------------

SLOW_APPLICATION = """
import time
time.sleep(30)
def application(environ, start_response): ...
"""

STARTS: dict[str, dict[str, Any]] = {
    "preload": {"WORKER_CLASS": LEADER_WORKER},
    "gevent": {"WORKER_CLASS": "gevent"},
    "slow import": {"WORKER_CLASS": "gevent"},
    "slow import before the fork": {"WORKER_CLASS": LEADER_WORKER},
    "quick": {"WORKER_CLASS": "gevent", "number": signal.SIGQUIT},
    "process group": {"WORKER_CLASS": LEADER_WORKER, "group": True},
    "process group, gevent": {"WORKER_CLASS": "gevent", "group": True},
}


@pytest.mark.parametrize("start", STARTS)
def test_stop_at_any_moment_of_the_start_is_prompt(start: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_APPLICATION)
    flags = ("--pythonpath", str(tmp_path), "slow:application") if "slow" in start else ()

    own = dict(STARTS[start])
    number, group = own.pop("number", signal.SIGTERM), own.pop("group", False)
    settings = {"DRAIN_MIN": 0.2, "DRAIN_QUIET": 0, "DRAIN_MAX": 1, "WORKERS": 2, **own}

    def stop_after(seconds: float) -> float:
        with Service(*flags, group=group, **settings) as service:
            time.sleep(seconds)  # the moment of the signal is under test
            if group:
                service.signalled = time.monotonic()
                os.killpg(service.process.pid, number)
            else:
                service.signal(number)
            # Before Gunicorn has a handler, the signal itself terminates the process.
            return service.wait(statuses=(0, -number))

    with ThreadPoolExecutor(2) as pool:
        took = list(pool.map(stop_after, [step * 0.05 for step in range(13)]))
    assert max(took) <= 0.2 + SLACK, took


def test_loading_worker_is_terminated_by_the_kernel(tmp_path: Path) -> None:
    """Rely on no handler of Python's, which runs only when the interpreter's current operation ends."""
    (tmp_path / "slow.py").write_text(SLOW_APPLICATION)
    flags = ("--pythonpath", str(tmp_path), "slow:application")
    with Service(*flags, WORKER_CLASS="gevent", WORKERS=1) as service:
        wait_until(lambda: "Booting worker" in service.log, "a worker")
        (worker,) = service.workers
        wait_until(lambda: not catches(worker, signal.SIGHUP), "its own signals")
        wait_until(lambda: catches(worker, signal.SIGABRT), "its own handlers")
        for number in (signal.SIGTERM, signal.SIGQUIT):
            assert not catches(worker, number)
        service.signal(signal.SIGTERM)
        assert service.wait() < SLACK
        assert service.said("was sent SIGTERM") == 1


# ---- the other signals -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("draining", [False, True])
def test_sigint_and_sigquit_stop_the_service_at_once(number: signal.Signals, draining: bool) -> None:
    with Service(**LASTING) as service:
        service.ready()
        if draining:
            service.signal(signal.SIGTERM)
            wait_until(lambda: service.said("Drain began") == 1, "the drain")
        service.signal(number)
        assert service.wait() < LASTING["DRAIN_MIN"] / 2
        assert service.said("Drain ended") == 0


@pytest.mark.long
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_reload_under_load_loses_nothing(far: bool) -> None:
    # An idle client, which sends a request every 4 s or sooner, is notified then. 2 s are for a busy machine.
    settings: dict[str, Any] = {"DRAIN_MIN": 6, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 10}

    def reload(worker_class: str) -> Crowd:
        count = 8 if worker_class == "sync" else 2
        with (
            Service(WORKER_CLASS=worker_class, WORKERS=count, **settings) as service,
            contextlib.ExitStack() as stack,
        ):
            port = service.ready().port
            if far:
                port = stack.enter_context(DelayProxy(port, ROUND_TRIP)).port
            with Crowd(lambda: port, CALM_KINDS, each=1) as crowd:
                wait_until(crowd.everyone_served, "a response to every kind")
                old = set(service.workers)
                service.signal(signal.SIGHUP)
                wait_until(
                    lambda: len(service.workers) == count and not old & set(service.workers), "new workers"
                )
                crowd.wait_for_responses(50, "traffic after the reload")
            assert "Traceback" not in service.log, service.log
            # The end of the test, and not of a reload: stock sync may still be sending its last response,
            # and then logs its interruption by SIGINT.
            service.signal(signal.SIGINT)
            assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log
            return crowd

    for worker_class, crowd in for_each_class(reload).items():
        assert (crowd.lost, crowd.unannounced) == (0, 0), f"{worker_class}\n{crowd}"


def test_sigterm_during_a_reload_begins_the_drain() -> None:
    with Service(**{**QUICK, "DRAIN_MAX": 60}) as service, in_flight(service.ready(), 6) as (slow,):
        service.signal(signal.SIGHUP)
        # The master now waits for the old worker, and the old worker for its request.
        wait_until(
            lambda: service.said("Reload succeeded") == 1 and len(service.workers) == 3,
            "new workers beside an old one",
        )
        assert service.get("/health/ready").status == 200
        service.begin_drain()
        # The master does not wait for the old worker any longer.
        wait_until(lambda: service.said("Drain began") == 1, "the drain")
        assert service.said("at the latest; 1 request in flight") == 1
        assert slow.response().status == 200
        service.wait()
        assert service.said("Drain ended: quiet") == 1


# ---- a worker that is killed -------------------------------------------------------------------------


@pytest.mark.parametrize("draining", [False, True])
def test_killed_worker_leaves_no_request_in_flight(draining: bool) -> None:
    # New workers boot while the drain lasts, also on a busy machine.
    settings: dict[str, Any] = {"DRAIN_MIN": 8 if draining else 1, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 60}
    with Service(**settings) as service, in_flight(service.ready(), 30, count=4) as lost:
        killed = service.workers
        if draining:
            service.signal(signal.SIGTERM)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        for each in lost:
            with pytest.raises(Lost):
                each.response()
        wait_until(
            lambda: len(service.workers) == 2 and not set(killed) & set(service.workers), "new workers"
        )
        wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "none in flight")
        assert service.get("/api").status == 200
        if not draining:
            service.signal(signal.SIGTERM)
        service.wait()
        assert service.said("Drain ended: quiet") == 1


def test_last_arrival_outlives_its_worker() -> None:
    settings = {**QUICK, "DRAIN_QUIET": 2, "WORKERS": 2}
    with Service(**settings) as service:
        service.ready()
        before = service.workers
        service.begin_drain()
        wait_until(
            lambda: service.metric("lifecycle_drain_duration_seconds") > 0.5, "half a second of the drain"
        )
        assert service.get("/api").status == 200
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not set(before) & set(service.workers), "the death of both workers")
        service.wait()
        ended = re.search(r"the last request arrived after ([0-9.]+) s", service.log)
        assert ended, service.log
        assert 0.5 <= float(ended[1]) < float(settings["DRAIN_MAX"])
