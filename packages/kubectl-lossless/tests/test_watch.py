"""Pods and workloads in kubectl's objects."""

import io
import json
from typing import Any

import pytest

from kubectl_lossless.kubectl import Kubectl, documents, follow, unpacked
from kubectl_lossless.measure.pod import Mark, Pod, State, state_of, stuck_of, version_of
from kubectl_lossless.measure.watch import Watch


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
def test_state_of_a_pod_follows_from_its_conditions(found: dict[str, Any], state: State) -> None:
    assert state_of(found) is state


def test_version_is_app_version_or_else_the_tag() -> None:
    found = pod()
    assert version_of(found) == "7"
    found["spec"]["containers"][0]["env"] = [{"name": "APP_VERSION", "value": "v5"}]
    assert version_of(found) == "v5"


def test_reason_that_keeps_a_pod_from_starting_is_reported() -> None:
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


def test_state_of_a_pod_is_known_at_any_time() -> None:
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
def test_workload_is_complete_by_the_rules_of_rollout_status(found: dict[str, Any], complete: bool) -> None:
    watch = Watch(Kubectl(), "n", "d")
    watch.deployment = found
    assert watch.rolled_out() is complete
    assert watch.rolled_out(generation=3) is False  # the watch has not observed the applied change


def test_conditions_of_the_deployment_are_reported() -> None:
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
def test_stream_of_objects_is_read_as_each_completes(indent: int | None) -> None:
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


def event(uid: str, name: str, message: str = "Stopping container web") -> dict[str, Any]:
    about = {"kind": "Pod", "name": name}
    return {"metadata": {"uid": uid}, "involvedObject": about, "reason": "Killing", "message": message}


def test_events_of_the_workload_are_kept_once() -> None:
    watch = Watch(Kubectl(), "n", "web", wide=True)
    watch._take_event("LISTED", event("1", "web-a"))  # from before
    for found in (event("1", "web-a"), event("2", "web-a"), event("2", "web-a"), event("3", "webshop-a")):
        watch._take_event("ADDED", found)
    assert [(each.object, each.reason) for each in watch.events] == [("Pod/web-a", "Killing")]


def seen(name: str, uid: str, **more: Any) -> dict[str, Any]:
    found = pod(ready=True, **more)
    found["metadata"] |= {"name": name, "uid": uid}
    return found


def test_pod_of_a_statefulset_that_comes_again_is_another() -> None:
    watch = Watch(Kubectl(), "n", "web", "statefulset")
    watch._take_pod("ADDED", seen("web-0", "1"))
    watch._take_pod("DELETED", seen("web-0", "1"))
    watch._take_pod("ADDED", seen("web-0", "2"))
    assert [(one.name, one.state) for one in watch.pods] == [
        ("web-0", State.GONE),
        ("web-0 (2)", State.READY),
    ]


