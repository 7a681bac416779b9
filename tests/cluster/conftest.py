"""Fixtures of tests on a real cluster, the context of --cluster-context; without it the tests are skipped.

The tests expect their images in the manifests' registry (`make push push-envoy push-load`), or on the nodes
the images of --image, --envoy-image and --load-image; and a node's address that this machine can reach.
They own the namespace flask-cluster: everything in it is deleted.
"""

from __future__ import annotations

import functools
import os
import tempfile
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
from tools.course.stage import Rung, Stage, first_to_respond

__all__ = ["NAMESPACE"]
NAME = "deployment/flask-deployment"
ROLLED_OUT = 180.0
"""Timeout for a rollout, including the deletion of the previous pods, in seconds."""

ROUTED = 30.0
"""Timeout for ready pods to be reachable through a node or the edge, in seconds."""

EDGE = os.environ.get("EDGE_URL")
"""URL of the cluster's ingress controller and Gateway; without it the tests through them are skipped."""

K8S = Path(__file__).parents[2] / "k8s"

Deploy = Callable[[Rung], str]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Last, because all other tests share the namespace of the fixture `stage`.
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
            item.add_marker(pytest.mark.timeout(600))  # seconds; some tests roll out several updates


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    return Kubectl(request.config.getoption("--cluster-context"))


@pytest.fixture(scope="session")
def disruptive(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--disruptive"))


@functools.cache
def with_images(image: str, envoy_image: str) -> Path:
    """Return a folder with the manifests of k8s/ and other images, as `make manifest` prints them."""
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
    """Return the folder of the manifests to roll out."""
    images = [request.config.getoption(name) for name in ("--image", "--envoy-image")]
    return with_images(*images) if any(images) else K8S


@pytest.fixture(scope="session")
def load_image(request: pytest.FixtureRequest) -> str:
    """Return the image of a load in the cluster."""
    return str(request.config.getoption("--load-image") or Experiment.load_image)


@pytest.fixture(scope="session")
def stage(kubectl: Kubectl, manifests: Path) -> Iterator[Stage]:
    """Yield the course's namespace; delete it at the end if it did not exist before."""
    with Stage(kubectl, manifests) as stage:
        yield stage


@pytest.fixture
def deployed(stage: Stage) -> Deploy:
    """Return a function that deploys a rung, waits until only its pods exist, and returns its URL."""

    def deploy(rung: Rung) -> str:
        # Into an empty namespace: a pause, a history or other values of an earlier test must have no effect.
        left = ("deployment,hpa,pdb,job,networkpolicy", "--all", "-n", NAMESPACE)
        stage.kubectl("delete", *left, "--cascade=foreground", "--wait", timeout=180)
        stage.apply(rung, clean=True)
        stage.wait_until_settled(ROLLED_OUT)
        return reachable_url(stage)

    return deploy


def reachable_url(stage: Stage) -> str:
    """Return the first URL of a node at which the service responds."""
    url = first_to_respond(stage.node_urls(), None, ROUTED)
    assert url, f"none of {stage.node_urls()} responds within {ROUTED:g} s"
    return url


@pytest.fixture(params=["ingress", "httproute"])
def edge(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """Create a route through the cluster's edge to the service; yield its URL, then delete it."""
    manifest = str(K8S / f"{request.param}.yaml")
    if EDGE is None:
        pytest.skip("EDGE_URL does not say where the cluster's edge is")
    if not stage.kubectl("get", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found"):
        pytest.skip("the cluster has no Ingress and Gateway API controller")
    stage.apply(Rung("v5"), clean=True)
    stage.wait_until_settled(ROLLED_OUT)
    stage.kubectl("apply", "-f", manifest)
    assert first_to_respond([EDGE], None, ROUTED), f"{EDGE} does not respond within {ROUTED:g} s"
    yield EDGE
    stage.kubectl("delete", "-f", manifest)


@contextmanager
def nothing_lost(url: str, clients: Mix = DEFAULT_MIX) -> Iterator[load.Load]:
    """Send requests to the service during the `with` block; not one of them may fail."""
    with Load(url, clients=clients) as load:
        yield load
    assert load.result.lost == 0, load.result.summary()
