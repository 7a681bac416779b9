"""Updates of each rung to the next under load: through the NodePort, through the edge, from inside."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_lossless.measure.report import Report
from tools.course import course
from tools.course.experiment import CLUSTERIP, DNS, Experiment, run
from tools.course.load import LONG_MIX
from tools.course.stage import Rung, Stage


def rolled(stage: Stage, source: Rung, into: Rung, **how: Any) -> Report:
    report = run(Experiment(source, into, **how), stage)
    assert report.problem is None, report.problem
    versions = report.load.versions()
    assert len(versions) == 2, f"both versions are to respond: {versions}"
    return report


def onto_itself(name: str) -> tuple[Rung, Rung]:
    return Rung(name), course.onto_itself(Rung(name))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(Rung("v3"), Rung("v4"), marks=pytest.mark.matrix),
        pytest.param(Rung("v4"), Rung("v5"), marks=pytest.mark.matrix),
        pytest.param(Rung("v5"), Rung("v6"), marks=pytest.mark.matrix),
        (Rung("v6"), Rung("v7")),
        # In CI the page and the streams test this update.
        pytest.param(*onto_itself("v7"), marks=pytest.mark.matrix),
    ],
    ids=lambda rung: rung.version or rung.name,
)
def test_update_loses_nothing(stage: Stage, source: Rung, target: Rung) -> None:
    report = rolled(stage, source, target)
    assert report.load.lost == 0, report.load.summary()


@pytest.mark.parametrize(
    ("source", "target"), [pytest.param("v1", "v2", marks=pytest.mark.matrix), ("v2", "v3")]
)
def test_load_observes_the_losses(stage: Stage, source: str, target: str) -> None:
    if not any(rolled(stage, Rung(source), Rung(target)).load.lost for _ in range(4)):
        pytest.fail(f"{source} to {target} lost nothing in four updates: does the load see failures?")


@pytest.mark.matrix
def test_sidecar_as_a_plain_container_loses_requests(stage: Stage) -> None:
    if not any(rolled(stage, *onto_itself("v6-plain")).load.lost for _ in range(4)):
        pytest.fail("four updates of v6-plain lost nothing: what is the native sidecar for?")


@pytest.mark.parametrize("name", ["v5", *(pytest.param(n, marks=pytest.mark.matrix) for n in ("v6", "v7"))])
def test_requests_of_five_seconds_are_not_lost(stage: Stage, name: str) -> None:
    report = rolled(stage, *onto_itself(name), clients=LONG_MIX)
    assert report.load.lost == 0, report.load.summary()


@pytest.mark.matrix
@pytest.mark.parametrize("target", [DNS, CLUSTERIP])
@pytest.mark.parametrize("name", ["v3", "v5", "v6", "v7"])
def test_update_loses_nothing_inside_the_cluster(
    stage: Stage, load_image: str, name: str, target: str
) -> None:
    report = rolled(stage, *onto_itself(name), target=target, load_image=load_image)
    assert report.load.lost == 0, report.load.summary()


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["v5", "v6", "v7"])
def test_update_loses_nothing_through_the_edge(stage: Stage, edge: str, name: str) -> None:
    report = rolled(stage, *onto_itself(name), target=edge)
    assert report.load.lost == 0, report.load.summary()
