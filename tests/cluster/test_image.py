"""An image without a registry, and the sidecar's image on both IP families."""

from __future__ import annotations

import os
import shlex
import subprocess
import time

import pytest

from tests.cluster.conftest import K8S, NAMESPACE, Deploy, reachable_url
from tools.course.stage import Rung, Stage

LOADER = os.environ.get("IMAGE_LOADER")
"""Command that hands a local docker image to the nodes, such as `kind load docker-image`."""


@pytest.mark.skipif(not LOADER, reason="IMAGE_LOADER does not say how to hand an image to the nodes")
def test_loaded_image_is_deployed_without_a_registry(stage: Stage, deployed: Deploy) -> None:
    """Deploy as README.md shows with kind: the same manifest, with a tag that is not latest."""
    deployed(Rung("v5"))
    stage.kubectl("delete", "deployment", "--all", "-n", NAMESPACE, "--cascade=foreground", timeout=180)
    image = f"flask-loaded:{time.time_ns()}"  # in no registry
    # With a separate ID: a kubelet that pulled this ID under another name pulls it again, to check access.
    derived = f"FROM localhost:5000/flask:latest\nLABEL loaded={image}\n"
    subprocess.run(
        ["docker", "build", "-q", "-t", image, "-"], input=derived, text=True, check=True, timeout=120
    )
    try:
        subprocess.run([*shlex.split(LOADER or ""), image], cwd=K8S.parent, check=True, timeout=300)
        make = ["make", "-s", "deploy", f"CONTEXT={stage.kubectl.context}", "RUNG=v5", f"IMAGE={image}"]
        done = subprocess.run(make, cwd=K8S.parent, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        subprocess.run(["docker", "image", "rm", image], check=False, capture_output=True)
    pods = stage.kubectl.objects("get", "pods", "-n", NAMESPACE, "-l", "app=flask")
    running = [each for pod in pods for each in pod["spec"]["containers"]]
    assert {(each["image"], each["imagePullPolicy"]) for each in running} == {(image, "IfNotPresent")}
    names = {pod["metadata"]["name"] for pod in pods}
    events = stage.kubectl.objects("get", "events", "-n", NAMESPACE)
    reasons = {each["reason"] for each in events if each["involvedObject"].get("name") in names}
    assert "Pulled" in reasons  # "already present on machine"
    assert "Pulling" not in reasons
    assert reachable_url(stage)


CONNECTS = "import socket, sys; socket.create_connection((sys.argv[1], 8000), 2)"


def test_sidecar_accepts_connections_of_both_ip_families(stage: Stage, deployed: Deploy) -> None:
    deployed(Rung("v6"))
    pod = stage.kubectl.objects("get", "pods", "-n", NAMESPACE, "-l", "app=flask")[0]["metadata"]["name"]
    for address in ("127.0.0.1", "::1"):
        stage.kubectl("exec", pod, "-n", NAMESPACE, "-c", "flask", "--", "python", "-c", CONNECTS, address)
