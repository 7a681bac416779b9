"""Beyond the course: pods that terminate for other reasons than an update, and disturbed updates."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_lossless.kubectl import KubectlError
from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.watch import Watch
from tests.cluster.conftest import NAME, ROLLED_OUT, Deploy, nothing_lost
from tests.waiting import wait_until
from tools.course.load import LONG_MIX, Load
from tools.course.stage import Rung, Stage


def ready(watch: Watch) -> list[str]:
    return sorted(pod.name for pod in watch.present() if pod.state is State.READY)


def nobody_leaves(watch: Watch) -> bool:
    return all(pod.state is State.READY for pod in watch.present())


def is_whole(watch: Watch) -> bool:
    return len(ready(watch)) >= 3 and nobody_leaves(watch)


@pytest.fixture
def url(deployed: Deploy) -> str:
    return deployed(Rung("v7"))


@pytest.fixture
def watch(stage: Stage, url: str) -> Iterator[Watch]:
    with Watch(stage.kubectl, stage.namespace, stage.deployment) as watch:
        yield watch


@pytest.mark.disruptive
def test_drain_of_a_node_loses_nothing(stage: Stage, watch: Watch, url: str) -> None:
    kubectl = stage.kubectl
    nodes = [node["metadata"]["name"] for node in kubectl.objects("get", "nodes")]
    if len(nodes) < 2:
        pytest.skip("one node cannot be drained of pods that have nowhere else to go")
    node = nodes[-1]
    # Through another node: a drained node may stop routing requests.
    try:
        with nothing_lost(url):
            kubectl(
                "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s", timeout=160
            )
            wait_until(lambda: is_whole(watch), "three pods elsewhere", 60)
    finally:
        kubectl("uncordon", node)


@pytest.mark.disruptive
def test_eviction_beyond_the_budget_is_refused_and_within_the_budget_loses_nothing(
    stage: Stage, watch: Watch, url: str
) -> None:
    def evict(pod: str) -> bool:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": stage.namespace},
        }
        path = f"/api/v1/namespaces/{stage.namespace}/pods/{pod}/eviction"
        try:
            stage.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
        except KubectlError as error:
            assert "disruption budget" in str(error)  # noqa: PT017 - either outcome is right
            return False
        return True

    first, second, _ = ready(watch)[:3]
    with nothing_lost(url):
        assert evict(first)
        assert not evict(second)
        wait_until(lambda: first not in ready(watch) and is_whole(watch), "a new pod in its place", 120)


@pytest.mark.matrix
def test_scaling_in_loses_nothing(stage: Stage, watch: Watch, url: str) -> None:
    stage.kubectl("delete", "hpa", "--all", "-n", stage.namespace)
    with nothing_lost(url):
        stage.kubectl("scale", NAME, "--replicas=6", "-n", stage.namespace)
        wait_until(lambda: len(ready(watch)) == 6, "six pods", 90)
        stage.kubectl("scale", NAME, "--replicas=2", "-n", stage.namespace)
        wait_until(lambda: len(watch.present()) == 2, "two pods", 120)


@pytest.mark.matrix
def test_deletion_of_single_pods_loses_nothing(stage: Stage, watch: Watch, url: str) -> None:
    with nothing_lost(url):
        for _ in range(3):
            stage.kubectl("delete", "pod", ready(watch)[0], "-n", stage.namespace, "--wait", timeout=120)
            wait_until(lambda: is_whole(watch), "a new pod is ready", 90)


def test_undo_of_an_unfinished_update_loses_nothing(stage: Stage, watch: Watch, url: str) -> None:
    with nothing_lost(url) as load:
        stage.apply(Rung("v7", version="regretted"))
        wait_until(lambda: "regretted" in load.result.versions(), "the new version responds", 90)
        stage.kubectl("rollout", "undo", NAME, "-n", stage.namespace)
        stage.wait_until_settled(ROLLED_OUT)


@pytest.mark.matrix
def test_autoscaling_loses_nothing(stage: Stage, watch: Watch, url: str) -> None:
    if not stage.kubectl("get", "apiservice", "v1beta1.metrics.k8s.io", "--ignore-not-found"):
        pytest.skip("the cluster has no metrics-server")
    # Percent of the CPU request, 250m. Clients that are nearly idle take 2 % of a pod, the crowd 20 to 40 %.
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 10}}
    spec = {
        "minReplicas": 2,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    patch = json.dumps({"spec": spec})
    stage.kubectl("patch", "hpa", "flask-hpa", "-n", stage.namespace, "--type=merge", "-p", patch)
    with nothing_lost(url, {"idle": 20}):  # hardly any load, so that the autoscaler can remove the pods again
        with Load(url, clients={"new": 80}) as more:
            wait_until(lambda: len(ready(watch)) > 3, "the autoscaler adds pods", 180)
        assert more.result.lost == 0, more.result.summary()
        wait_until(
            lambda: len(watch.present()) <= 3 and nobody_leaves(watch), "it takes them away again", 300
        )


def kube_proxies(nodes: list[str]) -> list[int]:
    """Return the process IDs of these nodes' kube-proxies that run on this machine."""
    found = []
    own = {f"--hostname-override={node}".encode() for node in nodes}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            program, *arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if program.endswith(b"/kube-proxy") and own & set(arguments):
            found.append(int(entry.name))
    return found


@pytest.mark.disruptive
def test_update_with_a_hanging_kube_proxy_loses_nothing(stage: Stage, watch: Watch, url: str) -> None:
    proxies = kube_proxies([node["metadata"]["name"] for node in stage.kubectl.objects("get", "nodes")])
    if not proxies:
        pytest.skip("the nodes' kube-proxy does not run on this machine")
    with nothing_lost(url):
        stage.apply(Rung("v7", version="v7-new"))
        wait_until(lambda: any(pod.state is State.DRAINING for pod in watch.present()), "a pod leaves", 90)
        os.kill(proxies[0], signal.SIGSTOP)
        try:
            time.sleep(3)  # the duration of the hang, not a wait for a condition
        finally:
            os.kill(proxies[0], signal.SIGCONT)
        stage.wait_until_settled(ROLLED_OUT)


@pytest.mark.matrix
def test_undo_of_an_update_loses_no_long_request(stage: Stage, watch: Watch, url: str) -> None:
    with Load(url, clients=LONG_MIX) as load:
        stage.apply(Rung("v7", version="v7-new"))
        stage.wait_until_settled(ROLLED_OUT)
        stage.kubectl("rollout", "undo", NAME, "-n", stage.namespace)
        stage.wait_until_settled(ROLLED_OUT)
    assert load.result.lost == 0, load.result.summary()
