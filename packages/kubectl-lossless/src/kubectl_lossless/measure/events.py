"""What the cluster recorded of a workload while it was watched: events, and the sizes of its ReplicaSets."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kubectl_lossless.kubectl import Object

LONGEST = 300
"""Characters of an event's message that are kept."""


@dataclass(frozen=True)
class Event:
    """An event about a workload, its ReplicaSets or its pods. `at`: seconds since the epoch."""

    at: float
    object: str
    """Kind and name."""
    reason: str
    message: str
    warning: bool = False
    """True for the type Warning."""


class Events:
    """The events of a workload that are new since the watch began."""

    def __init__(self, workload: str) -> None:
        self.kept: list[Event] = []
        self._workload = workload
        self._known: set[str] = set()

    def take(self, event: str, found: Object) -> None:
        """Keep an event that is not known; "LISTED" for one from before the watch."""
        key = f"{found['metadata']['uid']}/{found.get('count')}/{(found.get('series') or {}).get('count')}"
        if key in self._known or event == "DELETED":
            return
        self._known.add(key)
        involved = found.get("involvedObject") or {}
        name = str(involved.get("name", ""))
        if event != "LISTED" and (name == self._workload or name.startswith(f"{self._workload}-")):
            message = " ".join(str(found.get("message", "")).split())[:LONGEST]
            self.kept.append(
                Event(
                    time.time(),
                    f"{involved.get('kind')}/{name}",
                    str(found.get("reason", "")),
                    message,
                    found.get("type") == "Warning",
                )
            )


@dataclass(frozen=True)
class Scaled:
    """A change of the number of pods that a ReplicaSet is to have. `at`: seconds since the epoch."""

    at: float
    replicaset: str
    replicas: int


class ReplicaSets:
    """The changes of the numbers of pods of a workload's ReplicaSets, which show the pace of its rollout."""

    def __init__(self, workload: str) -> None:
        self.changes: list[Scaled] = []
        self._workload = workload

    def take(self, event: str, found: Object) -> None:
        """Keep a ReplicaSet's number of pods, if it is another than before."""
        owners = [owner.get("name") for owner in found["metadata"].get("ownerReferences") or []]
        if self._workload not in owners or event == "DELETED":
            return
        name, replicas = found["metadata"]["name"], int(found["spec"].get("replicas", 0))
        last = next((each.replicas for each in reversed(self.changes) if each.replicaset == name), None)
        if last != replicas:
            self.changes.append(Scaled(time.time(), name, replicas))
