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
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object, follow, unpacked
from kubectl_lossless.measure.endpoints import Endpoint, endpoints_of
from kubectl_lossless.measure.pod import Mark, Pod, State, ended_of, state_of, stuck_of, version_of
from kubectl_lossless.measure.workload import ROLLOUT, template

RECONNECT_AFTER = 0.5  # seconds, when the API server ends a watch

DEFAULT_GRACE = 30.0
"""Grace period of a pod whose template sets none, in seconds."""

REVISION_LABELS = ("pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash")
"""Labels of a pod that name the revision of its template."""


@dataclass(frozen=True)
class Happening:
    """An event that the cluster recorded."""

    at: float
    object: str
    """Kind and name."""
    reason: str
    message: str


@dataclass(frozen=True)
class Stream:
    """One thing to follow: the arguments of `kubectl get`, and the function that takes the objects."""

    name: str
    arguments: list[str]
    take: Callable[[str, Object], None]
    list_again: Callable[[], None] | None = None


class Watch:
    """Follows the pods and the workload as long as its `with` block.

    `wide` follows the EndpointSlices, the events and the ReplicaSets too, and skips resources that this
    user may not read: `unseen` has them, with the reason.
    """

    def __init__(
        self, kubectl: Kubectl, namespace: str, name: str, kind: str = "deployment", *, wide: bool = False
    ) -> None:
        self.by_uid: dict[str, Pod] = {}
        self.deployment: Object = {}
        self.unseen: dict[str, str] = {}
        self.events: list[Happening] = []
        self.listed: dict[str, float] = {}
        """Resources that may be listed and not watched, and the seconds by which a change of them was seen
        late at most: from the start of a list to the end of the next."""
        self.trouble: tuple[float, str] | None = None
        """Since when (monotonic) the cluster could no longer be queried, and kubectl's message."""
        self.replicasets: list[tuple[float, str, int]] = []
        """(when, name, replicas asked for) at each change."""
        self._kubectl = kubectl
        self._namespace = namespace
        self._name = name
        self._kind = kind
        self._wide = wide
        self._labels = ""  # the workload's selector
        self._changed = threading.Condition()
        self._ending = False
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []
        self._slices: dict[str, Object] = {}  # the EndpointSlices by name
        self._known_events: set[str] = set()

    @property
    def pods(self) -> list[Pod]:
        """All pods seen, oldest first."""
        with self._changed:
            return sorted(self.by_uid.values(), key=lambda pod: (pod.states[0][0], pod.name))

    def present(self) -> list[Pod]:
        """Return the pods that still exist, terminating ones included."""
        return [pod for pod in self.pods if pod.state is not State.GONE]

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
        pods = Stream("pods", ["pods", "-l", self._labels], self._take_pod, self._take_pods)
        try:
            self._take_pods()
            streams.append(pods)
        except KubectlError as error:
            if not self._wide:
                raise
            self.unseen[pods.name] = error.said
        if self._wide:
            streams += self._around()
        for stream in streams:
            thread = threading.Thread(target=self._follow, args=(stream,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def _around(self) -> list[Stream]:
        """Return the other streams, as far as this user may list them."""
        found = [
            Stream(
                "endpointslices",
                ["endpointslices.discovery.k8s.io"],
                self._take_slice,
                # They are all there is of the pods then, and must not be those of a watch that has ended.
                self._take_slices if "pods" in self.unseen else None,
            ),
            Stream("events", ["events"], self._take_event),
        ]
        if self._kind in ("deployment", ROLLOUT):
            found.append(Stream("replicasets", ["replicasets", "-l", self._labels], self._take_replicaset))
        usable = []
        for stream in found:
            try:
                for item in self._kubectl.objects("get", *stream.arguments, "-n", self._namespace):
                    stream.take("LISTED", item)
                usable.append(stream)
            except KubectlError as error:
                self.unseen[stream.name] = error.said
        return usable

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
        """Return whether the workload is complete by the rules of `kubectl rollout status`.

        Old pods may still be draining then. `generation`: at least this one, as the caller applied it.
        """
        found = self.deployment
        status = found.get("status", {})
        replicas = found["spec"].get("replicas", 1)
        updated = status.get("updatedReplicas", 0)
        if int(status.get("observedGeneration", 0)) < max(generation, found["metadata"]["generation"]):
            return False
        if self._kind == ROLLOUT:
            return bool(
                status.get("phase") == "Healthy"
                and status.get("stableRS") == status.get("currentPodHash") != ""
            )
        if self._kind == "statefulset":
            partition = found["spec"].get("updateStrategy", {}).get("rollingUpdate", {}).get("partition") or 0
            return bool(
                status.get("readyReplicas", 0) >= replicas
                and (
                    updated >= replicas - partition
                    if partition
                    else status.get("updateRevision") == status.get("currentRevision")
                )
            )
        return bool(
            updated >= replicas
            and status.get("replicas", 0) <= updated
            and status.get("availableReplicas", 0) >= updated
        )

    def problem(self, generation: int = 0) -> str | None:
        """Return the problem in the workload's own conditions, in kubectl's words."""
        found = self.deployment
        observed = int(found.get("status", {}).get("observedGeneration", 0))
        if observed < max(generation, found["metadata"]["generation"]):
            return None  # the conditions are still those of the template before
        if self._kind == ROLLOUT and found["status"].get("phase") == "Degraded":
            return f"Degraded: {found['status'].get('message', '')}"
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return f"{condition['reason']}: {condition['message']}"
            if condition.get("reason") == "ProgressDeadlineExceeded":
                return f"ProgressDeadlineExceeded: {condition['message']}"
        return None

    def _follow(self, stream: Stream) -> None:
        """Follow one watch; when the API server ends it, list again and continue."""
        listed = time.monotonic()
        while not self._ending:
            process = self._kubectl.start(
                *("get", *stream.arguments, "-n", self._namespace),
                *("--watch", "--output-watch-events", "-o", "json"),
            )
            self._processes[stream.name] = process
            assert process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
            for number, event in enumerate(follow(process.stdout)):
                if event["type"] in ("ERROR", "BOOKMARK"):
                    continue  # no object of the stream: the watch ends, and begins again
                # kubectl writes the first objects as lists.
                for item in unpacked(event["object"]):
                    stream.take(event["type"], item)
                if number == 0 and stream.name == "pods":
                    self._miss_pods()
            _, said = process.communicate()
            if self._ending:
                return
            if process.returncode and "forbidden" in said.lower() and stream.list_again is not None:
                self.listed.setdefault(stream.name, 0.0)
            elif process.returncode and stream.list_again is None:
                self.unseen[stream.name] = said.strip()
            time.sleep(RECONNECT_AFTER)
            if stream.list_again is not None:
                before, listed = listed, time.monotonic()
                try:
                    stream.list_again()
                    self.trouble = None
                    if stream.name in self.listed:
                        late = time.monotonic() - before
                        self.listed[stream.name] = max(self.listed[stream.name], late)
                except KubectlError as error:
                    # The API server may be away for a moment: the next turn tries again.
                    self.trouble = self.trouble or (time.monotonic(), error.short)

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
        """Find the pods deleted between our list and the watch's own, which the watch does not report."""
        with contextlib.suppress(KubectlError):
            self._list_pods()

    def _take_pod(self, event: str, found: Object) -> None:
        metadata = found["metadata"]
        with self._changed:
            pod = self.by_uid.get(metadata["uid"])
            if pod is None:
                if event == "DELETED":
                    return
                labels = metadata.get("labels", {})
                hashes = (labels.get(label) for label in REVISION_LABELS)
                revision = next((each for each in hashes if each), "")
                pod = self.by_uid[metadata["uid"]] = self._new_pod(
                    metadata["uid"], metadata["name"], version_of(found), revision
                )
            pod.node = found["spec"].get("nodeName", "")
            statuses = found.get("status", {}).get("containerStatuses") or []
            restarts = sum(int(status["restartCount"]) for status in statuses)
            if restarts > pod.restarts and pod.states:
                self._mark(pod, Mark.RESTARTED)
            pod.restarts = restarts
            pod.stuck = stuck_of(found)
            if statuses and all("running" in status.get("state", {}) for status in statuses):
                self._mark(pod, Mark.RUNNING, once=True)
            if metadata.get("deletionTimestamp"):
                pod.grace = (
                    float(metadata.get("deletionGracePeriodSeconds") or 0) if pod.grace is None else pod.grace
                )
            if ended := ended_of(found):
                self._mark(pod, Mark.STOPPED, once=True)
                pod.exit = max(int(each.get("exitCode", 0)) for each in ended)
            self._set(pod, State.GONE if event == "DELETED" else state_of(found))
            self._changed.notify_all()

    def _take_slice(self, event: str, found: Object) -> None:
        """Keep an EndpointSlice, and its changes to the pods."""
        with self._changed:
            after = {**self._slices, found["metadata"]["name"]: found}
            if event == "DELETED":
                del after[found["metadata"]["name"]]
            self._set_slices(after)

    def _take_slices(self) -> None:
        """List the EndpointSlices: a watch that begins again reports none that was deleted in between."""
        found = self._kubectl.objects("get", "endpointslices.discovery.k8s.io", "-n", self._namespace)
        with self._changed:
            self._set_slices({each["metadata"]["name"]: each for each in found})

    def _set_slices(self, after: dict[str, Object]) -> None:
        """Mark pods whose endpoint became ready, or is no longer; follow pods that are not seen otherwise."""
        before, self._slices = self._slices, after
        was, now = (
            {uid for uid, each in self._endpoints(slices).items() if each.ready} for slices in (before, after)
        )
        if "pods" in self.unseen:
            self._follow_endpoints()
        for uids, mark in ((now - was, Mark.ENDPOINT), (was - now, Mark.NO_ENDPOINT)):
            for uid in uids & self.by_uid.keys():
                self._mark(self.by_uid[uid], mark)
        self._changed.notify_all()

    def _endpoints(self, slices: Mapping[str, Object]) -> dict[str, Endpoint]:
        return endpoints_of(slices.values(), self._kind, self._name)

    def _follow_endpoints(self) -> None:
        """Set the states of the pods from the EndpointSlices."""
        found = self._endpoints(self._slices)
        for each in found.values():
            pod = self.by_uid.get(each.uid)
            if pod is None:
                pod = self.by_uid[each.uid] = self._new_pod(each.uid, each.name, "", each.revision)
                pod.grace = float(
                    template(self.deployment)["spec"].get("terminationGracePeriodSeconds") or DEFAULT_GRACE
                )
            pod.node = each.node
            state = State.READY if each.ready else State.NOT_READY
            self._set(pod, State.DRAINING if each.terminating else state)
        for uid in self.by_uid.keys() - found.keys():
            self._set(self.by_uid[uid], State.GONE)

    @property
    def sees_pods(self) -> bool:
        """True where the pods are followed, be it by their EndpointSlices."""
        return "pods" not in self.unseen or bool(self.by_uid)

    def _new_pod(self, uid: str, name: str, version: str, revision: str) -> Pod:
        """Return a pod not seen before: those of a StatefulSet come again under their names."""
        before = sum(each.name.partition(" ")[0] == name for each in self.by_uid.values())
        return Pod(name + (f" ({before + 1})" if before else ""), version, revision, uid=uid)

    def _take_event(self, event: str, found: Object) -> None:
        """Keep an event about the workload, its ReplicaSets or its pods that is new."""
        involved = found.get("involvedObject") or {}
        key = f"{found['metadata']['uid']}/{found.get('count')}/{(found.get('series') or {}).get('count')}"
        name = str(involved.get("name", ""))
        if key in self._known_events or event == "DELETED":
            return
        self._known_events.add(key)
        if event != "LISTED" and (name == self._name or name.startswith(f"{self._name}-")):
            message = " ".join(str(found.get("message", "")).split())[:300]
            about = f"{involved.get('kind')}/{name}"
            with self._changed:
                self.events.append(Happening(time.time(), about, str(found.get("reason", "")), message))

    def _take_replicaset(self, event: str, found: Object) -> None:
        owners = [owner.get("name") for owner in found["metadata"].get("ownerReferences") or []]
        if self._name not in owners or event == "DELETED":
            return
        entry = (found["metadata"]["name"], int(found["spec"].get("replicas", 0)))
        with self._changed:
            last = next((each[1:] for each in reversed(self.replicasets) if each[1] == entry[0]), None)
            if last != entry:
                self.replicasets.append((time.time(), *entry))

    @staticmethod
    def _mark(pod: Pod, mark: Mark, *, once: bool = False) -> None:
        if not once or pod.marked(mark) is None:
            pod.marks.append((time.time(), mark))

    @staticmethod
    def _set(pod: Pod, state: State) -> None:
        """Keep a change of a pod's state; a deletion that began and ended between two lists is one too."""
        if pod.states and pod.state in (state, State.GONE):
            return
        now = time.time()
        if state is State.GONE and pod.states and pod.state not in (State.DRAINING, State.ENDED):
            pod.states.append((now, State.DRAINING))
        pod.states.append((now, state))


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
