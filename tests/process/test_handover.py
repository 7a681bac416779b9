"""Handover of clients from a terminating instance to its successor, without a lost request."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Any

import pytest

from app.settings import WORKER_CLASSES
from tests.process.clients import KINDS, Crowd, Kind, Router
from tests.process.delay import ROUND_TRIP, DelayProxy
from tests.process.service import Service, for_each_class
from tests.waiting import wait_until

PROPAGATION = 3.0
"""Time from SIGTERM until new connections reach the successor, in seconds; less than DRAIN_MIN."""


@dataclass
class Handover:
    """Record of a handover. `far` clients have a round-trip time, `near` clients hardly any."""

    near: Crowd
    far: Crowd
    took: float
    """Time from SIGTERM to the exit, in seconds."""
    log: str

    def __str__(self) -> str:
        return f"exit after {self.took:.2f} s\nnear:\n{self.near}\nfar:\n{self.far}\n{self.log}"


SILENT = Kind("silent kept", pause=(60.0, 60.0))
"""Client that is silent after its first response: no server can notify it, and it must observe the close."""


def hand_over(worker_class: str, kinds: tuple[Kind, ...] = KINDS, **settings: Any) -> Handover:
    """Terminate an instance under load of every kind, and send its clients to another instance."""
    # A sync worker serves one request at a time.
    settings = {"WORKER_CLASS": worker_class, "WORKERS": 10 if worker_class == "sync" else 2, **settings}
    with (
        Service(**settings) as leaving,
        Service(**settings) as successor,
        DelayProxy(leaving.ready().port, ROUND_TRIP) as far_leaving,
        DelayProxy(successor.ready().port, ROUND_TRIP) as far_successor,
    ):
        near, far = Router(leaving.port), Router(far_leaving.port)
        with Crowd(lambda: near.port, kinds) as near_crowd, Crowd(lambda: far.port, kinds) as far_crowd:
            wait_until(
                lambda: near_crowd.everyone_served() and far_crowd.everyone_served(),
                "a response to every kind",
            )
            leaving.signal(signal.SIGTERM)
            time.sleep(PROPAGATION)
            near.switch(successor.port)
            far.switch(far_successor.port)
            took = leaving.wait(40)
            before = near_crowd.responses + far_crowd.responses
            wait_until(lambda: near_crowd.responses + far_crowd.responses > before + 100, "a going successor")
        return Handover(near_crowd, far_crowd, took, leaving.log)


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_handover_loses_nothing(worker_class: str) -> None:
    seen = hand_over(worker_class)
    print(worker_class, seen)  # shown by pytest with -rP, and if the test fails
    for crowd in (seen.near, seen.far):
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(seen)
    assert "Drain ended: quiet" in seen.log


def test_handover_without_the_drain_loses_requests() -> None:
    """Show that the same counters detect losses: the positive control of the test above."""
    all_seen = for_each_class(
        lambda worker_class: hand_over(worker_class, (*KINDS, SILENT), DRAIN="off", GRACEFUL_TIMEOUT=2)
    )
    for worker_class, seen in all_seen.items():
        print(worker_class, seen)
        for crowd in (seen.near, seen.far):
            assert crowd.tallies["busy new"].lost.total() > 0, str(seen)
            assert crowd.tallies["session"].lost.total() > 0, str(seen)
            if worker_class != "sync":  # sync keeps no connection
                assert crowd.tallies["silent kept"].unannounced > 0, str(seen)
