"""What kubectl's objects say about pods and Deployments."""

import io
import json
from typing import Any

import pytest

from kubectl_lossless.kubectl import Kubectl, documents, follow
from kubectl_lossless.measure.watch import Pod, State, Watch, state_of, stuck_of, version_of


def pod(phase: str = "Running", ready: bool = False, **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": "p", "uid": "1", "labels": {"pod-template-hash": "h"}},
        "spec": {"containers": [{"name": "flask", "image": "r:5000/flask:7"}]},
        "status": {"phase": phase, "conditions": conditions, **more},
    }


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (pod("Pending"), State.PENDING),
        (pod("Running"), State.NOT_READY),
        (pod("Running", ready=True), State.READY),
        (pod("Failed"), State.ENDED),
        (pod("Succeeded"), State.ENDED),
        ({**pod(ready=True), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, State.DRAINING),
        ({"metadata": {}, "spec": {}}, State.PENDING),
    ],
)
def test_the_state_of_a_pod(found: dict[str, Any], state: State) -> None:
    assert state_of(found) is state


def test_the_version_is_app_version_or_else_the_tag() -> None:
    found = pod()
    assert version_of(found) == "7"
    found["spec"]["containers"][0]["env"] = [{"name": "APP_VERSION", "value": "v5"}]
    assert version_of(found) == "v5"


def test_what_keeps_a_pod_from_starting() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    assert (
        stuck_of(pod(containerStatuses=[{"state": {"waiting": waiting}}]))
        == "ImagePullBackOff: no such image"
    )
    assert stuck_of(pod(initContainerStatuses=[{"state": {"waiting": waiting}}])) is not None
    assert stuck_of(pod(containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}])) is None
    assert stuck_of(pod(ready=True, containerStatuses=[{"state": {"running": {}}}])) is None
    found = pod("Pending")
    found["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    ]
    assert stuck_of(found) == "Unschedulable: 0/2 nodes"


def test_a_pod_s_life() -> None:
    one = Pod("p", "v1", "h", states=[(1, State.PENDING), (2, State.READY), (5, State.GONE)])
    assert one.state is State.GONE
    assert [one.state_at(at) for at in (0.5, 1, 1.5, 2, 4.9, 5, 9)] == [
        None, State.PENDING, State.PENDING, State.READY, State.READY, State.GONE, State.GONE,
    ]  # fmt: skip
    assert one.since(State.READY) == 2
    assert one.since(State.DRAINING) is None


def deployment(generation: int = 2, observed: int = 2, replicas: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, **status},
    }


COMPLETE = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (deployment(**COMPLETE), True),
        (deployment(observed=1, **COMPLETE), False),
        (deployment(**{**COMPLETE, "updatedReplicas": 2}), False),
        (deployment(**{**COMPLETE, "replicas": 4}), False),
        (deployment(**{**COMPLETE, "availableReplicas": 2}), False),
        (deployment(replicas=0), True),
        (deployment(), False),
    ],
)
def test_complete_is_what_rollout_status_calls_so(found: dict[str, Any], complete: bool) -> None:
    watch = Watch(Kubectl(), "n", "d")
    watch.deployment = found
    assert watch.rolled_out() is complete
    assert watch.rolled_out(generation=3) is False  # the watch has not seen what was applied


def test_the_deployment_s_own_complaints_are_passed_on() -> None:
    watch = Watch(Kubectl(), "n", "d")
    quota = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota: q",
    }
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "timed out",
    }
    watch.deployment = deployment(conditions=[quota])
    assert watch.problem() == "FailedCreate: exceeded quota: q"
    assert watch.problem(generation=3) is None  # said of the template before
    watch.deployment = deployment(conditions=[late])
    assert watch.problem() == "ProgressDeadlineExceeded: timed out"
    watch.deployment = deployment(conditions=[], **COMPLETE)
    assert watch.problem() is None


@pytest.mark.parametrize("indent", [None, 4])
def test_a_stream_of_objects_is_read_as_it_comes(indent: int | None) -> None:
    objects = [{"type": "ADDED", "object": {"a": [1, {"b": "}\n{"}]}}, {"type": "DELETED", "object": {}}]
    text = "".join(json.dumps(each, indent=indent) + "\n" for each in objects)
    assert list(follow(io.StringIO(text))) == objects
    assert documents(text) == objects


def test_lists_are_unpacked() -> None:
    assert documents('{"kind": "List", "items": [{"a": 1}, {"a": 2}]}\n{"a": 3}') == [
        {"a": 1},
        {"a": 2},
        {"a": 3},
    ]
    assert documents("") == []
