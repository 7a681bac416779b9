"""The images of the manifests: the same in all of them, and replaced by one command."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from .manifests import ROOT, RUNGS, containers, objects, parse

DEFAULT = {"flask": "localhost:5000/flask:latest", "envoy": "localhost:5000/flask-envoy:latest"}
OTHER = {"flask": "registry.example/team/flask:1", "envoy": "registry.example/team/proxy@sha256:" + 64 * "0"}
MAKE = shutil.which("make") or "make"


def images(documents: list[dict[str, Any]]) -> dict[str, str]:
    """Return the image of each container, by the container's name."""
    (pod,) = (each["spec"]["template"]["spec"] for each in documents if each["kind"] == "Deployment")
    return {each["name"]: each["image"] for each in containers(pod)}


def manifest(rung: str) -> subprocess.CompletedProcess[str]:
    images = [f"IMAGE={OTHER['flask']}", f"ENVOY_IMAGE={OTHER['envoy']}"]
    command = [MAKE, "-s", "manifest", f"RUNG={rung}", *images]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("rung", ["all", *RUNGS])
def test_images_are_the_defaults(rung: str) -> None:
    found = images(objects(f"flask-deployment-{rung}"))
    assert found == {name: DEFAULT[name] for name in found}
    assert ("envoy" in found) == rung.startswith("v6")


@pytest.mark.parametrize("rung", ["all", *RUNGS])
def test_make_replaces_the_images(rung: str) -> None:
    made = manifest(rung)
    assert made.returncode == 0, made.stderr
    documents = parse(made.stdout)
    found = images(documents)
    assert found == {name: OTHER[name] for name in found}
    for each in documents:
        if each["kind"] == "Deployment":
            for one in containers(each["spec"]["template"]["spec"]):
                one["image"] = DEFAULT[one["name"]]
    assert documents == objects(f"flask-deployment-{rung}")


def test_make_reports_an_unknown_rung_with_the_known_rungs() -> None:
    made = manifest("v99")
    assert made.returncode != 0
    assert made.stdout == ""
    assert "RUNG is 'v99'" in made.stderr
    assert all(rung in made.stderr for rung in RUNGS)
