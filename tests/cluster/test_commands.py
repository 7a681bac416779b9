"""Effects of the course's commands, as the course describes them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from kubectl_lossless.kubectl import Kubectl, KubectlError
from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.watch import Watch
from tests.cluster.conftest import NAME, ROLLED_OUT, Deploy, nothing_lost, reachable_url
from tests.waiting import wait_until
from tools.course.load import Load
from tools.course.stage import Rung, Stage


class Course:
    """The course's commands, in the course's namespace."""

    def __init__(self, stage: Stage, url: str) -> None:
        self.url = url
        self.kubectl: Kubectl = stage.kubectl
        self.namespace = stage.namespace
        self.watch = Watch(stage.kubectl, stage.namespace, stage.deployment)

    def __call__(self, *arguments: str, timeout: float = 30) -> str:
        return self.kubectl(*arguments, "-n", self.namespace, timeout=timeout)

    def patch(self, spec: dict[str, Any]) -> None:
        self("patch", NAME, "--type=merge", "-p", json.dumps({"spec": spec}))

    def set_version(self, version: str) -> None:
        self("set", "env", NAME, "-c", "flask", f"APP_VERSION={version}")

    def patch_container(self, version: str, **fields: Any) -> None:
        """Change the container `flask` and its APP_VERSION."""
        container = {"name": "flask", "env": [{"name": "APP_VERSION", "value": version}], **fields}
        spec = {"template": {"spec": {"containers": [container]}}}
        self("patch", NAME, "--type=strategic", "-p", json.dumps({"spec": spec}))

    def status(self, seconds: int = 180) -> str:
        return self("rollout", "status", NAME, f"--timeout={seconds}s", timeout=seconds + 10)


@pytest.fixture
def course(stage: Stage, deployed: Deploy) -> Course:
    return Course(stage, deployed(Rung("v5", min_ready_seconds=0)))


def versions_now(url: str, least: int = 40) -> set[str]:
    """Return the versions that respond from now on, in `least` responses or more."""
    with Load(url, clients={"new": 4}) as load:
        began = time.time()
        wait_until(lambda: len(load.result.between(began, time.time()).responses) >= least, "responses", 30)
    return set(load.result.between(began, time.time()).versions())


def test_single_file_deploys_everything(stage: Stage, deployed: Deploy, manifests: Path) -> None:
    deployed(Rung("v5"))
    kubectl = stage.kubectl
    kubectl("delete", "namespace", stage.namespace, "--wait", timeout=180)
    kubectl("create", "-f", str(manifests / "flask-deployment-all.yaml"))
    kubectl("rollout", "status", NAME, "-n", stage.namespace, "--timeout=120s", timeout=130)
    assert versions_now(reachable_url(stage))


@pytest.mark.matrix  # the guide, which CI runs, tests this too
def test_undo_to_any_revision_loses_nothing(stage: Stage, deployed: Deploy) -> None:
    url = deployed(Rung("v4", min_ready_seconds=0))
    course = Course(stage, url)
    for name in ("v5", "v6"):
        stage.apply(Rung(name, min_ready_seconds=0))
        stage.wait_until_settled(ROLLED_OUT)
    history = course("rollout", "history", NAME)
    causes = [line.split(maxsplit=1) for line in history.splitlines() if line[:1].isdigit()]
    assert [cause[:2] for _, cause in causes] == ["v4", "v5", "v6"]
    revisions = [number for number, _ in causes]
    assert "APP_VERSION:\tv5" in course("rollout", "history", NAME, f"--revision={revisions[1]}")

    with nothing_lost(url):
        course("rollout", "undo", NAME)
        course.status()
        stage.wait_until_settled(ROLLED_OUT)
    assert versions_now(url) == {"v5"}
    with nothing_lost(url):
        course("rollout", "undo", NAME, f"--to-revision={revisions[0]}")
        course.status()
        stage.wait_until_settled(ROLLED_OUT)
    assert versions_now(url) == {"v4"}


@pytest.mark.matrix
def test_rollout_of_a_missing_image_stops_and_can_be_undone(stage: Stage, course: Course) -> None:
    course.patch({"progressDeadlineSeconds": 15})
    with nothing_lost(course.url):
        course("set", "image", NAME, "flask=localhost:5000/flask:there-is-none")
        with pytest.raises(KubectlError, match="exceeded its progress deadline"):
            course.status()
        with course.watch as watch:
            ready = [pod for pod in watch.present() if pod.state is State.READY]
        assert len(ready) == 3
        course("rollout", "undo", NAME)
        course.status()


@pytest.mark.matrix  # the guide, which CI runs, tests this too
def test_pause_leaves_a_canary_and_resume_completes_the_rollout(stage: Stage, course: Course) -> None:
    with nothing_lost(course.url), course.watch as watch:
        course.set_version("canary")
        course("rollout", "pause", NAME)
        wait_until(
            lambda: any(pod.version == "canary" and pod.state is State.READY for pod in watch.present()),
            "a canary is ready",
            60,
        )
        wait_until(lambda: versions_now(course.url) == {"v5", "canary"}, "both versions respond", 30)
        course("rollout", "resume", NAME)
        course.status()
        stage.wait_until_settled(ROLLED_OUT)
    assert versions_now(course.url) == {"canary"}


@pytest.mark.matrix
def test_recreate_is_an_outage(stage: Stage, course: Course) -> None:
    course.patch({"strategy": {"type": "Recreate", "rollingUpdate": None}})
    with Load(course.url, clients={"new": 4}) as load:
        course.set_version("after")
        course.status()
        stage.wait_until_settled(ROLLED_OUT)
        wait_until(lambda: "after" in load.result.versions(), "the new version responds", 30)
    assert load.result.lost > 0


@pytest.mark.matrix
@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (1, 1)])
def test_pod_counts_stay_within_their_bounds(
    stage: Stage, course: Course, surge: int, unavailable: int
) -> None:
    course.patch({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
    most, fewest = 0, 99

    def counted() -> bool:
        nonlocal most, fewest
        there = [pod.state for pod in watch.present() if pod.state is not State.DRAINING]
        most, fewest = max(most, len(there)), min(fewest, there.count(State.READY))
        return watch.rolled_out(generation + 1)

    with nothing_lost(course.url), course.watch as watch:
        generation = json.loads(course("get", NAME, "-o", "json"))["metadata"]["generation"]
        course.set_version("bounded")
        wait_until(counted, "rolled out", 120)
    assert most == 3 + surge
    assert fewest >= 3 - unavailable


def test_min_ready_seconds_stops_a_version_that_becomes_unready(stage: Stage, course: Course) -> None:
    """Roll out a version that is ready for 5 s only, with minReadySeconds 10: the old version stays."""
    young = 'test -z "$(find /proc/1 -maxdepth 0 -mmin +0.08)"'
    probe = {
        "httpGet": None,
        "exec": {"command": ["sh", "-c", young]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    course.patch({"minReadySeconds": 10, "progressDeadlineSeconds": 25})
    with nothing_lost(course.url), course.watch as watch:
        course.patch_container("sours", readinessProbe=probe)
        with pytest.raises(KubectlError, match="exceeded its progress deadline"):
            course.status()
        old = [pod for pod in watch.present() if pod.version == "v5"]
        new = [pod for pod in watch.pods if pod.version == "sours"]
        assert [pod.state for pod in old] == [State.READY] * 3
        assert len(new) == 1
        assert new[0].since(State.READY), "it was ready for a while"
        course("rollout", "undo", NAME)


PROBES: dict[str, dict[str, Any]] = {
    "exec": {
        "exec": {
            "command": ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8080), 2)"]
        }
    },
    "tcp": {"tcpSocket": {"port": 8080}},
    "http": {"httpGet": {"path": "/health", "port": 8080}},
}


@pytest.mark.matrix
@pytest.mark.parametrize("form", PROBES)
def test_every_form_of_probe_works(stage: Stage, course: Course, form: str) -> None:
    probe = {"exec": None, "tcpSocket": None, "httpGet": None, "timeoutSeconds": 5, **PROBES[form]}
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    with nothing_lost(course.url):
        course.patch_container(form, **dict.fromkeys(kinds, probe))
        course.status()
        stage.wait_until_settled(ROLLED_OUT)
    assert versions_now(course.url) == {form}
