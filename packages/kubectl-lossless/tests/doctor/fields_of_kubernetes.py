"""The fields of Kubernetes' objects, from the schemas of kubernetes-validate.

`python -m doctor.fields_of_kubernetes`, in this package's tests, writes the doctor's table of them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate

from kubectl_lossless.doctor import fields

KINDS = {
    "apps/v1": ("Deployment", "StatefulSet", "DaemonSet"),
    "v1": ("Service",),
    "policy/v1": ("PodDisruptionBudget",),
    "autoscaling/v1": ("HorizontalPodAutoscaler",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "networking.k8s.io/v1": ("Ingress",),
}
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
NOT_WRITTEN = ("status", "managedFields")
"""Fields that the API server writes, whose own fields the table leaves out."""

Types = dict[str, dict[str, str]]


def definitions(version: str) -> dict[str, Any]:
    """Return the types of a version, by their long names."""
    found: dict[str, Any] = json.loads((SCHEMAS / version / "_definitions.json").read_text())["$defs"]
    return found


def type_of(schema: dict[str, Any]) -> str:
    """Return a field's type as the table has it."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "items" in schema:
        return f"[]{type_of(schema['items'])}"
    types = schema.get("type", "")
    found = [each for each in ([types] if isinstance(types, str) else types) if each != "null"]
    if found == ["object"]:
        return f"{{}}{type_of(schema.get('additionalProperties') or {})}"
    return found[0] if len(found) == 1 else ""


def long_name(api: str, kind: str) -> str:
    """Return the name of a kind's type, such as io.k8s.api.apps.v1.Deployment."""
    group, _, version = api.rpartition("/")
    return f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"


def short_name(name: str) -> str:
    """Return a type's name in the table; those of two versions of autoscaling keep their version."""
    *_, group, version, kind = name.split(".")
    return f"{version}.{kind}" if group == "autoscaling" else kind


def of_kubernetes() -> Types:
    """Return the fields of each type, those of all versions: a cluster may have any of them."""
    roots = {long_name(api, kind): f"{api} {kind}" for api, kinds in KINDS.items() for kind in kinds}
    found: Types = {}
    for folder in sorted(SCHEMAS.glob("v*-local")):
        known = definitions(folder.name)
        todo, done = list(roots), set()
        while todo:
            name = todo.pop()
            properties = known.get(name, {}).get("properties")
            if name in done or not properties:
                continue
            done.add(name)
            own = found.setdefault(roots.get(name, short_name(name)), {})
            for field, schema in properties.items():
                own[field] = long = type_of(schema)
                item = long.removeprefix("[]").removeprefix("{}")
                if item.startswith("io."):
                    written = field not in NOT_WRITTEN and known[item].get("properties")
                    own[field] = long.replace(item, short_name(item)) if written else ""
                    todo += [item] if written else []
    return found


if __name__ == "__main__":
    Path(str(fields.TABLE)).write_text(json.dumps(of_kubernetes(), indent=1, sort_keys=True) + "\n")
