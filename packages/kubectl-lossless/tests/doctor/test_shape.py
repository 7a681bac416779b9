"""The types of the fields that are read."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.helpers import base, container
from kubectl_lossless.doctor.finding import shown
from kubectl_lossless.doctor.shape import is_foreign, problems, quantity


def test_whole_manifest_has_no_problem() -> None:
    for each in base():
        assert problems(each["kind"], each["apiVersion"].rpartition("/")[0], each) == []


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("command", ["a", 3], "command[1] is 3; allowed is text: put it in quotes"),
        ("ports", {"a": 1}, "ports is a mapping; allowed is a list"),
        ("ports", [{"name": "x"}], "ports[0].containerPort is missing"),
        ("ports", [{"containerPort": 70000}], "is 70000; allowed is a whole number from 1 to 65535"),
        ("env", [{"value": "x"}], "env[0].name is missing"),
        ("readinessProbe", {"periodSeconds": -1}, "periodSeconds is -1; allowed is a whole number from 0"),
        ("readinessProbe", {"periodSeconds": "${P}"}, "(does it need envsubst first?)"),
        ("livenessProbe", {"httpGet": {"port": "{{ .x }}"}}, "(does it need Helm first?)"),
        ("image", "{{ .Values.image }}", "allowed is an image (does it need Helm first?)"),
        ("name", "{{ .Chart.Name }}", "allowed is a name (does it need Helm first?)"),
        (
            "lifecycle",
            {"preStop": {"sleep": {"seconds": True}}},
            "seconds is true; allowed is a whole number",
        ),
        ("resources", {"limits": {"cpu": "lots"}}, "cpu is 'lots'; allowed is a quantity"),
    ],
)
def test_wrong_type_is_named_with_path_value_and_allowed_types(field: str, value: Any, says: str) -> None:
    objects = base()
    container(objects)[field] = value
    ((path, sentence),) = problems("Deployment", "apps", objects[0])
    assert shown(path).startswith(f"spec.template.spec.containers[0].{field}")
    assert says in sentence


def test_field_that_is_not_read_may_hold_anything() -> None:
    objects = base()
    container(objects)["tty"] = ["what?"]
    assert problems("Deployment", "apps", objects[0]) == []


def test_object_of_another_group_is_foreign() -> None:
    assert is_foreign("Service", "serving.knative.dev")
    assert is_foreign("Gateway", "networking.istio.io")
    assert not is_foreign("Service", "")
    assert not is_foreign("Ingress", "extensions")
    assert problems("Service", "serving.knative.dev", {"spec": {"ports": 3}}) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", 0.5),
        (".5", 0.5),
        (".", None),
        ("2", 2),
        (0.5, 0.5),
        ("1Ki", 1024),
        ("1e3", 1000),
        ("x", None),
        ("", None),
    ],
)
def test_quantity_is_a_number(text: object, number: float | None) -> None:
    assert quantity(text) == number
