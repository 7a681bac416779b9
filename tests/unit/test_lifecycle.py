"""app/lifecycle.py: the policy and the shared page. tests/process has the signals."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle import (
    HEAD_CELLS,
    LONG_KINDS,
    SLOT_CELLS,
    SLOTS,
    DrainPolicy,
    Ending,
    Lifecycle,
    Long,
    Observation,
    State,
    drain_ending,
)
from app.probe_rule import Probe

seconds = st.floats(0, 1000)
counts = st.integers(0, 9)
observations = st.builds(
    Observation, elapsed=seconds, quiet=seconds, in_flight=counts, backlog=counts, long=counts
)
policies = st.tuples(seconds, seconds, seconds).map(
    lambda three: DrainPolicy(
        minimum=min(three[0], three[2]), quiet=three[1], maximum=max(three[0], three[2])
    )
)


@given(policies, observations)
def test_a_drain_ends_at_its_maximum_or_when_nothing_is_left(policy: DrainPolicy, seen: Observation) -> None:
    nothing_left = seen.quiet >= policy.quiet and not (seen.in_flight or seen.backlog or seen.long)
    if seen.elapsed >= policy.maximum:
        assert drain_ending(policy, seen) is Ending.MAXIMUM
    elif seen.elapsed >= policy.minimum and nothing_left:
        assert drain_ending(policy, seen) is Ending.QUIET
    else:
        assert drain_ending(policy, seen) is None


@given(policies, observations, seconds)
def test_an_ended_drain_stays_ended_while_time_passes(
    policy: DrainPolicy, seen: Observation, more: float
) -> None:
    later = replace(seen, elapsed=seen.elapsed + more, quiet=seen.quiet + more)
    assert drain_ending(policy, seen) is None or drain_ending(policy, later) is not None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"minimum": -1}, "minimum"),
        ({"quiet": float("nan")}, "quiet"),
        ({"maximum": float("inf")}, "maximum"),
        ({"minimum": 16}, "minimum"),
    ],
)
def test_an_impossible_policy_is_refused(arguments: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DrainPolicy(**arguments)


class Request:
    """A request as Gunicorn hands it to the hooks: method, path, headers and should_close()."""

    def __init__(
        self, path: str = "/", headers: list[tuple[str, str]] | None = None, method: str = "GET"
    ) -> None:
        self.path, self.headers, self.must_close = path, headers or [], False
        self.method = method

    def force_close(self) -> None:
        self.must_close = True

    def should_close(self) -> bool:
        return self.must_close


WORKER: Any = None  # the hooks have no use for it


def test_requests_are_counted_and_probes_are_not(lifecycle: Lifecycle) -> None:
    lifecycle.configure(DrainPolicy(), [Probe("/health"), Probe("/version", header="X-Probe")])
    clients = [Request("/"), Request("/version"), Request("/health/more"), Request("/health", method="POST")]
    platform = [Request("/health"), Request("/version", [("X-PROBE", "1")])]
    for each in clients + platform:
        lifecycle.pre_request(WORKER, each)
    assert lifecycle.in_flight == len(clients)
    lifecycle.begin_drain()
    for each in clients + platform:
        lifecycle.post_request(WORKER, each)
    assert lifecycle.in_flight == 0
    assert lifecycle.answered_while_draining == len(clients)


def test_a_request_that_began_before_the_drain_announces_the_close(lifecycle: Lifecycle) -> None:
    request = Request()
    lifecycle.pre_request(WORKER, request)
    lifecycle.begin_drain()
    assert request.should_close()  # as Gunicorn asks when it writes the head
    assert request.must_close


def test_what_was_said_to_stay_open_stays_open(lifecycle: Lifecycle) -> None:
    request = Request()
    lifecycle.pre_request(WORKER, request)
    assert not request.should_close()  # the head says keep-alive
    lifecycle.begin_drain()
    assert not request.should_close()  # asked again after the body


def test_without_a_drain_nothing_is_announced(lifecycle: Lifecycle) -> None:
    lifecycle.configure(None)
    request = Request()
    lifecycle.pre_request(WORKER, request)
    lifecycle.begin_drain()
    assert not request.should_close()


def test_the_workers_share_one_page_and_the_dead_leave_no_count(lifecycle: Lifecycle) -> None:
    server = SimpleNamespace(WORKERS={}, log=None)
    worker = SimpleNamespace(handle_exit=None)
    lifecycle.pre_fork(server, worker)
    server.WORKERS[1] = worker
    lifecycle.begin_drain()
    pid = os.fork()
    if pid == 0:  # a worker that dies in the middle of its second request
        lifecycle.configure(None)
        lifecycle.post_fork(server, worker)
        lifecycle.post_worker_init(worker)
        done = Request()
        lifecycle.pre_request(worker, done)
        lifecycle.post_request(worker, done)
        lifecycle.pre_request(worker, Request())
        os._exit(0)
    os.waitpid(pid, 0)
    assert (lifecycle.in_flight, lifecycle.answered_while_draining) == (1, 1)
    assert lifecycle.observe().in_flight == 1
    assert 0 < lifecycle.last_arrival_seconds <= lifecycle.drain_seconds
    assert lifecycle.cut_off == 0
    arrived = lifecycle.last_arrival_seconds
    lifecycle.child_exit(server, worker)
    assert (lifecycle.in_flight, lifecycle.answered_while_draining, lifecycle.cut_off) == (0, 1, 1)
    assert lifecycle.last_arrival_seconds == arrived  # the figure by which DRAIN_MIN is chosen
    assert lifecycle.observe().quiet < lifecycle.observe().elapsed


@pytest.mark.parametrize("kind", [LONG_KINDS, -1, LONG_KINDS + 1000, True, 0.0, "events"])
def test_unknown_kind_of_long_connection_is_refused(lifecycle: Lifecycle, kind: Any) -> None:
    before = bytes(lifecycle._page)
    with pytest.raises(ValueError, match=r"kind is .*; allowed are whole numbers from 0 to 1"):
        lifecycle.count_long(kind, Long.OPEN)
    with pytest.raises(ValueError, match="kind is"):
        lifecycle.long_connections(Long.OPEN, kind)
    assert bytes(lifecycle._page) == before


@pytest.mark.parametrize("what", [len(Long), -1, "open"])
def test_unknown_counter_of_long_connections_is_refused(lifecycle: Lifecycle, what: Any) -> None:
    before = bytes(lifecycle._page)
    with pytest.raises(ValueError, match="is not a valid Long"):
        lifecycle.count_long(0, what)
    assert bytes(lifecycle._page) == before


@pytest.mark.parametrize("slot", [0, -1, HEAD_CELLS + 1, HEAD_CELLS + SLOTS * SLOT_CELLS])
def test_slot_outside_the_page_is_refused(lifecycle: Lifecycle, slot: int) -> None:
    with pytest.raises(ValueError, match="slot is"):
        lifecycle.post_fork(None, SimpleNamespace(lifecycle_slot=slot))


def test_what_arrived_before_the_drain_did_not_arrive_in_it(lifecycle: Lifecycle) -> None:
    lifecycle.pre_request(WORKER, Request())
    lifecycle.begin_drain()
    assert lifecycle.last_arrival_seconds == 0
    lifecycle.pre_request(WORKER, Request())
    assert lifecycle.last_arrival_seconds > 0


def test_states_follow_one_another(lifecycle: Lifecycle) -> None:
    assert (lifecycle.state, lifecycle.ready) == (State.STARTING, False)
    lifecycle.mark_ready()
    assert (lifecycle.state, lifecycle.ready) == (State.READY, True)
    lifecycle.begin_drain()
    assert (lifecycle.state, lifecycle.ready) == (State.DRAINING, False)
    lifecycle.mark_ready()  # a worker that boots in the middle of a drain
    assert (lifecycle.state, lifecycle.ready) == (State.DRAINING, False)
