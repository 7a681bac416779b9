"""The fields of Kubernetes' objects, from its schemas: the API server refuses all others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from kubectl_lossless.doctor.finding import Path

TABLE = files(__package__) / "fields.json"
"""The fields of each type with their types: "[]T" is a list of T, "{}T" a mapping to T, "" may be anything.

Of Kubernetes 1.25 to 1.37. `tests/doctor/fields_of_kubernetes.py` writes it.
"""

POD_TEMPLATE = "PodTemplateSpec"


@dataclass(frozen=True)
class Place:
    """A mapping in an object, and the type that it has."""

    type: str
    path: Path
    value: Mapping[str, Any]


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = json.loads(TABLE.read_text())
    return found


def of_type(name: str) -> Mapping[str, str]:
    """Return the fields of a type with their types; none for one that is not known."""
    return _table().get(name, {})


def places(type_name: str, value: Any, path: Path = ()) -> Iterator[Place]:
    """Yield a value of a known type and the mappings in it, each with its type."""
    if type_name.startswith("[]"):
        for number, each in enumerate(value if isinstance(value, list) else ()):
            yield from places(type_name[2:], each, (*path, number))
    elif isinstance(value, dict) and (known := of_type(type_name)):
        yield Place(type_name, path, value)
        for name, each in value.items():
            if name in known:
                yield from places(known[name], each, (*path, name))


SCALARS: Mapping[str, tuple[type, str]] = {
    "string": (str, "text: put it in quotes"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
}
"""Types of scalars, and what they allow, in words."""


@dataclass(frozen=True)
class Wrong:
    """A value that is not of the type of its field."""

    path: Path
    value: Any
    type: str

    @property
    def allowed(self) -> str:
        """The values that its type allows, in words."""
        if self.type in SCALARS:
            return SCALARS[self.type][1]
        return "a list" if self.type.startswith("[]") else "a mapping"


def may_hold(type_name: str, value: Any) -> bool:
    """Return whether a field of a type may hold a value, the fields in it left out."""
    return not next(wrong(type_name, value), None)


def wrong(type_name: str, value: Any, path: Path = ()) -> Iterator[Wrong]:
    """Yield the values that are not of their type in a field's value, the fields in it left out."""
    if not type_name:
        return
    expected: type = list if type_name.startswith("[]") else dict
    if type_name in SCALARS:
        expected = SCALARS[type_name][0]
    fits = isinstance(value, expected) and isinstance(value, bool) == (expected is bool)
    if not fits:
        yield Wrong(path, value, type_name)
    elif type_name.startswith(("[]", "{}")):
        for key in range(len(value)) if expected is list else value:
            yield from wrong(type_name[2:], value[key], (*path, key))
