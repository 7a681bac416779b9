"""The experiment itself where things go wrong: it says so in bounded time, and gives the cluster back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout.experiment import Experiment, run
from rollout.stage import Rung, Stage, StageError
from rollout.watch import version_of
from tests.cluster.conftest import MANIFESTS, way_in

pytestmark = pytest.mark.matrix
SMALL = {"new": 2, "busy": 2}
SOON = 90.0
"""Seconds within which an update that cannot go on is told; it is never the timeout that tells it."""


def failing(stage: Stage, source: Rung, destination: Rung) -> str:
    """Why the update fails; meanwhile the old pods lose nothing."""
    began = time.monotonic()
    report = run(Experiment(source, destination, clients=SMALL), stage)
    assert report.problem
    assert report.complete is None
    assert report.load.lost == 0, report.load.summary()
    assert time.monotonic() - began < SOON
    return report.problem


def test_a_wrong_image_is_told_with_what_to_do(stage: Stage) -> None:
    problem = failing(stage, Rung("v4"), Rung("v4", image="localhost:5000/flask:never-pushed"))
    assert "never-pushed" in problem
    assert "make push" in problem


def test_a_quota_is_told_with_what_to_do(stage: Stage) -> None:
    stage.apply(Rung("v4"))
    stage.wait_until_settled(SOON)
    quota = ["quota", "three-pods", "-n", stage.namespace]
    stage.kubectl("create", *quota, "--hard=pods=3")
    try:
        problem = failing(stage, Rung("v4"), Rung("v5"))
    finally:
        stage.kubectl("delete", *quota)
    assert "exceeded quota: three-pods" in problem
    assert "Raise the ResourceQuota" in problem


def test_a_pod_that_never_gets_ready_ends_in_bounded_time(stage: Stage, tmp_path: Path) -> None:
    manifest = tmp_path / "never-ready.yaml"
    manifest.write_text(
        (MANIFESTS / "flask-deployment-v4.yaml").read_text().replace("/api/nowater/version", "/no")
    )
    with pytest.raises(StageError, match=r"not over after 15 s.*not ready") as caught:
        run(Experiment(Rung(str(manifest)), Rung("v5"), clients=SMALL, timeout=15), stage)
    assert "readiness probe" in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_experiment_puts_back_what_was_there(
    stage: Stage, deployed: Callable[[Rung], str], tmp_path: Path, number: int
) -> None:
    deployed(Rung("v2", version="found"))
    command = ["update", "v4", "v5", "--clients", "new=2", "--output", str(tmp_path / "report")]
    process = subprocess.Popen(
        [sys.executable, "-m", "rollout", *command],
        stderr=subprocess.PIPE,
        text=True,
        cwd=MANIFESTS.parent,
    )
    assert process.stderr is not None
    try:
        said = ""
        while "applying v5" not in said:
            assert process.poll() is None, said
            said += process.stderr.readline()
        process.send_signal(number)
        said += process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "putting the cluster back" in said
    stage.wait_until_settled(SOON)
    (now,) = stage.kubectl.objects("get", "deployment", stage.deployment, "-n", stage.namespace)
    assert version_of(now["spec"]["template"]) == "found"
    assert "minReadySeconds" not in now["spec"]

    assert not (tmp_path / "report").exists()


def test_what_was_there_is_put_back_whatever_became_of_it(
    stage: Stage, deployed: Callable[[Rung], str]
) -> None:
    deployed(Rung("v2", version="found"))
    with Stage(stage.kubectl, MANIFESTS) as other:
        other.apply(Rung("v4"))
        stage.kubectl("delete", "deployment,service", "--all", "-n", stage.namespace, timeout=60)
        stage.kubectl("apply", "-f", str(MANIFESTS / "service.yaml"))  # with another address
    stage.wait_until_settled(SOON)
    (now,) = stage.kubectl.objects("get", "deployment", stage.deployment, "-n", stage.namespace)
    assert version_of(now["spec"]["template"]) == "found"
    assert way_in(stage)
