"""References to workloads, and the facts of their manifests."""

from __future__ import annotations

from typing import Any

import pytest

from kubectl_lossless.measure.watch import selector_of
from kubectl_lossless.measure.workload import Facts, Reference, RolloutError, pre_stop_of, refuse_unrollable


def workload(kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "proxy"}, {"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]
    return {"kind": kind, "spec": {"template": {"spec": {"containers": containers}}, **spec}}


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("deploy/web", "deployment", "web"),
        ("deployment.apps/web", "deployment", "web"),
        ("web", "deployment", "web"),
        ("sts/db-0", "statefulset", "db-0"),
        ("StatefulSet/db", "statefulset", "db"),
        ("rollout/web", "rollouts.argoproj.io", "web"),
    ],
)
def test_reference_is_read(text: str, kind: str, name: str) -> None:
    assert Reference.of(text) == Reference(kind, name)


@pytest.mark.parametrize("text", ["machine/x", "deploy/", "deploy/A", "deploy/a b", ""])
def test_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed are deployment/NAME|is not a name"):
        Reference.of(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ksvc/x", "Knative moves requests between revisions"),
        ("daemonset/x", "replaced node by node"),
        ("dc/x", "knows no DeploymentConfig"),
        ("svc/x", "name the workload behind it"),
    ],
)
def test_known_kind_that_cannot_be_measured_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Reference.of(text)


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        (None, 0.0),
        ({"sleep": {"seconds": 7}}, 7.0),
        ({"exec": {"command": ["sleep", "5"]}}, 5.0),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 2.5; nginx -s quit"]}}, 2.5),
        ({"exec": {"command": ["sh", "-c", "sleep 1m"]}}, 60.0),
        ({"exec": {"command": ["nginx", "-s", "quit"]}}, None),
        ({"httpGet": {"path": "/stop", "port": 80}}, None),
    ],
)
def test_duration_of_a_prestop_hook_is_read(hook: dict[str, Any] | None, seconds: float | None) -> None:
    assert pre_stop_of({"lifecycle": {"preStop": hook}} if hook else {}) == seconds


def test_facts_are_those_of_the_container_with_ports() -> None:
    found = Facts.of(workload(replicas=3))
    assert (found.container, found.readiness, found.pre_stop, found.grace) == ("web", False, 0.0, 30.0)
    assert (found.replicas, found.unavailable) == (3, 0)  # 25 % of 3, rounded down
    assert Facts.of(workload(replicas=4)).unavailable == 1
    assert Facts.of(workload(strategy={"type": "Recreate"})).unavailable == 1


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (workload(replicas=0), "0 replicas"),
        (workload(paused=True), "is paused"),
        (workload("StatefulSet", updateStrategy={"type": "OnDelete"}), "OnDelete"),
    ],
)
def test_workload_that_no_rollout_replaces_is_refused(found: dict[str, Any], says: str) -> None:
    kind = str(found["kind"]).lower()
    with pytest.raises(RolloutError, match=says):
        refuse_unrollable(Reference(kind, "web"), found)


def test_selector_has_labels_and_expressions() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    found = workload(selector={"matchLabels": {"app": "web"}, "matchExpressions": expressions})
    assert selector_of(found) == "app=web,tier in (a,b),!old"
