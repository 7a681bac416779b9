"""How long after a pod begins to leave it still gets new connections, on each way to the service.

That time is what DRAIN_MIN (or a preStop sleep) has to cover. Pods are deleted one after the other while
clients open new connections on every way; each answer names its pod, so the last one that a leaving pod
gave to a new connection tells when that way had learned. The times compare this machine's clock with
itself, except for a load inside the cluster, whose node's clock counts.
"""

import contextlib
import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kubectl_lossless.kubectl import Kubectl, Object, follow
from rollout.experiment import DNS, Experiment, Silent
from rollout.load import Load, Result
from rollout.load.job import Job
from rollout.report.figures import percentile
from rollout.stage import REACHABLE, Rung, Stage, StageError, first_to_answer
from rollout.watch import Pod, State, Watch

CLIENTS = 6
"""Clients on each way, each with 10 new connections a second: one every 50 ms to each of three pods."""
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
    def read(cls, path: Path) -> "Propagation":
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


@dataclass(frozen=True)
class Survey:
    """What to measure: `pods` of `rung` are deleted.

    Ways are the NodePort on every node that answers here, `more` (name: URL), and with `inside` the Service's
    name from inside the cluster. `timeout`: seconds for each wait.
    """

    rung: Rung
    pods: int = 6
    more: Mapping[str, str] = field(default_factory=dict)
    inside: bool = False
    load_image: str = Experiment.load_image
    timeout: float = 240.0


def measure(survey: Survey, stage: Stage, tell: Silent | None = None) -> Propagation:
    """Delete pods of a rung one after the other and see how long each way still leads to them.

    Raises StageError, KubectlError, LoadError.
    """
    tell = tell or Silent()
    tell.say(f"applying {survey.rung.name}")
    stage.apply(survey.rung, afresh=True)
    stage.wait_until_settled(survey.timeout)
    loads = _loads(survey, stage)
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(stage.kubectl, stage.namespace, stage.deployment))
        endpoints = Endpoints(stage.kubectl, stage.namespace, stage.service_name)
        stack.callback(endpoints.close)
        tell.say(f"starting clients on {'; '.join(loads)}")
        for load in loads.values():
            stack.enter_context(load)
        names = [_delete_one(stage, watch, survey.timeout, tell) for _ in range(survey.pods)]
        results = {name: load.stop() for name, load in loads.items()}
    for name, result in results.items():
        if result.lost:
            tell.say(f"{name}: {result.summary()}")
    return Propagation(
        rung=survey.rung.name,
        kubernetes=stage.server_version,
        leaves=[_leave(pod, endpoints, results) for name in names for pod in watch.pods if pod.name == name],
        requests=sum(result.requests for result in results.values()),
        lost={name: result.lost for name, result in results.items() if result.lost},
    )


def _loads(survey: Survey, stage: Stage) -> dict[str, Load]:
    """The clients on each way."""
    ways = {f"NodePort, node {number}": url for number, url in enumerate(stage.node_urls(), 1)}
    until = time.monotonic() + REACHABLE  # for all nodes together: a cluster may have many out of reach
    ways = {name: url for name, url in ways.items() if first_to_answer([url], None, until - time.monotonic())}
    for name, url in survey.more.items():
        if not first_to_answer([url], None):
            raise StageError(f"{name}: {url} does not answer GET /api from here.")
    clients = {"new": CLIENTS}
    loads = {name: Load(url, clients=clients) for name, url in (ways | dict(survey.more)).items()}
    if survey.inside:
        place = Job(stage.kubectl, stage.namespace, survey.load_image)
        loads["ClusterIP, inside"] = Load(stage.service_url(DNS), clients=clients, place=place)
    if not loads:
        raise StageError("No way leads to the service from here: name one with --way NAME=URL, or --inside.")
    return loads


def _delete_one(stage: Stage, watch: Watch, timeout: float, tell: Silent) -> str:
    """Delete the oldest ready pod; return its name once it is gone and replaced."""
    ready = [pod for pod in watch.present() if pod.state is State.READY]
    pod, whole = ready[0], len(ready)
    tell.say(f"deleting {pod.name}")
    stage.kubectl("delete", "pod", pod.name, "-n", stage.namespace, "--wait=false")

    def replaced() -> bool:
        states = [other.state for other in watch.present()]
        return pod.state is State.GONE and states == [State.READY] * whole

    if not watch.wait(replaced, timeout):
        raise StageError(f"The pod {pod.name} was not gone and replaced after {timeout:.0f} s (--timeout).")
    return pod.name


def _leave(pod: Pod, endpoints: Endpoints, results: Mapping[str, Result]) -> Leave:
    began, gone = pod.since(State.DRAINING) or 0.0, pod.since(State.GONE) or 0.0
    seen = {ENDPOINTS: endpoints.left.get(pod.name, gone)}
    for way, result in results.items():
        seen[way] = max((answer.at for answer in result.answers if answer.pod == pod.name), default=began)
    learned = {way: round(max(0.0, at - began), 3) for way, at in seen.items()}
    return Leave(pod.name, learned, round(gone - began, 3))
