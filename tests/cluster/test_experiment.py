"""Failures of the experiment itself: it reports them in bounded time and restores the cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kubectl_lossless.kubectl import Kubectl
from kubectl_lossless.measure.pod import version_of
from tests.cluster.conftest import K8S, reachable_url
from tools.course.experiment import Experiment, run
from tools.course.namespace import JOURNAL, get_namespace
from tools.course.stage import Rung, Stage, StageError

SMALL = {"new": 2, "busy": 2}
SOON = 90.0
"""Maximum time to report a stuck update, in seconds. The report never comes from the timeout."""


def failing(stage: Stage, source: Rung, destination: Rung) -> str:
    """Run an update that fails, during which the old pods lose nothing; return the reported problem."""
    began = time.monotonic()
    report = run(Experiment(source, destination, clients=SMALL), stage)
    assert report.problem
    assert report.complete is None
    assert report.load.lost == 0, report.load.summary()
    assert time.monotonic() - began < SOON
    return report.problem


@pytest.mark.matrix
def test_wrong_image_is_reported_with_a_remedy(stage: Stage) -> None:
    problem = failing(stage, Rung("v4"), Rung("v4", image="localhost:5000/flask:never-pushed"))
    assert "never-pushed" in problem
    assert "make push" in problem


@pytest.mark.matrix
def test_exceeded_quota_is_reported_with_a_remedy(stage: Stage) -> None:
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


@pytest.mark.matrix
def test_pod_that_never_becomes_ready_ends_the_experiment_in_bounded_time(
    stage: Stage, manifests: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "never-ready.yaml"
    manifest.write_text(
        (manifests / "flask-deployment-v4.yaml").read_text().replace("/api/nowater/version", "/no")
    )
    with pytest.raises(StageError, match=r"not over after 15 s.*not ready") as caught:
        run(Experiment(Rung(str(manifest)), Rung("v5"), clients=SMALL, timeout=15), stage)
    assert "readiness probe" in str(caught.value)


class Rollout:
    """An experiment in a separate process, killed at the end of the `with` block."""

    def __init__(self, kubectl: Kubectl, manifests: Path, *arguments: str) -> None:
        self.said = ""
        command = [sys.executable, "-m", "tools.course", *arguments, "--context", str(kubectl.context)]
        self.process = subprocess.Popen(
            [*command, "--manifests", str(manifests)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=K8S.parent,
        )

    def __enter__(self) -> Rollout:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        while text not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line

    def wait(self) -> int:
        self.said += self.process.communicate(timeout=120)[1]
        return self.process.returncode

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)
        assert self.wait() == 130, self.said
        assert "putting the cluster back" in self.said


UPDATE = ("update", "v4", "v5", "--clients", "new=2")
QUICK_UPDATE = ("update", "v2", "v5", "--clients", "new=2")
"""An update whose first rung is rolled out in seconds: it has neither preStop nor minReadySeconds."""


def is_as_found(stage: Stage) -> None:
    stage.wait_until_settled(SOON)
    (now,) = stage.kubectl.objects("get", "deployment", stage.deployment, "-n", stage.namespace)
    assert version_of(now["spec"]["template"]) == "found"
    assert "minReadySeconds" not in now["spec"]
    assert not stage.kubectl("get", "secret", JOURNAL, "-n", stage.namespace, "--ignore-not-found")


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_experiment_restores_the_previous_objects(
    stage: Stage, deployed: Callable[[Rung], str], manifests: Path, tmp_path: Path, number: signal.Signals
) -> None:
    deployed(Rung("v2", version="found"))
    output = ("--output", str(tmp_path / "report"))
    with Rollout(stage.kubectl, manifests, *UPDATE, "--yes", *output) as experiment:
        experiment.wait_for("applying v5")
        experiment.interrupt(number)
    is_as_found(stage)
    assert not (tmp_path / "report").exists()


def test_experiment_asks_before_changing_foreign_objects(
    stage: Stage, deployed: Callable[[Rung], str], manifests: Path
) -> None:
    deployed(Rung("v2", version="found"))
    with Rollout(stage.kubectl, manifests, *UPDATE) as experiment:  # with no response on stdin
        assert experiment.wait() == 2
    assert f"context {stage.kubectl.context} (" in experiment.said
    assert f"namespace {stage.namespace}" in experiment.said
    assert "holds Deployment/flask-deployment, Service/flask-service, which no experiment" in experiment.said
    assert "Nothing was changed; --yes continues without asking" in experiment.said
    is_as_found(stage)


def test_state_before_a_killed_experiment_is_restored_by_the_next_experiment(
    stage: Stage, deployed: Callable[[Rung], str], manifests: Path
) -> None:
    deployed(Rung("v2", version="found"))
    with Rollout(stage.kubectl, manifests, *QUICK_UPDATE, "--yes") as killed:
        killed.wait_for("pods are ready")
        with Rollout(stage.kubectl, manifests, *QUICK_UPDATE, "--yes") as second:
            assert second.wait() == 2
        assert "Another experiment uses the namespace" in second.said
        killed.process.kill()
        killed.process.wait()
    (left,) = stage.kubectl.objects("get", "deployment", stage.deployment, "-n", stage.namespace)
    assert version_of(left["spec"]["template"]) == "v2"
    with Rollout(stage.kubectl, manifests, *QUICK_UPDATE, "--yes") as again:
        again.wait_for("an experiment was killed in the middle: putting back what it found")
        again.wait_for("pods are ready")
        again.interrupt()
    is_as_found(stage)


@pytest.mark.matrix  # .ci/run has the other killed experiment, whose namespace existed before
@pytest.mark.deletes_namespace
def test_namespace_of_a_killed_experiment_is_deleted_by_the_next_experiment(
    stage: Stage, manifests: Path
) -> None:
    stage.apply(Rung("v5"))  # so that `stage.namespace` is set
    delete = ("delete", "namespace", stage.namespace, "--ignore-not-found")
    stage.kubectl(*delete, timeout=180)
    with Rollout(stage.kubectl, manifests, *QUICK_UPDATE) as killed:
        killed.wait_for("pods are ready")
        killed.process.kill()
        killed.process.wait()
    with Rollout(stage.kubectl, manifests, *QUICK_UPDATE) as again:  # only its own objects: no question
        again.wait_for("an experiment was killed in the middle: deleting the namespace that it created")
        again.wait_for("pods are ready")
        again.interrupt()
    assert get_namespace(stage.kubectl, stage.namespace) is None


@pytest.mark.matrix
def test_previous_objects_are_restored_even_after_their_deletion(
    stage: Stage, deployed: Callable[[Rung], str], manifests: Path
) -> None:
    deployed(Rung("v2", version="found"))
    with Stage(stage.kubectl, manifests) as other:
        other.apply(Rung("v4"))
        stage.kubectl("delete", "deployment,service", "--all", "-n", stage.namespace, timeout=60)
        stage.kubectl("apply", "-f", str(manifests / "service.yaml"))  # with another address
    stage.wait_until_settled(SOON)
    (now,) = stage.kubectl.objects("get", "deployment", stage.deployment, "-n", stage.namespace)
    assert version_of(now["spec"]["template"]) == "found"
    assert reachable_url(stage)
