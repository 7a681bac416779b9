"""Time for which a terminating pod still gets new connections, on each route to the service.

A drain's minimum or a preStop sleep has to cover that time. Pods are deleted one after the other while
clients open new connections on every route; each response names its pod, so the last one that a terminating
pod gave to a new connection shows when that route had been updated. The times compare this machine's clock
with itself, except for a load inside the cluster, whose node's clock counts.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure.judge import SPREAD
from kubectl_lossless.measure.load import Load, Result
from kubectl_lossless.measure.pod import Mark, Pod, State
from kubectl_lossless.measure.report.figures import percentile
from kubectl_lossless.measure.watch import Watch
from kubectl_lossless.measure.workload import Reference, RolloutError

MARGIN = 2.0
"""A drain's minimum should be this many times the longest time seen."""
ENDPOINTS = "EndpointSlice"
"""The row that is no route of requests: when the API reported that the pod is no longer ready."""


@dataclass(frozen=True)
class Termination:
    """Termination of a pod, in seconds after the API server marked it for deletion, as a watch reported it.

    `updated`: for each route, when the pod got its last new connection (0.0: it got none), and for
    `ENDPOINTS` when its endpoint was no longer ready. `gone`: when the pod was deleted.
    """

    pod: str
    updated: dict[str, float]
    gone: float


@dataclass(frozen=True)
class Propagation:
    """A measurement. `lost`: requests lost on each route."""

    rung: str
    kubernetes: str
    terminations: list[Termination]
    requests: int
    lost: dict[str, int]

    def routes(self) -> list[str]:
        """Return the names of the rows, EndpointSlice first."""
        return list(self.terminations[0].updated)

    def times(self, route: str) -> list[float]:
        """Return all times of one row, in seconds."""
        return [each.updated[route] for each in self.terminations]

    @property
    def drain_min(self) -> int:
        """The drain's minimum to set, in whole seconds."""
        longest = max(max(self.times(route)) for route in self.routes())
        return max(1, math.ceil(longest * MARGIN))

    def to_json(self) -> str:
        """Return the measurement as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, path: Path) -> Propagation:
        """Return the measurement in a file, the inverse of `to_json`.

        Raises OSError; ValueError, KeyError or TypeError for a file that is none.
        """
        found = json.loads(path.read_text())
        return cls(**{**found, "terminations": [Termination(**each) for each in found["terminations"]]})

    def table(self) -> list[list[str]]:
        """Return the table's cells, the headings first."""
        rows = [["route", "median, s", "longest, s"]]
        for route in self.routes():
            times = self.times(route)
            rows.append([route, f"{percentile(times, 0.5):.2f}", f"{max(times):.2f}"])
        gone = [each.gone for each in self.terminations]
        rows.append(["the pod is gone", f"{percentile(gone, 0.5):.2f}", f"{max(gone):.2f}"])
        return rows


def termination_of(pod: Pod, results: Mapping[str, Result]) -> Termination:
    """Return the observations of one pod's termination.

    A route led to the pod as long as it responded, or, where responses name no pod, as long as requests
    that were sent then were lost.
    """
    began, gone = pod.since(State.DRAINING) or 0.0, pod.since(State.GONE) or 0.0
    seen = {ENDPOINTS: pod.marked(Mark.NO_ENDPOINT) or gone}
    for route, result in results.items():
        if names_pods(result):
            sent = [response.at for response in result.responses if response.pod == pod.name]
        else:
            sent = [failure.at for failure in result.failures if began <= failure.at <= gone + SPREAD]
        seen[route] = max(sent, default=began)
    updated = {route: round(max(0.0, at - began), 3) for route, at in seen.items()}
    return Termination(pod.name, updated, round(gone - began, 3))


def names_pods(result: Result) -> bool:
    """Return whether responses name the pod that they are from."""
    return any(response.pod for response in result.responses)


def refuse_unseen(results: Mapping[str, Result]) -> None:
    """Raise RolloutError for a route on which nothing shows where its requests went."""
    for route, result in results.items():
        if not names_pods(result) and not result.failures:
            raise RolloutError(
                f"{route}: responses do not name their pod, and no request was lost, so nothing shows "
                "for how long the pods still got new connections. --pod-header or --pod-field names the pod."
            )


def delete_one(
    kubectl: Kubectl, namespace: str, watch: Watch, timeout: float, say: Callable[[str], None]
) -> Pod:
    """Delete the oldest ready pod; return it once it is gone and replaced.

    Raises RolloutError where that takes longer than `timeout` seconds.
    """
    ready = [pod for pod in watch.present() if pod.state is State.READY]
    if not ready:
        raise RolloutError("No pod is ready, so none is deleted.")
    pod, whole = ready[0], len(ready)
    say(f"deleting {pod.name}")
    kubectl("delete", "pod", pod.name.partition(" ")[0], "-n", namespace, "--wait=false")

    def replaced() -> bool:
        states = [other.state for other in watch.present()]
        return pod.state is State.GONE and states == [State.READY] * whole

    if not watch.wait(replaced, timeout):
        raise RolloutError(
            f"The pod {pod.name} was not deleted and replaced within {timeout:.0f} s (--timeout)."
        )
    return pod


def survey(  # noqa: PLR0913 - all named
    kubectl: Kubectl,
    *,
    namespace: str,
    reference: Reference,
    loads: Mapping[str, Load],
    pods: int,
    timeout: float,
    say: Callable[[str], None],
    title: str,
) -> Propagation:
    """Delete pods one after the other under these loads, and see how long each route still leads to them.

    Raises RolloutError, KubectlError, LoadError.
    """
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(kubectl, namespace, reference.name, reference.kind, wide=True))
        if not watch.sees_pods:
            raise RolloutError(
                f"The pods cannot be watched, and nothing is measured without: {watch.unseen['pods']}"
            )
        say(f"starting clients on {'; '.join(loads)}")
        for load in loads.values():
            stack.enter_context(load)
        deleted = [delete_one(kubectl, namespace, watch, timeout, say) for _ in range(pods)]
        results = {name: load.stop() for name, load in loads.items()}
    refuse_unseen(results)
    for name, result in results.items():
        if result.lost:
            say(f"{name}: {result.summary()}")
    return Propagation(
        rung=title,
        kubernetes=kubectl.check(),
        terminations=[termination_of(pod, results) for pod in deleted],
        requests=sum(result.requests for result in results.values()),
        lost={name: result.lost for name, result in results.items() if result.lost},
    )
