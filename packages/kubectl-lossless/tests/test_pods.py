"""The pods of a workload over time, from kubectl's objects."""

from typing import Any

from objects import pod

from kubectl_lossless.measure.endpoints import Endpoint, endpoints_of
from kubectl_lossless.measure.pod import Mark, State
from kubectl_lossless.measure.pods import Pods


def seen(name: str, uid: str, **more: Any) -> dict[str, Any]:
    found = pod(ready=True, **more)
    found["metadata"] |= {"name": name, "uid": uid}
    return found


def test_pod_of_a_statefulset_that_comes_again_is_another() -> None:
    pods = Pods()
    pods.take("ADDED", seen("web-0", "1"))
    pods.take("DELETED", seen("web-0", "1"))
    pods.take("ADDED", seen("web-0", "2"))
    assert [(one.name, one.state) for one in pods.oldest_first()] == [
        ("web-0", State.GONE),
        ("web-0 (2)", State.READY),
    ]


def test_end_of_the_containers_is_marked_with_the_exit_code() -> None:
    pods = Pods()
    pods.take("ADDED", seen("web-a", "1", containerStatuses=[{"restartCount": 0, "state": {"running": {}}}]))
    ended = [{"restartCount": 0, "state": {"terminated": {"exitCode": 137}}}]
    gone = seen("web-a", "1", containerStatuses=ended)
    gone["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
    pods.take("MODIFIED", gone)
    (one,) = pods.oldest_first()
    assert (one.exit, one.grace, one.state) == (137, 5.0, State.DRAINING)
    assert one.marked(Mark.RUNNING) is not None
    assert one.marked(Mark.STOPPED) is not None


def test_pod_deleted_between_two_lists_has_terminated() -> None:
    pods = Pods()
    pods.take("ADDED", pod())
    pods.take("DELETED", pod())
    (one,) = pods.oldest_first()
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


def of_web(*slices: dict[str, Any]) -> dict[str, Endpoint]:
    return endpoints_of(slices, "deployment", "web")


def test_pods_that_may_not_be_listed_are_followed_by_their_endpoint_slices() -> None:
    pods = Pods()
    for slice_ in (
        endpoints("s", a=True, b=False),
        endpoints("s", a=True, b=True),
        endpoints("s", "a", a=False, b=True),
        endpoints("s", b=True),
    ):
        pods.follow_endpoints(of_web(slice_), grace=7.0)
        pods.take_endpoints(of_web(slice_))
    a, b = sorted(pods.oldest_first(), key=lambda pod: pod.name)
    assert [state for _, state in a.states] == [State.READY, State.DRAINING, State.GONE]
    assert [state for _, state in b.states] == [State.NOT_READY, State.READY]
    assert (a.name, a.revision, a.grace, a.node) == ("web-5d4f-aaaaa", "5d4f", 7.0, "node1")
    assert a.marked(Mark.NO_ENDPOINT) is not None
    assert b.marked(Mark.ENDPOINT) is not None


def test_pods_of_another_workload_are_not_followed_by_their_endpoint_slices() -> None:
    slice_ = endpoints("s", a=True)
    slice_["endpoints"][0]["targetRef"]["name"] = "web-shop-5d4f-aaaaa"
    assert of_web(slice_) == {}


def test_pod_has_left_when_none_of_its_endpoints_is_ready() -> None:
    pods = Pods()
    pods.take("ADDED", seen("web-5d4f-aaaaa", "a"))
    (one,) = pods.oldest_first()
    pods.take_endpoints(of_web(endpoints("s", a=True)))
    pods.take_endpoints(of_web(endpoints("s", a=True), endpoints("t", a=True)))
    pods.take_endpoints(of_web(endpoints("s", a=False), endpoints("t", a=True)))
    assert one.marked(Mark.NO_ENDPOINT) is None  # the other Service still leads to it
    pods.take_endpoints(of_web(endpoints("s", a=False)))
    assert one.marked(Mark.NO_ENDPOINT) is not None
