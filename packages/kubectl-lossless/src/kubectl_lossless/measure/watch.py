"""The pods of a workload, the workload and its objects, over time.

    with Watch(kubectl, "flask-cluster", "flask-deployment") as watch:
        kubectl("rollout", "restart", ...)
        watch.wait(lambda: watch.rolled_out() and len(watch.present()) == 3, timeout=120)
    watch.pods  # each with its states and when they began

It follows `kubectl get --watch`, so it sees every state and costs no polling. Times are when the change
arrived here, seconds since the epoch: the same clock as that of a load on this machine.

kubectl and not the official Python client, because kubectl takes the credentials (exec plugins, proxies,
contexts) of the person who runs it, and is there already: the client adds ten packages and loses plugins'
prompts, and its watches end as these do, so the listing again stays.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object
from kubectl_lossless.measure import progress
from kubectl_lossless.measure.endpoints import endpoints_of
from kubectl_lossless.measure.events import Event, Events, ReplicaSets, Scaled
from kubectl_lossless.measure.follower import Follower, Stream, Take
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.pods import Pods
from kubectl_lossless.measure.workload import DEFAULT_GRACE, ROLLOUT, grace_of

ENDPOINT_SLICES = "endpointslices.discovery.k8s.io"


class Watch:
    """Follows the pods and the workload as long as its `with` block.

    `wide` follows the EndpointSlices, the events and the ReplicaSets too, and skips resources that this
    user may not read: `unseen` has them, with the reason.
    """

    def __init__(
        self, kubectl: Kubectl, namespace: str, name: str, kind: str = "deployment", *, wide: bool = False
    ) -> None:
        self.deployment: Object = {}
        self._kubectl = kubectl
        self._namespace = namespace
        self._name = name
        self._kind = kind
        self._wide = wide
        self._labels = ""  # the workload's selector
        self._pods = Pods()
        self._slices: dict[str, Object] = {}  # the EndpointSlices by name
        self._events = Events(name)
        self._replicasets = ReplicaSets(name)
        self._refused: dict[str, str] = {}  # resources that may not be listed, with kubectl's message
        self._changed = threading.Condition()
        self._followers: list[Follower] = []

    @property
    def pods(self) -> list[Pod]:
        """All pods seen, oldest first."""
        with self._changed:
            return self._pods.oldest_first()

    def present(self) -> list[Pod]:
        """Return the pods that still exist, terminating ones included."""
        return [pod for pod in self.pods if pod.state is not State.GONE]

    @property
    def sees_pods(self) -> bool:
        """True where the pods are followed, be it by their EndpointSlices."""
        return "pods" not in self._refused or bool(self._pods.by_uid)

    @property
    def events(self) -> list[Event]:
        """The events about the workload since the watch began."""
        with self._changed:
            return list(self._events.kept)

    @property
    def scaled(self) -> list[Scaled]:
        """The numbers of pods of its ReplicaSets at the start, and each change of one."""
        with self._changed:
            return list(self._replicasets.changes)

    @property
    def unseen(self) -> dict[str, str]:
        """Resources that are not watched, with kubectl's message."""
        return self._refused | {each.stream.name: each.unseen for each in self._followers if each.unseen}

    @property
    def listed(self) -> dict[str, float]:
        """Resources that may be listed and not watched, and by how many seconds a change was seen late."""
        return {each.stream.name: each.late for each in self._followers if each.late is not None}

    @property
    def trouble(self) -> tuple[float, str] | None:
        """Since when (monotonic) the cluster can no longer be queried, and kubectl's message."""
        return min((each.trouble for each in self._followers if each.trouble), default=None)

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until the condition holds, looking at every change; whether it does, seconds at most."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def rolled_out(self, generation: int = 0) -> bool:
        """Return whether the workload is complete: `progress.rolled_out`."""
        return progress.rolled_out(self.deployment, self._kind, generation)

    def problem(self, generation: int = 0) -> str | None:
        """Return the problem in the workload's own conditions: `progress.problem`."""
        return progress.problem(self.deployment, self._kind, generation)

    def __enter__(self) -> Watch:
        """Start the watch; return when the present state is known.

        Raises KubectlError.
        """
        self._take_deployment(self._get_deployment())
        self._labels = selector_of(self.deployment)
        streams = [
            Stream(
                self._kind,
                [self._kind, self._name],
                lambda _, found: self._take_deployment(found),
                lambda: self._take_deployment(self._get_deployment()),
            )
        ]
        pods = Stream(
            "pods",
            ["pods", "-l", self._labels],
            self._keep(self._pods.take),
            self._take_pods,
            self._miss_pods,
        )
        try:
            self._take_pods()
            streams.append(pods)
        except KubectlError as error:
            if not self._wide:
                raise
            self._refused[pods.name] = error.said
        if self._wide:
            streams += self._around()
        self._followers = [Follower(self._kubectl, self._namespace, stream) for stream in streams]
        for follower in self._followers:
            follower.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following."""
        for follower in self._followers:
            follower.stop()
        for follower in self._followers:
            follower.join(5)

    def _around(self) -> list[Stream]:
        """Return the other streams, as far as this user may list them."""
        found = [
            Stream(
                "endpointslices",
                [ENDPOINT_SLICES],
                self._take_slice,
                # They are all there is of the pods then, and must not be those of a watch that has ended.
                self._take_slices if "pods" in self._refused else None,
            ),
            Stream("events", ["events"], self._keep(self._events.take)),
        ]
        if self._kind in ("deployment", ROLLOUT):
            take = self._keep(self._replicasets.take)
            found.append(Stream("replicasets", ["replicasets", "-l", self._labels], take))
        usable = []
        for stream in found:
            try:
                for item in self._kubectl.objects("get", *stream.arguments, "-n", self._namespace):
                    stream.take("LISTED", item)
                usable.append(stream)
            except KubectlError as error:
                self._refused[stream.name] = error.said
        return usable

    def _keep(self, take: Take) -> Take:
        """Return a function that calls the other while nothing else changes, and wakes those that wait."""

        def kept(event: str, found: Object) -> None:
            with self._changed:
                take(event, found)
                self._changed.notify_all()

        return kept

    def _get_deployment(self) -> Object:
        return self._kubectl.objects("get", self._kind, self._name, "-n", self._namespace)[0]

    def _take_deployment(self, found: Object) -> None:
        with self._changed:
            # The watch begins with the objects listed before: never go back to an older one.
            if int(found["metadata"]["generation"]) >= self.deployment.get("metadata", {}).get(
                "generation", 0
            ):
                self.deployment = found
            self._changed.notify_all()

    def _list_pods(self) -> list[Object]:
        """List the pods; those known before and not listed are gone."""
        with self._changed:
            known = set(self._pods.by_uid)
        found = self._kubectl.objects("get", "pods", "-l", self._labels, "-n", self._namespace)
        with self._changed:
            self._pods.gone(known - {pod["metadata"]["uid"] for pod in found})
            self._changed.notify_all()
        return found

    def _take_pods(self) -> None:
        take = self._keep(self._pods.take)
        for pod in self._list_pods():
            take("ADDED", pod)

    def _miss_pods(self) -> None:
        """Find the pods deleted between our list and the watch's own, which the watch does not report."""
        with contextlib.suppress(KubectlError):
            self._list_pods()

    def _take_slice(self, event: str, found: Object) -> None:
        """Keep an EndpointSlice, and its changes to the pods."""
        with self._changed:
            self._slices[found["metadata"]["name"]] = found
            if event == "DELETED":
                del self._slices[found["metadata"]["name"]]
            self._take_endpoints()

    def _take_slices(self) -> None:
        """List the EndpointSlices: a watch that begins again reports none that was deleted in between."""
        found = self._kubectl.objects("get", ENDPOINT_SLICES, "-n", self._namespace)
        with self._changed:
            self._slices = {each["metadata"]["name"]: each for each in found}
            self._take_endpoints()

    def _take_endpoints(self) -> None:
        """Keep the endpoints of the pods, and follow pods that are not seen otherwise."""
        endpoints = endpoints_of(self._slices.values(), self._kind, self._name)
        if "pods" in self._refused:
            self._pods.follow_endpoints(endpoints, grace_of(self.deployment) or DEFAULT_GRACE)
        self._pods.take_endpoints(endpoints)
        self._changed.notify_all()


def selector_of(workload: Object) -> str:
    """Return the workload's selector as kubectl's -l takes it."""
    selector = workload["spec"]["selector"]
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or []:
        key, operator, values = each["key"], each["operator"], ",".join(each.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return ",".join(parts)