def test_end_of_the_containers_is_marked_with_the_exit_code() -> None:
    watch = Watch(Kubectl(), "n", "web")
    watch._take_pod(
        "ADDED", seen("web-a", "1", containerStatuses=[{"restartCount": 0, "state": {"running": {}}}])
    )
    ended = [{"restartCount": 0, "state": {"terminated": {"exitCode": 137}}}]
    gone = seen("web-a", "1", containerStatuses=ended)
    gone["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
    watch._take_pod("MODIFIED", gone)
    (one,) = watch.pods
    assert (one.exit, one.grace, one.state) == (137, 5.0, State.DRAINING)
    assert one.marked(Mark.RUNNING) is not None
    assert one.marked(Mark.STOPPED) is not None


def test_pod_deleted_between_two_lists_has_terminated() -> None:
    watch = Watch(Kubectl(), "n", "web")
    watch._take_pod("ADDED", pod())
    watch._take_pod("DELETED", pod())
    (one,) = watch.pods
    assert [state for _, state in one.states][-2:] == [State.DRAINING, State.GONE]


def endpoints(name: str, terminating: str = "", **ready: bool) -> dict[str, Any]:
    """Return an EndpointSlice; each pod is called by its UID."""
    found = [
        {
            "targetRef": {"kind": "Pod", "uid": uid, "name": f"web-5d4f-{uid * 5}"},
            "conditions": {"ready": is_ready, "terminating": uid == terminating},
            "nodeName": "node1",
        }
        for uid, is_ready in ready.items()
    ]
    return {"metadata": {"name": name}, "endpoints": found}


def test_pods_that_may_not_be_listed_are_followed_by_their_endpoint_slices() -> None:
    watch = Watch(Kubectl(), "n", "web", wide=True)
    watch.deployment = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
    watch.unseen["pods"] = "pods is forbidden"
    assert not watch.sees_pods
    for slice_ in (
        endpoints("s", a=True, b=False),
        endpoints("s", a=True, b=True),
        endpoints("s", "a", a=False, b=True),
        endpoints("s", b=True),
    ):
        watch._take_slice("MODIFIED", slice_)
    assert watch.sees_pods
    a, b = sorted(watch.pods, key=lambda pod: pod.name)
    assert [state for _, state in a.states] == [State.READY, State.DRAINING, State.GONE]
    assert [state for _, state in b.states] == [State.NOT_READY, State.READY]
    assert (a.name, a.revision, a.grace, a.node) == ("web-5d4f-aaaaa", "5d4f", 7.0, "node1")
    assert a.marked(Mark.NO_ENDPOINT) is not None
    assert b.marked(Mark.ENDPOINT) is not None


def test_pods_of_another_workload_are_not_followed_by_their_endpoint_slices() -> None:
    watch = Watch(Kubectl(), "n", "web", wide=True)
    watch.deployment = {"spec": {"template": {"spec": {}}}}
    watch.unseen["pods"] = "pods is forbidden"
    slice_ = endpoints("s", a=True)
    slice_["endpoints"][0]["targetRef"]["name"] = "web-shop-5d4f-aaaaa"
    watch._take_slice("ADDED", slice_)
    assert watch.pods == []


def rollout(phase: str, stable: str = "a", observed: str = "2", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": 3},
        "status": {
            "observedGeneration": observed,
            "phase": phase,
            "stableRS": stable,
            "currentPodHash": "b",
            **status,
        },
    }


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (rollout("Healthy", "b"), True),
        (rollout("Healthy", "b", observed="1"), False),
        (rollout("Healthy"), False),
        (rollout("Paused"), False),
        (rollout("Progressing"), False),
    ],
)
def test_argo_rollout_is_complete_when_its_new_pods_are_stable(found: dict[str, Any], complete: bool) -> None:
    watch = Watch(Kubectl(), "n", "web", "rollouts.argoproj.io")
    watch.deployment = found
    assert watch.rolled_out() is complete


def test_degraded_argo_rollout_is_a_problem() -> None:
    watch = Watch(Kubectl(), "n", "web", "rollouts.argoproj.io")
    watch.deployment = rollout("Degraded", message="ProgressDeadlineExceeded")
    assert watch.problem() == "Degraded: ProgressDeadlineExceeded"


def test_pod_has_left_when_none_of_its_endpoints_is_ready() -> None:
    watch = Watch(Kubectl(), "n", "web", wide=True)
    watch._take_pod("ADDED", seen("web-5d4f-aaaaa", "a"))
    (one,) = watch.pods
    for slice_ in (endpoints("s", a=True), endpoints("t", a=True), endpoints("s", a=False)):
        watch._take_slice("MODIFIED", slice_)
    assert one.marked(Mark.NO_ENDPOINT) is None  # the other Service still leads to it
    watch._take_slice("DELETED", endpoints("t", a=True))
    assert one.marked(Mark.NO_ENDPOINT) is not None


@pytest.mark.parametrize(
    ("status", "complete"),
    [
        ({"readyReplicas": 3, "currentRevision": "b", "updateRevision": "b"}, True),
        ({"readyReplicas": 2, "currentRevision": "b", "updateRevision": "b"}, False),
        ({"readyReplicas": 3, "currentRevision": "a", "updateRevision": "b"}, False),
    ],
)
def test_statefulset_is_complete_by_its_revisions(status: dict[str, Any], complete: bool) -> None:
    watch = Watch(Kubectl(), "n", "web", "statefulset")
    watch.deployment = deployment(**status)
    assert watch.rolled_out() is complete


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"kind": "Pod", "metadata": {"name": "a"}}, ["a"]),
        ({"kind": "List", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}, ["a", "b"]),
        ({"kind": "EventList", "items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "x"}}, ["a"]),
        ({"kind": "PodList", "items": []}, []),
        ({"kind": "AccessList", "metadata": {"name": "a"}}, ["a"]),  # a custom kind that is no list
    ],
)
def test_lists_of_every_kind_are_unpacked(document: dict[str, Any], names: list[str]) -> None:
    assert [each["metadata"]["name"] for each in unpacked(document)] == names
