"""Strict validation of every object against Kubernetes' own schemas: an unknown field is an error.

Not covered: the API server's checks beyond its schemas (names, ranges, fields that exclude each other). The
cluster tests apply every file. HTTPRoute is a custom resource, for which kubernetes-validate has no schema;
the fields of httproute.yaml are checked against the part of the Gateway API's schema written out below.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from .manifests import K8S, RUNGS, Object, one, parse

KUBERNETES = "1.35"
# kubernetes-validate reads 2 MB of JSON for each object; here they are read once. Nothing changes them.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)

FILES = sorted(K8S.glob("*.yaml"))
OBJECTS = [
    pytest.param(each, id=f"{path.stem}-{each['kind']}") for path in FILES for each in parse(path.read_text())
]


def _fields(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _some(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
DURATION = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
HTTP_ROUTE = _fields(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "gateway.networking.k8s.io/v1"},
    kind={"const": "HTTPRoute"},
    metadata=_fields(["name", "namespace"], name=NAME, namespace=NAME, labels={"type": "object"}),
    spec=_fields(
        ["parentRefs", "rules"],
        parentRefs=_some(_fields(["name"], name=NAME, namespace=NAME)),
        rules=_some(
            _fields(
                ["backendRefs"],
                matches=_some(
                    _fields(
                        ["path"],
                        path=_fields(
                            ["type", "value"],
                            type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                            value={"type": "string", "pattern": "^/"},
                        ),
                    )
                ),
                timeouts=_fields(["request"], request=DURATION),
                backendRefs=_some(_fields(["name", "port"], name=NAME, port=PORT)),
            )
        ),
    ),
)


def test_files_are_the_manifests_of_the_course() -> None:
    rungs = [f"flask-deployment-{rung}" for rung in ("all", *RUNGS)]
    assert {path.stem for path in FILES} == {"namespace", "service", "ingress", "httproute", *rungs}


@pytest.mark.parametrize("document", [each for each in OBJECTS if "HTTPRoute" not in str(each.id)])
def test_object_is_valid(document: Object) -> None:
    assert kubernetes_validate.validate(document, KUBERNETES, strict=True) == KUBERNETES


def test_http_route_is_valid() -> None:
    jsonschema.validate(one("httproute", "HTTPRoute"), HTTP_ROUTE)
