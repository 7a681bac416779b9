"""How long after a pod begins to leave it still gets new connections, on each way to the service.

That time is what DRAIN_MIN (or a preStop sleep) has to cover. Pods are deleted one after the other while
clients open new connections on every way; each answer names its pod, so the last one that a leaving pod
gave to a new connection tells when that way had learned. The times compare this machine's clock with
itself, except for a load inside the cluster, whose node's clock counts.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubectl_lossless.measure.load.job import Job
from kubectl_lossless.measure.propagation import Endpoints, Propagation, leave_of
from kubectl_lossless.measure.watch import State, Watch
from tools.course.experiment import DNS, Experiment, Silent
from tools.course.load import Load
from tools.course.namespace import EXPERIMENT, MADE_BY
from tools.course.stage import REACHABLE, Rung, Stage, StageError, first_to_answer

CLIENTS = 6
"""Clients on each way, each with 10 new connections a second: one every 50 ms to each of three pods."""


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
        leaves=[
            leave_of(pod, endpoints, results) for name in names for pod in watch.pods if pod.name == name
        ],
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
        place = Job(stage.kubectl, stage.namespace, survey.load_image, annotations={MADE_BY: EXPERIMENT})
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
