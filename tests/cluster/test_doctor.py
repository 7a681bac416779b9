"""`kubectl lossless doctor` beside a real API server, and on a pod whose readiness alone shows the drain."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from doctor import all_kinds
from doctor.helpers import dump, findings

from kubectl_lossless.kubectl import Kubectl, KubectlError, to_list
from tests.cluster.beforehand import EXAMINED

IMAGE = "localhost:5000/flask:latest"
"""Image of the manifests."""

PROGRAM = """
import gunicorn_drain
from gunicorn.app.base import BaseApplication

def serve(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]

class Program(BaseApplication):
    def load_config(self):
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self):
        return serve

options = dict(bind="0.0.0.0:8000", worker_class="gthread", threads=8, keepalive=75)
{install}
Program().run()
"""
"""A program with Gunicorn in it: neither the manifest nor PID 1 names Gunicorn or its configuration."""


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    kubectl("create", "namespace", EXAMINED)
    yield EXAMINED
    kubectl("delete", "namespace", EXAMINED, "--wait", timeout=120)


def workload(image: str, install: str) -> list[dict[str, Any]]:
    """Return a Deployment of PROGRAM, and its ConfigMap. `install`: the line that installs the drain."""
    labels = {"app": "shop"}
    program = "with-drain" if install else "without-drain"  # another name, so that the pod is replaced
    container = {
        "name": "shop",
        "image": image,
        "command": ["python", "/program/main.py"],
        "env": [{"name": "PYTHONPATH", "value": "/srv"}],  # where the image has the package
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
    }
    spec = {
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": program}}],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": program},
            "data": {"main.py": PROGRAM.format(install=install)},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "shop"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
    ]


def examine(kubectl: Kubectl, objects: list[dict[str, Any]]) -> str:
    """Deploy `objects`; return the doctor's report on the Deployment in one line."""
    kubectl("apply", "-n", EXAMINED, "-f", "-", stdin=to_list(objects))
    kubectl("rollout", "status", "deploy/shop", "-n", EXAMINED, "--timeout=120s", timeout=130)
    command = [sys.executable, "-m", "kubectl_lossless", "doctor", "deploy/shop", "-n", EXAMINED]
    done = subprocess.run(
        [*command, "--context", str(kubectl.context)], capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.stderr, done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.matrix
def test_drain_is_recognized_by_the_response_to_the_readiness_probe(
    kubectl: Kubectl, namespace: str, request: pytest.FixtureRequest
) -> None:
    image = request.config.getoption("--image") or IMAGE
    install = "gunicorn_drain.install(options, readiness='/ready')"
    with_drain, without = (examine(kubectl, workload(image, line)) for line in (install, ""))
    # What holds of any Python program of which nothing else is known.
    assert "sigterm-ignored:" not in with_drain
    assert "sigterm-ignored:" in without


CLUSTER_SCOPED = ("GatewayClass", "IngressClass", "Namespace", "PriorityClass", "StorageClass")

INVALID = ("is invalid", "cannot be handled", "unknown field")
"""Parts of the API server's errors about an object. Others are about types that it does not serve."""

DEPENDS = re.compile("envsubst|^stopSignal|two IP families|^nodePort of a low number")
"""Names of manifests whose text is not the final one, or whose refusal depends on the cluster.

A dry run does not compare a nodePort with the cluster's range.
"""


def refused_by_doctor(name: str) -> bool:
    said = (f"{each.what} {each.why}" for each in findings(dump(all_kinds.manifest(name))))
    return any("API server refuses" in each for each in said)


def errors_of_server(kubectl: Kubectl, name: str) -> str:
    """Return what the API server has against a manifest of the doctor's tests. It is not applied."""
    objects = copy.deepcopy(all_kinds.manifest(name))  # some manifests share their objects
    for each in objects:
        if each.get("kind") not in CLUSTER_SCOPED and each.get("metadata"):
            each["metadata"]["namespace"] = EXAMINED
    try:
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=dump(objects), timeout=60)
    except KubectlError as error:
        return error.said
    return ""


@pytest.mark.matrix
@pytest.mark.timeout(1200)
def test_refusals_are_those_of_the_api_server(kubectl: Kubectl, namespace: str) -> None:
    names = [name for name in all_kinds.ALL if not DEPENDS.search(name)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda name: errors_of_server(kubectl, name), names)
        errors = dict(zip(names, found, strict=True))
    invalid = {name for name in names if any(part in errors[name] for part in INVALID)}
    refused = {name for name in names if refused_by_doctor(name)}
    missed = [f"{name}: {errors[name]}" for name in sorted(invalid - refused)]
    assert not missed, "\n".join(missed)
    assert not [name for name in sorted(refused) if not errors[name]]
    assert len(invalid) > 50
