"""The table of Kubernetes' fields, and where unknown ones are found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doctor.fields_of_kubernetes import of_kubernetes
from doctor.helpers import base, container, dump, findings, mended
from doctor.kinds import AUTOSCALER, added, ingress, kind
from kubectl_lossless.doctor import fields


def test_table_is_that_of_kubernetes_schemas() -> None:
    assert json.loads(fields.TABLE.read_text()) == of_kubernetes()


@pytest.mark.parametrize(
    ("type_name", "value", "may"),
    [
        ("integer", 3, True),
        ("integer", True, False),
        ("boolean", True, True),
        ("boolean", 1, False),
        ("string", 3, False),
        ("[]string", ["a"], True),
        ("[]string", [1], False),
        ("[]Container", [{}], True),
        ("Probe", {}, True),
        ("Probe", [], False),
        ("{}", {"a": 1}, True),
        ("{}string", {"a": "b"}, True),
        ("{}string", {"a": True}, False),
        ("{}string", [], False),
        ("", 3, True),
    ],
)
def test_value_is_compared_with_the_type_of_a_field(type_name: str, value: object, may: bool) -> None:
    assert fields.may_hold(type_name, value) is may


def at(*path: str | int, **more: Any) -> Any:
    """Return a change of the objects that adds fields to the mapping at a path."""

    def change(objects: list[dict[str, Any]]) -> None:
        target: Any = objects
        for key in path:
            target = target.setdefault(key, {}) if isinstance(key, str) else target[key]
        target.update(more)

    return change


POD = (0, "spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (at(0, replicas=3), "the object has no field replicas, which is one of a Deployment's spec"),
        (at(0, **{"x-common": {}}), "the object has no field x-common"),
        (at(0, "metadata", label={"a": "b"}), "metadata has no field label; is labels meant?"),
        (at(0, "spec", replica=3), "a Deployment's spec has no field replica"),
        (at(0, "spec", "template", nodeSelector={}), "the pod template has no field nodeSelector, which is"),
        (at(*POD, volume=[]), "the pod's spec has no field volume; is volumes meant?"),
        (at(*POD, "securityContext", runAsUsr=1), "securityContext has no field runAsUsr; is runAsUser"),
        (at(*CONTAINER, readinesProbe={}), "a container has no field readinesProbe"),
        (at(*CONTAINER, port=8000), "a container has no field port, which is one of httpGet or a port of a"),
        (at(*CONTAINER, environment=[]), "a container has no field environment"),
        (at(*CONTAINER, restart="always"), "a container has no field restart"),
        (at(*CONTAINER, "readinessProbe", "httpGet", url="/"), "httpGet has no field url"),
        (at(*CONTAINER, "resources", limit={"cpu": 1}), "resources has no field limit; is limits meant?"),
        (
            at(*CONTAINER, "ports", 0, targetPort=80),
            "ports[0] has no field targetPort, which is one of a port",
        ),
        (at(*CONTAINER, "lifecycle", "preStop", "exec", args=[]), "exec has no field args"),
        (at(1, "spec", port=80), "a Service's spec has no field port"),
        (at(1, "spec", "ports", 0, containerPort=8000), "a port of a Service has no field containerPort"),
        (at(2, "spec", maxUnavaliable=1), "spec has no field maxUnavaliable"),
        (at(3, "spec", behaviour={}), "spec has no field behaviour; is behavior meant?"),
        (at(3, "spec", targetCPUUtilizationPercentage=80), "no field targetCPUUtilizationPercentage"),
        (at(4, "spec", "rules", 0, "http", "paths", 0, pathtype="Prefix"), "no field pathtype"),
    ],
)
def test_unknown_field_is_found_at_every_level(change: Any, what: str) -> None:
    objects = base(
        added("autoscaling/v2", "HorizontalPodAutoscaler", "web", AUTOSCALER),
        ingress("web", {"number": 80}),
        change,
    )
    found = [each for each in findings(dump(objects)) if each.check == "refused"]
    assert [each.what for each in found if what in each.what], [each.what for each in found]
    if found[0].changes:
        mended(objects, found)
        assert not [each for each in findings(dump(objects)) if each.check == "refused"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            at(*CONTAINER, securityContext={"runAsUser": "1000"}),
            "securityContext.runAsUser is '1000'; allowed is a whole number",
        ),
        (at(*CONTAINER, tty="true"), "containers[0].tty is 'true'; allowed is true or false"),
        (
            at(*CONTAINER, securityContext={"capabilities": {"drop": "ALL"}}),
            "capabilities.drop is 'ALL'; allowed is a list",
        ),
        (at(*POD, nodeSelector={"gpu": True}), "nodeSelector.gpu is true; allowed is text: put it in quotes"),
        (at(*POD, tolerations={"key": "a"}), "tolerations is a mapping; allowed is a list"),
        (at(*POD, imagePullSecrets=["x"]), "imagePullSecrets[0] is 'x'; allowed is a mapping"),
        (at(*POD, priority="high"), "priority is 'high'; allowed is a whole number"),
        (at(0, "spec", revisionHistoryLimit=True), "revisionHistoryLimit is true; allowed is a whole number"),
        (at(1, "spec", sessionAffinity=1), "spec.sessionAffinity is 1; allowed is text"),
    ],
)
def test_value_of_a_wrong_type_is_found(change: Any, what: str) -> None:
    objects = base(change)
    (found,) = [each for each in findings(dump(objects)) if each.check == "refused"]
    assert what in found.what
    mended(objects, [found])
    assert bool(found.changes) is not bool([e for e in findings(dump(objects)) if e.check == "refused"])


def test_number_that_becomes_text_is_as_written() -> None:
    (found,) = [
        each
        for each in findings(
            dump(base()).replace("      containers:", "      nodeSelector: {v: 1.10}\n      containers:")
        )
        if each.check == "refused"
    ]
    assert [change.value for change in found.changes] == ["1.10"]


@pytest.mark.parametrize("value", ["${UID}", "{{ uid }}", "<uid>"])
def test_placeholder_is_of_any_type(value: str) -> None:
    objects = base(at(*CONTAINER, securityContext={"runAsUser": value}))
    assert not [each for each in findings(dump(objects)) if each.check == "refused"]


def test_unknown_field_of_the_pods_of_a_rollout_is_found() -> None:
    objects = base(kind("Rollout", "strategy"), at(0, "spec", strategy={"canary": {"steps": []}}))
    objects[0]["apiVersion"] = "argoproj.io/v1alpha1"
    container(objects)["replicas"] = 3
    (found,) = [each.what for each in findings(dump(objects)) if "no field" in each.what]
    assert "a container has no field replicas, which is one of a Deployment's spec or" in found


def test_fields_that_the_api_server_writes_are_known() -> None:
    objects = base(
        at(0, status={"replicas": 3, "of": {"a newer": "version"}}),
        at(0, "metadata", managedFields=[{"x": 1}], creationTimestamp=None, uid="1", generation=2),
    )
    assert not [each for each in findings(dump(objects)) if each.check == "refused"]
