"""Each rung of the course rolled into the next under load: through the NodePort, the edge, from inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from rollout.experiment import CLUSTERIP, DNS, Experiment, run
from rollout.load import LONG_MIX
from rollout.report import Report
from rollout.stage import Rung, Stage, answers
from tests.cluster.conftest import MANIFESTS, ROLLED_OUT, wait_until

EDGE = os.environ.get("EDGE_URL", "http://10.99.0.1:8080")
"""Where the cluster's ingress controller answers; the lab's unless set."""


def rolled(stage: Stage, source: Rung, into: Rung, **how: Any) -> Report:
    report = run(Experiment(source, into, **how), stage)
    assert report.problem is None, report.problem
    versions = report.load.versions()
    assert len(versions) == 2, f"both versions are to answer: {versions}"
    return report


def onto_itself(name: str) -> tuple[Rung, Rung]:
    return Rung(name), Rung(name, version=f"{name}-new")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(Rung("v3"), Rung("v4"), marks=pytest.mark.matrix),
        (Rung("v4"), Rung("v5")),
        pytest.param(Rung("v5"), Rung("v6"), marks=pytest.mark.matrix),
        (Rung("v6"), Rung("v7")),
        onto_itself("v7"),
    ],
    ids=lambda rung: rung.version or rung.name,
)
def test_nothing_is_lost(stage: Stage, source: Rung, target: Rung) -> None:
    report = rolled(stage, source, target)
    assert report.load.lost == 0, report.load.summary()


@pytest.mark.parametrize(
    ("source", "target"), [pytest.param("v1", "v2", marks=pytest.mark.matrix), ("v2", "v3")]
)
def test_the_meter_sees_what_is_lost(stage: Stage, source: str, target: str) -> None:
    if not any(rolled(stage, Rung(source), Rung(target)).load.lost for _ in range(4)):
        pytest.fail(f"{source} to {target} lost nothing in four updates: does the load see failures?")


@pytest.mark.matrix
def test_the_sidecar_as_a_plain_container_loses_requests(stage: Stage) -> None:
    if not any(rolled(stage, *onto_itself("v6-plain")).load.lost for _ in range(4)):
        pytest.fail("four updates of v6-plain lost nothing: what is the native sidecar for?")


@pytest.mark.parametrize("name", ["v5", *(pytest.param(n, marks=pytest.mark.matrix) for n in ("v6", "v7"))])
def test_requests_of_five_seconds_are_not_lost(stage: Stage, name: str) -> None:
    report = rolled(stage, *onto_itself(name), clients=LONG_MIX)
    assert report.load.lost == 0, report.load.summary()


@pytest.mark.matrix
@pytest.mark.parametrize("target", [DNS, CLUSTERIP])
@pytest.mark.parametrize("name", ["v3", "v5", "v6", "v7"])
def test_nothing_is_lost_inside_the_cluster(stage: Stage, name: str, target: str) -> None:
    report = rolled(stage, *onto_itself(name), target=target)
    assert report.load.lost == 0, report.load.summary()


@pytest.fixture(params=["ingress", "httproute"])
def edge(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """A way through the cluster's edge to the service, taken away afterwards."""
    manifest = str(MANIFESTS / f"{request.param}.yaml")
    if not stage.kubectl("get", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found"):
        pytest.skip("the cluster has no Ingress and Gateway API controller")
    stage.apply(Rung("v5"), afresh=True)
    stage.wait_until_settled(ROLLED_OUT)
    stage.kubectl("apply", "-f", manifest)
    wait_until(lambda: answers(EDGE, None), 30, f"{EDGE} answers")
    yield EDGE
    stage.kubectl("delete", "-f", manifest)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["v5", "v6", "v7"])
def test_nothing_is_lost_through_the_edge(stage: Stage, edge: str, name: str) -> None:
    report = rolled(stage, *onto_itself(name), target=edge)
    assert report.load.lost == 0, report.load.summary()
