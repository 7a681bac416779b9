"""The verdict on losses, pods' lives and a manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from kubectl_lossless.measure.events import Event
from kubectl_lossless.measure.evidence import Advice, Evidence
from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Closed, Failure, Response, Result
from kubectl_lossless.measure.pod import Mark, Pod, State
from kubectl_lossless.measure.verdict import Verdict, verdict
from kubectl_lossless.measure.workload import Facts

FACTS = Facts(
    kind="deployment",
    replicas=2,
    strategy="RollingUpdate",
    unavailable=0,
    pre_stop=0.0,
    grace=30.0,
    readiness=True,
    container="web",
    image="web:1",
)
ZERO = 1000.0


def pod(
    name: str, *states: tuple[float, State], end: float | None = None, code: int = 0, grace: float = 30
) -> Pod:
    marks: list[tuple[float, str]] = [(end, Mark.STOPPED)] if end is not None else []
    return Pod(
        name, "1", "r", states=list(states), uid=name, marks=marks, exit=code if end else None, grace=grace
    )


STAYS = pod("stays", (900, State.READY))
OLD = pod("old", (900, State.READY), (1010, State.DRAINING), (1012, State.GONE), end=1011)
NEW = pod("new", (1002, State.PENDING), (1004, State.NOT_READY), (1009, State.READY))


def lost(
    at: float, kind: Kind = Kind.REFUSED, *, kept: bool = False, ms: float = 1.0, status: int = 0
) -> Failure:
    connecting = kind is Kind.REFUSED
    return Failure(
        at - ms / 1000, "new", ms, kind, "", kept, "connecting" if connecting else "waiting", status
    )


def judged(  # noqa: PLR0917 - all but the first are mostly left out
    failures: Sequence[Failure],
    pods: Sequence[Pod] = (STAYS, OLD, NEW),
    leaving: Facts = FACTS,
    coming: Facts = FACTS,
    findings: Sequence[Advice] = (),
    unseen: dict[str, str] | None = None,
    listed: dict[str, float] | None = None,
) -> Verdict:
    load = Result("http://x", {"new": 1}, started=990, ended=1030, failures=list(failures))
    load.responses = [Response(990 + number / 10, "new", 2.0, "", "") for number in range(400)]
    return verdict(Evidence(load, pods, ZERO, leaving, coming, findings, (), unseen or {}, listed or {}))


def causes(found: Verdict) -> dict[str, int]:
    assert sum(group.count for group in found.groups) == found.lost
    return {group.cause: group.count for group in found.groups}


def test_rollout_without_losses_blames_nothing() -> None:
    found = judged([])
    assert (found.groups, found.lost, found.explained) == ([], 0, 0)
    assert found.headline == "None of 400 requests lost."
    assert "while 1 pod terminated" in found.notes[0]


def test_refused_connections_after_sigterm_are_the_server_s() -> None:
    found = judged([lost(1010.1), lost(1010.9)])
    assert causes(found) == {"drain": 2}
    group = found.groups[0]
    assert group.when == "0.1-0.9 s after SIGTERM of old"
    assert "preStop: {sleep: {seconds: 5}}" in group.do
    assert group.how == {"connection refused": 2}


@pytest.mark.parametrize("status", [502, 503, 504])
def test_response_of_a_proxy_after_sigterm_counts_for_the_server(status: int) -> None:
    assert causes(judged([lost(1010.5, Kind.SERVER_ERROR, status=status)])) == {"drain": 1}


def test_kept_and_new_connections_are_distinguished() -> None:
    found = judged([lost(1010.1, Kind.RESET, kept=True), lost(1010.1, Kind.CLOSED)])
    assert causes(found) == {"drain": 1, "kept": 1}


def test_long_request_that_sigterm_ends_was_in_flight() -> None:
    load = Result("http://x", {"slow": 1}, started=990, ended=1030)
    load.responses = [Response(990 + number, "slow", 5000.0, "", "") for number in range(10)]
    load.failures = [replace(lost(1010.3, Kind.CLOSED, ms=4000), client="slow")]
    assert causes(verdict(Evidence(load, (STAYS, OLD, NEW), ZERO, FACTS, FACTS))) == {"in-flight": 1}


def test_short_request_that_waited_for_long_was_never_accepted() -> None:
    """It stood in the queue of a server that no longer accepts, until that ended."""
    assert causes(judged([lost(1011.1, Kind.RESET, ms=900)])) == {"drain": 1}


def test_hook_delays_sigterm() -> None:
    """A loss while the hook runs cannot come from the terminating pod."""
    hooked = replace(FACTS, pre_stop=5.0)
    old = pod("old", (900, State.READY), (1010, State.DRAINING), (1017, State.GONE), end=1016)
    early = judged([lost(1013)], (STAYS, old), leaving=hooked)
    late = judged([lost(1015.4)], (STAYS, old), leaving=hooked)
    assert causes(early) == {"unexplained": 1}
    assert causes(late) == {"drain": 1}
    assert "0.4 s after the preStop hook of 5 s" in late.groups[0].why


def test_killed_pod_loses_its_requests_in_flight() -> None:
    old = pod(
        "old", (900, State.READY), (1010, State.DRAINING), (1014, State.GONE), end=1014, code=137, grace=4
    )
    found = judged([lost(1014.1, Kind.RESET, kept=True)], (STAYS, old), leaving=replace(FACTS, grace=4))
    assert causes(found) == {"killed": 1}
    assert found.groups[0].when == "4.1 s after the deletion of old"


def test_kill_of_one_pod_is_not_blamed_on_the_next_deletion() -> None:
    """Pods of a rollout are deleted in turn, and the first is killed about when the next is deleted."""
    first = pod(
        "a", (900, State.READY), (1010, State.DRAINING), (1014.5, State.GONE), end=1014.3, code=137, grace=4
    )
    second = pod(
        "b", (900, State.READY), (1014, State.DRAINING), (1018.5, State.GONE), end=1018.3, code=137, grace=4
    )
    found = judged(
        [lost(1014.02, Kind.RESET, kept=True)], (STAYS, first, second), leaving=replace(FACTS, grace=4)
    )
    assert causes(found) == {"killed": 1}


def test_pod_without_readiness_probe_gets_requests_too_early() -> None:
    coming = replace(FACTS, readiness=False)
    new = pod("new", (1002, State.PENDING), (1004, State.READY))
    hooked = replace(FACTS, pre_stop=5.0)
    found = judged([lost(1004.5), lost(1006)], (STAYS, OLD, new), leaving=hooked, coming=coming)
    assert causes(found) == {"not-listening": 2}
    assert found.groups[0].when == "0.5-2.0 s after new became ready"


def test_indistinguishable_causes_are_both_named() -> None:
    coming = replace(FACTS, readiness=False)
    new = pod("new", (1002, State.PENDING), (1010, State.READY))
    found = judged([lost(1010.5), lost(1012.5)], (STAYS, OLD, new), coming=coming)
    assert causes(found) == {"drain-or-not-listening": 1, "not-listening": 1}


def test_time_without_ready_pods_is_an_outage() -> None:
    alone = pod("old", (900, State.READY), (1001, State.DRAINING), (1003, State.GONE), end=1002)
    found = judged(
        [lost(1001.1), lost(1005), lost(1009.5)], (alone, NEW), leaving=replace(FACTS, strategy="Recreate")
    )
    assert causes(found) == {"outage": 3}
    assert "strategy Recreate" in found.groups[0].why


def test_loss_without_a_cause_is_reported_as_unexplained() -> None:
    found = judged([lost(1025)])
    assert causes(found) == {"unexplained": 1}
    assert found.explained == 0
    assert found.headline.endswith("unexplained.")
    assert found.groups[0].do == ""


def test_loss_before_the_rollout_is_not_counted_for_the_rollout() -> None:
    assert causes(judged([lost(995)])) == {"before": 1}


def test_container_that_ends_by_itself_is_named() -> None:
    crashed = replace(STAYS, name="crashed", marks=[(1005, Mark.RESTARTED)])
    assert causes(judged([lost(1004)], (crashed, pod("other", (900, State.READY))))) == {"crash": 1}


def test_timeout_counts_from_when_the_request_was_sent() -> None:
    failure = Failure(1010.3, "new", 10_000, Kind.TIMEOUT, "", kept=False, phase="connecting")
    assert causes(judged([failure])) == {"drain": 1}


def test_unreachable_address_counts_from_when_the_connection_began() -> None:
    """The next pod of a StatefulSet is ready when Linux reports the address of the one before it."""
    detail = "No route to host while connecting"
    failure = Failure(1011.0, "new", 3050, Kind.OTHER, detail, kept=False, phase="connecting")
    following = pod("old (2)", (1012, State.PENDING), (1014, State.READY))
    assert causes(judged([failure], (STAYS, OLD, following))) == {"drain": 1}


def test_finding_of_the_doctor_names_check_and_line() -> None:
    found = judged(
        [lost(1010.1)], findings=[Advice("drain", "", "spec.x: 1"), Advice("other", "", "spec.y: 2")]
    )
    assert (found.groups[0].check, found.groups[0].do) == ("drain", "spec.x: 1")


def test_listed_pods_are_seen_later_than_their_losses() -> None:
    assert causes(judged([lost(1007.5)], (STAYS, OLD))) == {"unexplained": 1}
    found = judged([lost(1007.5)], (STAYS, OLD), listed={"pods": 2.54})
    assert causes(found) == {"drain": 1}
    assert found.notes == ["Listed, not watched: pods. Changes were seen up to 2.5 s late."]


def test_pods_seen_by_their_endpoint_slices_are_noted() -> None:
    found = judged([lost(1010.1)], unseen={"pods": "pods is forbidden\nmore"})
    assert causes(found) == {"drain": 1}
    assert found.notes[0].startswith("Pods are those of their EndpointSlices.")
    assert found.notes[0].endswith("pods is forbidden")


def test_objects_that_could_not_be_seen_are_noted() -> None:
    found = judged([lost(1010.1)], (), unseen={"pods": "pods is forbidden\nmore"})
    assert causes(found) == {"unexplained": 1}
    assert "could not be watched" in found.groups[0].why
    assert "Not seen: the pods. pods is forbidden" in found.notes


def test_warnings_of_kubernetes_are_noted_once_for_each_reason() -> None:
    events = [
        Event(1009, "Pod/new", "Unhealthy", "Readiness probe failed: connection refused", warning=True),
        Event(1010, "Pod/old", "Killing", "Stopping container web"),
        Event(1010.1, "Pod/old", "FailedPreStopHook", "PreStopHook failed", warning=True),
        Event(1010.2, "Pod/old-2", "FailedPreStopHook", "PreStopHook failed", warning=True),
        Event(1011, "Pod/stays", "Unhealthy", "Liveness probe failed: timeout", warning=True),
        Event(900, "Pod/stays", "BackOff", "from before the rollout", warning=True),
    ]
    load = Result("http://x", {"idle": 1}, started=990, ended=1030)
    found = verdict(Evidence(load, (STAYS, OLD), ZERO, FACTS, FACTS, events=events))
    assert found.notes == [
        "Kubernetes warned: FailedPreStopHook of Pod/old and 1 more: PreStopHook failed",
        "Kubernetes warned: Unhealthy of Pod/stays: Liveness probe failed: timeout",
    ]


def test_closed_idle_connections_are_noted() -> None:
    load = Result("http://x", {"idle": 1}, started=990, ended=1030, closed=[Closed(1011, "idle")])
    found = verdict(Evidence(load, (STAYS, OLD), ZERO, FACTS, FACTS))
    assert any(note.startswith("1 idle connection closed") for note in found.notes)


def test_verdict_survives_its_json() -> None:
    found = judged([lost(1010.1), lost(1025)])
    assert Verdict.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_headline_distinguishes_losses_before_the_rollout_from_unexplained_ones() -> None:
    found = judged([lost(ZERO - 5), lost(ZERO + 500)])
    assert found.headline.endswith("requests lost: 1 before the rollout began, 1 unexplained.")
