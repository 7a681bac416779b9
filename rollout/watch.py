"""The pods of a Deployment, and the Deployment itself, over time.

    with Watch(kubectl, "flask-cluster", "flask-deployment") as watch:
        kubectl("rollout", "restart", ...)
        watch.wait(lambda: watch.rolled_out() and len(watch.present()) == 3, timeout=120)
    watch.pods  # each with its states and when they began

It follows `kubectl get --watch`, so it sees every state and costs no polling. Times are when the change
arrived here, seconds since the epoch.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object, follow

RECONNECT_AFTER = 0.5  # seconds, when the API server ends a watch

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
"""Reasons of a waiting container that do not pass by themselves, or only when somebody mends something."""


class State(StrEnum):
    """What a pod is, for the one who sends it requests."""

    PENDING = "pending"
    NOT_READY = "not ready"
    READY = "ready"
    DRAINING = "draining"
    ENDED = "ended"
    GONE = "gone"


@dataclass
class Pod:
    """One pod and its states, the last of which is its present one.

    `revision` is the hash of its ReplicaSet. `stuck` says why it does not start, None if nothing is wrong.
    """

    name: str
    version: str
    revision: str
    node: str = ""
    restarts: int = 0
    stuck: str | None = None
    states: list[tuple[float, State]] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The present state."""
        return self.states[-1][1]

    def since(self, state: State) -> float | None:
        """When the state began first; None if it never did."""
        return next((at for at, this in self.states if this is state), None)

    def state_at(self, at: float) -> State | None:
        """The state at a time; None before the pod was there."""
        return next((state for began, state in reversed(self.states) if began <= at), None)


def state_of(pod: Object) -> State:
    """The state in a pod object."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return State.DRAINING
    if status.get("phase") in ("Succeeded", "Failed"):
        return State.ENDED
    if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
        return State.READY
    return State.NOT_READY if status.get("phase") == "Running" else State.PENDING


def version_of(pod: Object) -> str:
    """What the pod will answer as its version: APP_VERSION, else the tag of its first image."""
    containers = pod["spec"]["containers"]
    for container in containers:
        for variable in container.get("env", []):
            if variable["name"] == "APP_VERSION" and "value" in variable:
                return str(variable["value"])
    return str(containers[0]["image"]).rpartition(":")[2]


def stuck_of(pod: Object) -> str | None:
    """Why the pod does not start, in kubectl's words; None if nothing is wrong."""
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


