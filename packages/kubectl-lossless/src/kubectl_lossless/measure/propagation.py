"""How long after a pod begins to terminate it still gets new connections, on each route to the service.

That time is what a drain's minimum or a preStop sleep has to cover. Pods are deleted one after the other
while
clients open new connections on every route; each response names its pod, so the last one that a terminating
pod gave to a new connection tells when that route had been updated. The times compare this machine's clock
with itself, except for a load inside the cluster, whose node's clock counts.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kubectl_lossless.kubectl import Kubectl, Object, follow
from kubectl_lossless.measure.load import Result
from kubectl_lossless.measure.report.figures import percentile
from kubectl_lossless.measure.watch import Pod, State

MARGIN = 2.0
"""DRAIN_MIN should be this many times the longest time seen."""
ENDPOINTS = "EndpointSlice"
"""The row that is no way for requests: when the API said that the pod is not ready any more."""


@dataclass(frozen=True)
class Leave:
    """One pod's leave. Seconds after the API server marked it for deletion, as a watch told it here.

    `learned`: for each way, when the last new connection came to the pod (0.0: none did any more), and for
    `ENDPOINTS` when its endpoint was not ready any more. `gone`: when the pod was gone.
    """

    pod: str
    learned: dict[str, float]
    gone: float


@dataclass(frozen=True)
class Propagation:
    """What was measured. `lost`: requests lost on each way; the times mean nothing unless there are none."""

    rung: str
    kubernetes: str
    leaves: list[Leave]
    requests: int
    lost: dict[str, int]

    def ways(self) -> list[str]:
        """The rows, EndpointSlice first."""
        return list(self.leaves[0].learned)

    def times(self, way: str) -> list[float]:
        """All times of one row, in seconds."""
        return [leave.learned[way] for leave in self.leaves]

    @property
    def drain_min(self) -> int:
        """The DRAIN_MIN to set, whole seconds."""
        longest = max(max(self.times(way)) for way in self.ways())
        return max(1, math.ceil(longest * MARGIN))

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, path: Path) -> Propagation:
        """The inverse of `to_json`.

        Raises OSError; ValueError, KeyError or TypeError for a file that is none.
        """
        found = json.loads(path.read_text())
        return cls(**{**found, "leaves": [Leave(**leave) for leave in found["leaves"]]})

    def table(self) -> list[list[str]]:
        """The table's cells, the headings first."""
        rows = [["way", "median, s", "longest, s"]]
        for way in self.ways():
            times = self.times(way)
            rows.append([way, f"{percentile(times, 0.5):.2f}", f"{max(times):.2f}"])
        gone = [leave.gone for leave in self.leaves]
        rows.append(["the pod is gone", f"{percentile(gone, 0.5):.2f}", f"{max(gone):.2f}"])
        return rows


class Endpoints:
    """When each pod's endpoint was first seen not ready again, seconds since the epoch."""

    def __init__(self, kubectl: Kubectl, namespace: str, service: str) -> None:
        self.left: dict[str, float] = {}
        self._ready: set[str] = set()
        selector = f"kubernetes.io/service-name={service}"
        self._process = kubectl.start(
            *("get", "endpointslices", "-n", namespace, "-l", selector),
            *("--watch", "--output-watch-events", "-o", "json"),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
        for event in follow(self._process.stdout):
            self._take(event["object"])

    def _take(self, slice_: Object) -> None:
        ready = {
            endpoint["targetRef"]["name"]
            for endpoint in slice_.get("endpoints") or []
            if endpoint.get("targetRef") and endpoint["conditions"].get("ready")
        }
        for pod in self._ready - ready:
            self.left.setdefault(pod, time.time())
        self._ready = ready

    def close(self) -> None:
        """End the watch."""
        self._process.terminate()
        self._reader.join(5)
        self._process.communicate()


def leave_of(pod: Pod, endpoints: Endpoints, results: Mapping[str, Result]) -> Leave:
    """Return what was seen of one pod's leave."""
    began, gone = pod.since(State.DRAINING) or 0.0, pod.since(State.GONE) or 0.0
    seen = {ENDPOINTS: endpoints.left.get(pod.name, gone)}
    for way, result in results.items():
        seen[way] = max((answer.at for answer in result.answers if answer.pod == pod.name), default=began)
    learned = {way: round(max(0.0, at - began), 3) for way, at in seen.items()}
    return Leave(pod.name, learned, round(gone - began, 3))
