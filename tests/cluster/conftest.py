"""A real cluster, whichever kubectl points to. Without one these tests are skipped, and say so.

They expect the images in the registry that the manifests name (`make push load-image`), and an address
of a node that this machine reaches. They take the namespace flask-cluster for themselves: Deployments
that are in it are deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout.kubectl import Kubectl, KubectlError
from rollout.load import DEFAULT_MIX, Load, Mix
from rollout.stage import Rung, Stage, first_to_answer

MANIFESTS = Path(__file__).parents[2] / "k8s"
NAMESPACE = "flask-cluster"
NAME = "deployment/flask-deployment"
ROLLED_OUT = 180.0
"""Seconds within which a Deployment is rolled out and its predecessor's pods are gone."""

ROUTED = 30.0
"""Seconds within which pods that are ready are reached through a node or the edge."""

EDGE = os.environ.get("EDGE_URL", "http://10.99.0.1:8080")
"""Where the cluster's ingress controller answers; the lab's unless set."""

Deploy = Callable[[Rung], str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))  # seconds; some roll several updates


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    found = Kubectl()
    try:
        found.check()
    except KubectlError as error:
        pytest.skip(f"no cluster: {error}")
    return found


@pytest.fixture(scope="session")
def stage(kubectl: Kubectl) -> Iterator[Stage]:
    """The course's namespace, deleted at the end if it was not there before."""
    with Stage(kubectl, MANIFESTS) as stage:
        yield stage


@pytest.fixture
def deployed(stage: Stage) -> Deploy:
    """Deploy a rung and wait until only its pods are there; the URL at which it answers."""

    def deploy(rung: Rung) -> str:
        # From an empty place: what an earlier test left (a pause, a history, other numbers) must not show.
        left = ("deployment,hpa,pdb,job", "--all", "-n", NAMESPACE)
        stage.kubectl("delete", *left, "--cascade=foreground", "--wait", timeout=180)
        stage.apply(rung, afresh=True)
        stage.wait_until_settled(ROLLED_OUT)
        return way_in(stage)

    return deploy


def way_in(stage: Stage) -> str:
    """A node's URL at which the service answers; the first of those that do."""
    url = first_to_answer(stage.node_urls(), None, ROUTED)
    assert url, f"none of {stage.node_urls()} answers within {ROUTED:g} s"
    return url


@pytest.fixture(params=["ingress", "httproute"])
def edge(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """A way through the cluster's edge to the service, taken away afterwards."""
    manifest = str(MANIFESTS / f"{request.param}.yaml")
    if not stage.kubectl("get", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found"):
        pytest.skip("the cluster has no Ingress and Gateway API controller")
    stage.apply(Rung("v5"), afresh=True)
    stage.wait_until_settled(ROLLED_OUT)
    stage.kubectl("apply", "-f", manifest)
    assert first_to_answer([EDGE], None, ROUTED), f"{EDGE} does not answer within {ROUTED:g} s"
    yield EDGE
    stage.kubectl("delete", "-f", manifest)


@contextmanager
def nothing_lost(url: str, clients: Mix = DEFAULT_MIX) -> Iterator[Load]:
    """Load the service around an action; not one request may fail."""
    with Load(url, clients=clients) as load:
        yield load
    assert load.result.lost == 0, load.result.summary()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; fail with its name when it does not come true in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