class Watch:
    """Follows the pods and the Deployment as long as its `with` block."""

    def __init__(self, kubectl: Kubectl, namespace: str, deployment: str) -> None:
        self.by_uid: dict[str, Pod] = {}
        self.deployment: Object = {}
        self._kubectl = kubectl
        self._namespace = namespace
        self._name = deployment
        self._labels = ""  # the Deployment's selector
        self._changed = threading.Condition()
        self._ending = False
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []

    @property
    def pods(self) -> list[Pod]:
        """All pods seen, oldest first."""
        with self._changed:
            return sorted(self.by_uid.values(), key=lambda pod: (pod.states[0][0], pod.name))

    def present(self) -> list[Pod]:
        """The pods that are still there, draining ones included."""
        return [pod for pod in self.pods if pod.state is not State.GONE]

    def __enter__(self) -> "Watch":
        """Start; returns when the present state is known.

        Raises KubectlError.
        """
        self._take_deployment(self._get_deployment())
        selector = self.deployment["spec"]["selector"]["matchLabels"]
        self._labels = ",".join(f"{key}={value}" for key, value in selector.items())
        self._take_pods()
        for name, list_again, take, arguments in (
            ("pods", self._take_pods, self._take_pod, ["pods", "-l", self._labels]),
            (
                "deployment",
                lambda: self._take_deployment(self._get_deployment()),
                lambda _, found: self._take_deployment(found),
                ["deployment", self._name],
            ),
        ):
            thread = threading.Thread(
                target=self._follow, args=(name, list_again, take, arguments), daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following."""
        self._ending = True
        for process in list(self._processes.values()):
            process.terminate()
        for thread in self._threads:
            thread.join(5)

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until the condition holds, looking at every change; whether it does, seconds at most."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def rolled_out(self, generation: int = 0) -> bool:
        """Whether the Deployment is complete by the rules of `kubectl rollout status`.

        Old pods may still be draining then. `generation`: at least this one, as the caller applied it.
        """
        found = self.deployment
        status = found.get("status", {})
        updated = status.get("updatedReplicas", 0)
        return bool(
            status.get("observedGeneration", 0) >= max(generation, found["metadata"]["generation"])
            and updated >= found["spec"].get("replicas", 1)
            and status.get("replicas", 0) <= updated
            and status.get("availableReplicas", 0) >= updated
        )

    def problem(self, generation: int = 0) -> str | None:
        """What the Deployment's own conditions say is wrong, in kubectl's words."""
        found = self.deployment
        observed = found.get("status", {}).get("observedGeneration", 0)
        if observed < max(generation, found["metadata"]["generation"]):
            return None  # the conditions are still those of the template before
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return f"{condition['reason']}: {condition['message']}"
            if condition.get("reason") == "ProgressDeadlineExceeded":
                return f"ProgressDeadlineExceeded: {condition['message']}"
        return None

    def _follow(
        self,
        name: str,
        list_again: Callable[[], None],
        take: Callable[[str, Object], None],
        arguments: list[str],
    ) -> None:
        """Follow one watch; when the API server ends it, list again and go on."""
        while not self._ending:
            process = self._kubectl.start(
                "get", *arguments, "-n", self._namespace, "--watch", "--output-watch-events", "-o", "json"
            )
            self._processes[name] = process
            assert process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
            for number, event in enumerate(follow(process.stdout)):
                take(event["type"], event["object"])
                if number == 0:
                    self._miss_pods()
            process.communicate()
            if not self._ending:
                time.sleep(RECONNECT_AFTER)
                try:
                    list_again()
                except KubectlError:
                    continue  # the API server is away for a moment; the next turn tries again

    def _get_deployment(self) -> Object:
        return self._kubectl.objects("get", "deployment", self._name, "-n", self._namespace)[0]

    def _take_deployment(self, found: Object) -> None:
        with self._changed:
            # The watch begins with what was listed before: never go back to an older one.
            if int(found["metadata"]["generation"]) >= self.deployment.get("metadata", {}).get(
                "generation", 0
            ):
                self.deployment = found
            self._changed.notify_all()

    def _list_pods(self) -> list[Object]:
        """List the pods; those known before and not listed are gone."""
        with self._changed:
            known = set(self.by_uid)
        found = self._kubectl.objects("get", "pods", "-l", self._labels, "-n", self._namespace)
        with self._changed:
            for uid in known - {pod["metadata"]["uid"] for pod in found}:
                self._set(self.by_uid[uid], State.GONE)
            self._changed.notify_all()
        return found

    def _take_pods(self) -> None:
        for pod in self._list_pods():
            self._take_pod("ADDED", pod)

    def _miss_pods(self) -> None:
        """Find out who went between our list and the watch's own: the watch does not tell of them."""
        with contextlib.suppress(KubectlError):
            self._list_pods()

    def _take_pod(self, event: str, found: Object) -> None:
        metadata = found["metadata"]
        with self._changed:
            pod = self.by_uid.get(metadata["uid"])
            if pod is None:
                if event == "DELETED":
                    return
                revision = metadata.get("labels", {}).get("pod-template-hash", "")
                pod = self.by_uid[metadata["uid"]] = Pod(metadata["name"], version_of(found), revision)
            pod.node = found["spec"].get("nodeName", "")
            statuses = found.get("status", {}).get("containerStatuses", [])
            pod.restarts = sum(int(status["restartCount"]) for status in statuses)
            pod.stuck = stuck_of(found)
            self._set(pod, State.GONE if event == "DELETED" else state_of(found))
            self._changed.notify_all()

    @staticmethod
    def _set(pod: Pod, state: State) -> None:
        if not pod.states or (pod.state is not state and pod.state is not State.GONE):
            pod.states.append((time.time(), state))
