"""A pod over time: its states, and the other moments of its life."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum

from kubectl_lossless.kubectl import Object

STUCK = {
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
    "RunContainerError",
}
"""Reasons of a waiting container that last until somebody mends something."""


class State(StrEnum):
    """State of a pod, as its clients see it."""

    PENDING = "pending"
    NOT_READY = "not ready"
    READY = "ready"
    DRAINING = "draining"
    ENDED = "ended"
    GONE = "gone"


class Mark(StrEnum):
    """Moments in a pod's life that are no states."""

    RUNNING = "containers run"
    STOPPED = "containers have ended"
    RESTARTED = "a container has restarted"
    ENDPOINT = "endpoint ready"
    NO_ENDPOINT = "endpoint no longer ready"


@dataclass
class Pod:
    """One pod and its states, the last of which is its present one.

    `revision` is the hash of its ReplicaSet. `stuck` is the reason why it does not start, None if it does.
    """

    name: str
    version: str
    revision: str
    node: str = ""
    restarts: int = 0
    stuck: str | None = None
    states: list[tuple[float, State]] = field(default_factory=list)
    uid: str = ""
    marks: list[tuple[float, str]] = field(default_factory=list)
    """Other events of its life: (time, `Mark` or free text)."""
    exit: int | None = None
    """The exit code of its first container that ended."""
    grace: float | None = None
    """Grace period of its deletion, in seconds."""

    def marked(self, mark: str) -> float | None:
        """Return the time at which the mark was set first; None if it never was."""
        return next((at for at, this in self.marks if this == mark), None)

    @property
    def state(self) -> State:
        """The present state."""
        return self.states[-1][1]

    def mark(self, mark: Mark, *, once: bool = False) -> None:
        """Keep that a moment of its life is now; `once`: unless it was before."""
        if not once or self.marked(mark) is None:
            self.marks.append((time.time(), mark))

    def enter(self, state: State) -> None:
        """Keep a change of its state; a deletion that began and ended between two lists is one too."""
        if self.states and self.state in (state, State.GONE):
            return
        now = time.time()
        if state is State.GONE and self.states and self.state not in (State.DRAINING, State.ENDED):
            self.states.append((now, State.DRAINING))
        self.states.append((now, state))

    def since(self, state: State) -> float | None:
        """Return the time at which the state began first; None if it never did."""
        return next((at for at, this in self.states if this is state), None)

    def state_at(self, at: float) -> State | None:
        """Return the state at a time; None before the pod existed."""
        return next((state for began, state in reversed(self.states) if began <= at), None)


def state_of(pod: Object) -> State:
    """Return the state in a pod object."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return State.DRAINING
    if status.get("phase") in ("Succeeded", "Failed"):
        return State.ENDED
    if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
        return State.READY
    return State.NOT_READY if status.get("phase") == "Running" else State.PENDING


def version_of(pod: Object) -> str:
    """Return the version in the pod's responses: APP_VERSION, else the tag of its first image."""
    containers = pod["spec"]["containers"]
    for container in containers:
        for variable in container.get("env", []):
            if variable["name"] == "APP_VERSION" and "value" in variable:
                return str(variable["value"])
    return str(containers[0]["image"]).rpartition(":")[2]


def stuck_of(pod: Object) -> str | None:
    """Return the reason, in kubectl's words, for which the pod does not start; None if nothing is wrong."""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in STUCK:
            said = waiting.get("message") or container.get("lastState", {}).get("terminated", {}).get(
                "reason", ""
            )
            return f"{waiting['reason']}: {said}"
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"Unschedulable: {condition.get('message', '')}"
    return None


def ended_of(pod: Object) -> list[Object]:
    """Return the `terminated` states of the containers of a pod none of which runs any more; else nothing."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    ended = [each["state"]["terminated"] for each in statuses if each.get("state", {}).get("terminated")]
    return ended if statuses and len(ended) == len(statuses) else []
