"""Time for which a terminating pod still gets new connections, on each route to the service.

DRAIN_MIN (or a preStop sleep) has to cover that time. Pods are deleted one after the other while clients
open new connections on every route. Each response names its pod, so the last response of a terminating pod
to a new connection shows when that route was updated. The times compare this machine's clock with itself,
except for a load inside the cluster, whose node's clock counts.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubectl_lossless.measure import propagation
from kubectl_lossless.measure.load.job import Job
from kubectl_lossless.measure.propagation import Propagation
from kubectl_lossless.measure.run import Console
from kubectl_lossless.measure.workload import Reference
from tools.course.experiment import DNS, Experiment
from tools.course.load import Load
from tools.course.namespace import EXPERIMENT, MADE_BY
from tools.course.stage import REACHABLE, Rung, Stage, StageError, first_to_respond

CLIENTS = 6
"""Number of clients on each route, each with 10 new connections per second: every 50 ms to each of 3 pods."""


@dataclass(frozen=True)
class Survey:
    """A measurement: `pods` of `rung` are deleted.

    Routes are the NodePort on every node that responds to this machine, `more` (name: URL), and with `inside`
    the Service's name from inside the cluster. `timeout`: of each wait, in seconds.
    """

    rung: Rung
    pods: int = 6
    more: Mapping[str, str] = field(default_factory=dict)
    inside: bool = False
    load_image: str = Experiment.load_image
    timeout: float = 240.0


def measure(survey: Survey, stage: Stage, console: Console | None = None) -> Propagation:
    """Delete pods of a rung one after the other and measure how long each route still leads to them.

    Raises StageError, KubectlError, LoadError.
    """
    console = console or Console()
    console.say(f"applying {survey.rung.name}")
    stage.apply(survey.rung, clean=True)
    stage.wait_until_settled(survey.timeout)
    loads = _loads(survey, stage)
    return propagation.survey(
        stage.kubectl,
        namespace=stage.namespace,
        reference=Reference("deployment", stage.deployment),
        loads=loads,
        pods=survey.pods,
        timeout=survey.timeout,
        say=console.say,
        title=survey.rung.name,
    )


def _loads(survey: Survey, stage: Stage) -> dict[str, Load]:
    """Create the load of each route."""
    routes = {f"NodePort, node {number}": url for number, url in enumerate(stage.node_urls(), 1)}
    until = time.monotonic() + REACHABLE  # for all nodes together: many nodes of a cluster may be unreachable
    routes = {
        name: url for name, url in routes.items() if first_to_respond([url], None, until - time.monotonic())
    }
    for name, url in survey.more.items():
        if not first_to_respond([url], None):
            raise StageError(f"{name}: {url} does not respond to GET /api from here.")
    clients = {"new": CLIENTS}
    loads = {name: Load(url, clients=clients) for name, url in (routes | dict(survey.more)).items()}
    if survey.inside:
        place = Job(stage.kubectl, stage.namespace, survey.load_image, annotations={MADE_BY: EXPERIMENT})
        loads["ClusterIP, inside"] = Load(stage.service_url(DNS), clients=clients, place=place)
    if not loads:
        raise StageError(
            "No route leads to the service from here: name one with --route NAME=URL, or --inside."
        )
    return loads
