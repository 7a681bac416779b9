"""A real cluster, of the context that --cluster-context names; without it these tests are skipped.

They expect the images in the registry that the manifests name (`make push push-envoy load-image`), or on the
nodes those that --image, --envoy-image and --load-image name; and a node's address that this machine reaches.
They take the namespace flask-cluster for themselves: what is in it is deleted.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure import load
from kubectl_lossless.measure.load import Mix
from tests.cluster.beforehand import NAMESPACE
from tools.course.experiment import Experiment
from tools.course.load import DEFAULT_MIX, Load
from tools.course.stage import Rung, Stage, first_to_answer

__all__ = ["NAMESPACE"]
NAME = "deployment/flask-deployment"
ROLLED_OUT = 180.0
"""Seconds within which a Deployment is rolled out and its predecessor's pods are gone."""

ROUTED = 30.0
"""Seconds within which pods that are ready are reached through a node or the edge."""

EDGE = os.environ.get("EDGE_URL")
"""The URL of the cluster's ingress controller and Gateway; without it the tests through them are skipped."""

K8S = Path(__file__).parents[2] / "k8s"

Deploy = Callable[[Rung], str]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The fixture `stage` keeps the namespace for all the others.
    items.sort(key=lambda item: item.get_closest_marker("deletes_namespace") is not None)
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not config.getoption("--cluster-context"):
            item.add_marker(pytest.mark.skip(reason="no cluster is named: make test-cluster CONTEXT=name"))
        if item.get_closest_marker("disruptive") and not config.getoption("--disruptive"):
            item.add_marker(
                pytest.mark.skip(reason="disruptive: make test-cluster CONTEXT=name DISRUPTIVE=1")
            )
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))  # seconds; some roll several updates


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    return Kubectl(request.config.getoption("--cluster-context"))


@pytest.fixture(scope="session")
def disruptive(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--disruptive"))


@functools.cache
def with_images(image: str, envoy_image: str) -> Path:
    """A folder of k8s/'s manifests with other images, as `make manifest` prints them."""
    folder = Path(tempfile.mkdtemp(prefix="manifests-"))
    for manifest in K8S.glob("*.yaml"):
        text = manifest.read_text()
        for name, other in (("flask", image), ("flask-envoy", envoy_image)):
            default = f"image: localhost:5000/{name}:latest\n"
            text = text.replace(default, f"image: {other}\n") if other else text
        (folder / manifest.name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def manifests(request: pytest.FixtureRequest) -> Path:
    """The folder of the manifests to roll."""
    images = [request.config.getoption(name) for name in ("--image", "--envoy-image")]
    return with_images(*images) if any(images) else K8S


@pytest.fixture(scope="session")
def load_image(request: pytest.FixtureRequest) -> str:
    """The image of a load in the cluster."""
    return str(request.config.getoption("--load-image") or Experiment.load_image)


@pytest.fixture(scope="session")
def stage(kubectl: Kubectl, manifests: Path) -> Iterator[Stage]:
    """The course's namespace, deleted at the end if it was not there before."""
    with Stage(kubectl, manifests) as stage:
        yield stage


@pytest.fixture
def deployed(stage: Stage) -> Deploy:
    """Deploy a rung and wait until only its pods are there; the URL at which it answers."""

    def deploy(rung: Rung) -> str:
        # From an empty place: what an earlier test left (a pause, a history, other numbers) must not show.
        left = ("deployment,hpa,pdb,job,networkpolicy", "--all", "-n", NAMESPACE)
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
    manifest = str(K8S / f"{request.param}.yaml")
    if EDGE is None:
        pytest.skip("EDGE_URL does not say where the cluster's edge is")
    if not stage.kubectl("get", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found"):
        pytest.skip("the cluster has no Ingress and Gateway API controller")
    stage.apply(Rung("v5"), afresh=True)
    stage.wait_until_settled(ROLLED_OUT)
    stage.kubectl("apply", "-f", manifest)
    assert first_to_answer([EDGE], None, ROUTED), f"{EDGE} does not answer within {ROUTED:g} s"
    yield EDGE
    stage.kubectl("delete", "-f", manifest)


@contextmanager
def nothing_lost(url: str, clients: Mix = DEFAULT_MIX) -> Iterator[load.Load]:
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
