"""`kubectl lossless doctor` on a pod in which only the response to the readiness probe shows the drain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kubectl_lossless.kubectl import Kubectl, to_list

NAMESPACE = "drain-test"
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
    kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait", timeout=120)


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
    kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=to_list(objects))
    kubectl("rollout", "status", "deploy/shop", "-n", NAMESPACE, "--timeout=120s", timeout=130)
    command = [sys.executable, "-m", "kubectl_lossless", "doctor", "deploy/shop", "-n", NAMESPACE]
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
