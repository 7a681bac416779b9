"""`kubectl lossless measure` on workloads that are not ours: the true causes, and nothing else changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubectl_lossless.kubectl import Kubectl, to_list
from tests.cluster.workloads import WORKLOADS, Workload
from tools.course.stage import Rung, Stage

NAMESPACE = "lossless-test"
READY = "180s"
RIGHT = 0.9
"""The share of the losses whose true cause the verdict must name."""

FAST = {"gunicorn", "no-probe"}
"""The workloads of .ci/run."""


@dataclass
class Shop:
    """The namespace of somebody else's workloads."""

    kubectl: Kubectl
    folder: Path

    def deploy(self, workload: Workload) -> str:
        """Deploy a workload from an empty place; return the URL at which it responds."""
        self.kubectl(
            *("delete", "deployment,statefulset,service", "--all", "-n", NAMESPACE),
            *("--cascade=foreground", "--wait"),
            timeout=180,
        )
        self.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=to_list(workload.objects()))
        self.kubectl(
            "rollout", "status", workload.reference, "-n", NAMESPACE, f"--timeout={READY}", timeout=190
        )
        service = self.kubectl.objects("get", "service", "web", "-n", NAMESPACE)[0]
        nodes = self.kubectl.objects("get", "nodes", "-l", "!node-role.kubernetes.io/control-plane")
        address = next(a["address"] for a in nodes[0]["status"]["addresses"] if a["type"] == "InternalIP")
        return f"http://{address}:{service['spec']['ports'][0]['nodePort']}"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a measurement."""
        return [
            *(sys.executable, "-m", "kubectl_lossless", "measure", *arguments),
            *("-n", NAMESPACE, "--context", str(self.kubectl.context)),
            *("--report", str(self.folder), "-o", "json"),
        ]

    def measure(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        """Measure; return the exit status, the result, and what was said."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            env={**os.environ, **environment},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[None]:
    """A namespace of its own, deleted at the end."""
    kubectl("create", "namespace", NAMESPACE)
    try:
        yield
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def shop(kubectl: Kubectl, namespace: None, tmp_path: Path) -> Shop:
    return Shop(kubectl, tmp_path)


def objects(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """Return every object of the cluster that a person may have written, without what the cluster writes
    into it."""
    said = kubectl("api-resources", "--verbs=list", "-o", "name", timeout=60).split()
    own = (
        "events",
        "leases",
        "pods",
        "replicasets",
        "controllerrevisions",
        "endpoints",
        "nodes",
        "componentstatuses",
    )
    kinds = [kind for kind in said if not kind.startswith(own) and "metrics.k8s.io" not in kind]
    found: dict[str, dict[str, Any]] = {}
    for item in kubectl.objects("get", ",".join(kinds), "-A"):
        metadata = item["metadata"]
        for name in ("resourceVersion", "managedFields", "generation"):
            metadata.pop(name, None)
        item.pop("status", None)
        found[f"{item['kind']} {metadata.get('namespace')}/{metadata['name']}"] = item
    return found


def assert_causes(found: dict[str, Any], workload: Workload) -> None:
    """At least nine of ten losses have a true cause."""
    right = sum(group["count"] for group in found["groups"] if group["cause"] in workload.causes)
    assert right >= RIGHT * found["lost"], json.dumps(found, indent=1)
    if workload.some:
        assert found["lost"] > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.matrix) for name in WORKLOADS]
)
def test_verdict_names_the_true_cause_and_nothing_else_is_changed(shop: Shop, name: str) -> None:
    workload = WORKLOADS[name]
    url = shop.deploy(workload)
    before = objects(shop.kubectl)
    more = ["--slow-url", f"{url}/slow", "--slow-takes", "3"] if workload.slow else []
    status, found, said = shop.measure(workload.reference, "--url", url, "--yes", "--rps", "100", *more)
    assert status == (1 if found["lost"] else 0), said
    assert_causes(found, workload)
    after = objects(shop.kubectl)
    key = f"{workload.objects()[0]['kind']} {NAMESPACE}/web"
    for each in (before, after):
        each[key]["metadata"]["annotations"].pop("deployment.kubernetes.io/revision", None)
    assert after[key]["spec"]["template"]["metadata"].pop("annotations")["kubectl.kubernetes.io/restartedAt"]
    assert after == before


def test_rollout_that_loses_nothing_blames_nothing(shop: Shop, stage: Stage) -> None:
    stage.apply(Rung("v5", min_ready_seconds=0), afresh=True)
    stage.wait_until_settled(180)
    url = stage.node_urls()[0]
    status, found, said = shop.measure(
        *("deploy/flask-deployment", "-n", stage.namespace, "--url", f"{url}/api", "--yes", "--rps", "100")
    )
    assert (status, found["lost"], found["groups"]) == (0, 0, []), said
    assert found["held"]
    assert "would have shown" in found["notes"][0]
