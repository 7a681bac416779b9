"""A pod in kubectl's objects, and its states over time."""

from typing import Any

import pytest
from objects import pod

from kubectl_lossless.measure.pod import Pod, State, state_of, stuck_of, version_of


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
