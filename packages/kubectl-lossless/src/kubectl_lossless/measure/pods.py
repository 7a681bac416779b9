"""The pods of a workload over time, from kubectl's objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kubectl_lossless.kubectl import Object
from kubectl_lossless.measure.endpoints import Endpoint
from kubectl_lossless.measure.pod import Mark, Pod, State, ended_of, state_of, stuck_of, version_of

REVISION_LABELS = ("pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash")
"""Labels of a pod that name the revision of its template."""


class Pods:
    """Every pod seen, with its states and the other moments of its life.

    Times are those of the calls. It has no lock: `Watch` has one for all that it holds.
    """

    def __init__(self) -> None:
        self.by_uid: dict[str, Pod] = {}
        self._with_endpoint: set[str] = set()  # UIDs of those whose endpoint is ready

    def oldest_first(self) -> list[Pod]:
        """Return all of them."""
        return sorted(self.by_uid.values(), key=lambda pod: (pod.states[0][0], pod.name))

    def take(self, event: str, found: Object) -> None:
        """Keep what an event of a watch, or "ADDED" for an entry of a list, says of a pod."""
        metadata = found["metadata"]
        pod = self.by_uid.get(metadata["uid"])
        if pod is None:
            if event == "DELETED":
                return
            labels = metadata.get("labels", {})
            hashes = (labels.get(label) for label in REVISION_LABELS)
            revision = next((each for each in hashes if each), "")
            pod = self._new(metadata["uid"], metadata["name"], version_of(found), revision)
        pod.node = found["spec"].get("nodeName", "")
        statuses = found.get("status", {}).get("containerStatuses") or []
        restarts = sum(int(status["restartCount"]) for status in statuses)
        if restarts > pod.restarts and pod.states:
            pod.mark(Mark.RESTARTED)
        pod.restarts = restarts
        pod.stuck = stuck_of(found)
        if statuses and all("running" in status.get("state", {}) for status in statuses):
            pod.mark(Mark.RUNNING, once=True)
        if metadata.get("deletionTimestamp") and pod.grace is None:
            pod.grace = float(metadata.get("deletionGracePeriodSeconds") or 0)
        if ended := ended_of(found):
            pod.mark(Mark.STOPPED, once=True)
            pod.exit = max(int(each.get("exitCode", 0)) for each in ended)
        pod.enter(State.GONE if event == "DELETED" else state_of(found))

    def gone(self, uids: Collection[str]) -> None:
        """Keep that pods are gone."""
        for uid in uids:
            self.by_uid[uid].enter(State.GONE)

    def take_endpoints(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Mark the pods whose endpoint became ready, or is no longer."""
        ready = {uid for uid, each in endpoints.items() if each.ready}
        before, self._with_endpoint = self._with_endpoint, ready
        for uids, mark in ((ready - before, Mark.ENDPOINT), (before - ready, Mark.NO_ENDPOINT)):
            for uid in uids & self.by_uid.keys():
                self.by_uid[uid].mark(mark)

    def follow_endpoints(self, endpoints: Mapping[str, Endpoint], grace: float) -> None:
        """Set the states of the pods from their endpoints, where pods may not be listed.

        `grace`: grace period of the template, in seconds.
        """
        for each in endpoints.values():
            pod = self.by_uid.get(each.uid)
            if pod is None:
                pod = self._new(each.uid, each.name, "", each.revision)
                pod.grace = grace
            pod.node = each.node
            state = State.READY if each.ready else State.NOT_READY
            pod.enter(State.DRAINING if each.terminating else state)
        self.gone(self.by_uid.keys() - endpoints.keys())

    def _new(self, uid: str, name: str, version: str, revision: str) -> Pod:
        """Add a pod not seen before: those of a StatefulSet come again under their names."""
        before = sum(each.name.partition(" ")[0] == name for each in self.by_uid.values())
        pod = Pod(name + (f" ({before + 1})" if before else ""), version, revision, uid=uid)
        self.by_uid[uid] = pod
        return pod
