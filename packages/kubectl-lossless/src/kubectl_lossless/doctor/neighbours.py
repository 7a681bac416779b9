"""The objects around a workload, and the selectors that find them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from kubectl_lossless.doctor.documents import Document, Object


class Neighbours:
    """The objects around the workloads, found by kind and namespace without going through all of them."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._found: dict[tuple[str, str], list[Document]] = {}
        self._kinds: dict[str, list[Document]] = {}
        self._names: dict[tuple[str, str], Document] = {}
        for each in documents:
            self._found.setdefault((each.kind, each.namespace), []).append(each)
            self._kinds.setdefault(each.kind, []).append(each)
            self._names.setdefault((each.name, each.namespace), each)

    def in_namespace(self, kind: str, namespace: str) -> Sequence[Document]:
        """Return the objects of a kind in a namespace."""
        return self._found.get((kind, namespace), ())

    def named(self, name: str, namespace: str) -> Document | None:
        """Return the object of a kind and name, such as "Service web"."""
        return self._names.get((name, namespace))

    def everywhere(self, kind: str) -> Sequence[Document]:
        """Return the objects of a kind, whatever their namespace."""
        return self._kinds.get(kind, ())

    @cached_property
    def pod_labels(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """The labels of every pod and pod template, by namespace."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for each in (each for documents in self._kinds.values() for each in documents):
            job = _field(_field(each.spec, "jobTemplate"), "spec")
            pods = [_field(each.spec, "template"), _field(job, "template")]
            for pod in [*pods, each.data] if each.kind == "Pod" else pods:
                labels = _field(_field(pod, "metadata"), "labels")
                if labels:
                    found.setdefault(each.namespace, []).append(labels)
        return found


def _field(value: Object, name: str) -> Object:
    """Return a field that is a mapping; an empty one for all else, of objects whose shape is not checked."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector takes these labels, as a PodDisruptionBudget's does."""
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    for each in selector.get("matchExpressions") or ():
        value, values = labels.get(each["key"]), each.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[each["operator"]]:
            return False
    return True
