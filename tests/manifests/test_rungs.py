"""Differences between rungs: each rung changes one idea only, so that `diff` of two rungs shows it alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import pytest

from .manifests import RECOMMENDED, RUNGS, SERVICE_TARGET, container, deployment, objects, text

POD = "spec.template.spec"
FLASK = f"{POD}.containers.flask"
NAMING = {"metadata.annotations.kubernetes.io/change-cause", f"{FLASK}.env.APP_VERSION"}

# (rung, previous rung): differences in addition to the name.
# v7 is based on v5: a sidecar is no part of production as such.
IDEAS = {
    ("v2", "v1"): {f"{FLASK}.startupProbe", f"{FLASK}.livenessProbe", f"{FLASK}.readinessProbe"},
    ("v3", "v2"): {f"{FLASK}.lifecycle", f"{POD}.terminationGracePeriodSeconds"},
    ("v4", "v3"): {
        "spec.minReadySeconds",
        "spec.progressDeadlineSeconds",
        "spec.revisionHistoryLimit",
        "spec.strategy",
    },
    ("v5", "v4"): {f"{FLASK}.lifecycle", f"{POD}.terminationGracePeriodSeconds", f"{FLASK}.env.DRAIN"},
    ("v6", "v5"): {f"{POD}.initContainers.envoy", f"{FLASK}.ports"},
    ("v6-plain", "v6"): {f"{POD}.initContainers.envoy", f"{POD}.containers.envoy"},
    ("v7", "v5"): {
        "metadata.annotations.lossless.dev/ignore",
        f"{POD}.terminationGracePeriodSeconds",
        f"{POD}.automountServiceAccountToken",
        f"{POD}.securityContext",
        f"{POD}.topologySpreadConstraints",
        f"{POD}.volumes",
        f"{FLASK}.env.GRACEFUL_TIMEOUT",
        f"{FLASK}.securityContext",
        f"{FLASK}.resources",
        f"{FLASK}.volumeMounts",
    },
}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value with its path, in which the items of a list have their name or their index."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            name = item.get("name", index) if isinstance(item, dict) else index
            yield from leaves(item, f"{path}.{name}")
    else:
        yield path, value


def difference(one: Any, other: Any) -> set[str]:
    """Return the paths whose value is in one of the two only."""
    return {path for path, _ in set(leaves(one)) ^ set(leaves(other))}


def within(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")


def test_every_rung_is_compared() -> None:
    assert {rung for rung, _ in IDEAS} == set(RUNGS) - {"v1"}


@pytest.mark.parametrize(("rung", "before"), IDEAS)
def test_rung_changes_its_one_idea(rung: str, before: str) -> None:
    allowed = IDEAS[rung, before] | NAMING
    changed = difference(deployment(before), deployment(rung))
    assert {path for path in changed if not any(within(path, prefix) for prefix in allowed)} == set()
    assert {prefix for prefix in allowed if not any(within(path, prefix) for path in changed)} == set()


@pytest.mark.parametrize(("rung", "before"), [pair for pair in IDEAS if pair[0] != "v6-plain"])
def test_diff_shows_no_moved_line(rung: str, before: str) -> None:
    diff = list(difflib.ndiff(text(before).splitlines(), text(rung).splitlines()))
    gone, new = ({line[2:].strip() for line in diff if line.startswith(sign)} for sign in "-+")
    # in v6 the Service's port does move, to Envoy
    assert gone & new == ({f"- name: {SERVICE_TARGET}"} if rung == "v6" else set())


def test_plain_sidecar_differs_in_its_place_only() -> None:
    native, plain = container("v6", "envoy"), container("v6-plain", "envoy")
    assert native == {**plain, "restartPolicy": "Always"}


@pytest.mark.parametrize("rung", RUNGS)
def test_rung_names_itself(rung: str) -> None:
    manifest = deployment(rung)
    assert text(rung).startswith(f"# {rung}: ")
    assert manifest["metadata"]["annotations"]["kubernetes.io/change-cause"].startswith(f"{rung}: ")
    assert {"name": "APP_VERSION", "value": rung} in container(rung)["env"]
    assert manifest["metadata"]["name"] == "flask-deployment"
    assert manifest["spec"]["replicas"] == 3


@pytest.mark.parametrize("rung", RUNGS)
def test_drain_is_on_from_v5(rung: str) -> None:
    drain = {each["name"]: each["value"] for each in container(rung)["env"]}["DRAIN"]
    assert drain == ("off" if rung < "v5" else "on")


def test_only_v7_brings_more_than_a_deployment() -> None:
    kinds = {rung: [each["kind"] for each in objects(f"flask-deployment-{rung}")] for rung in RUNGS}
    assert kinds.pop("v7") == [
        "Namespace",
        "Deployment",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
    ]
    assert set(map(tuple, kinds.values())) == {("Deployment",)}


def test_single_file_has_namespace_service_and_the_recommended_rung() -> None:
    parts = ("namespace", "service", f"flask-deployment-{RECOMMENDED}")
    assert objects("flask-deployment-all") == [each for part in parts for each in objects(part)]
