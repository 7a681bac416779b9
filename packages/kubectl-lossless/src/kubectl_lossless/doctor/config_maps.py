"""Files and environment variables that containers have from ConfigMaps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kubectl_lossless.doctor.documents import Document, Object

DEFAULT_MODE = 0o644
"""Permissions of a volume's files, unless its defaultMode or an item's mode sets others."""

EXECUTABLE = 0o111
"""Permissions to execute a file, of which root needs one too."""


class ConfigMaps:
    """The ConfigMaps of a namespace."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._data: dict[str, Mapping[str, str]] = {
            each.metadata_name: each.data.get("data") or {} for each in documents
        }

    def files(self, spec: Object, volumes: Iterable[Object]) -> dict[str, str]:
        """Return the texts of the files that a container has from ConfigMaps, by their paths.

        `volumes`: those of its pod.
        """
        return {path: text for path, text, _ in self._files(spec, volumes)}

    def not_executable(self, spec: Object, volumes: Iterable[Object]) -> set[str]:
        """Return the paths of those files that nobody may execute."""
        return {path for path, _, mode in self._files(spec, volumes) if not mode & EXECUTABLE}

    def _files(self, spec: Object, volumes: Iterable[Object]) -> Iterator[tuple[str, str, int]]:
        """Yield the files: path, text and permissions."""
        named: dict[Any, Object] = {each.get("name"): each for each in volumes}
        for mount in spec.get("volumeMounts") or ():
            volume = named.get(mount.get("name"), {})
            projected = volume.get("projected") or {}
            for source in (volume, *(projected.get("sources") or ())):
                reference = source.get("configMap") or {}
                mode = reference.get("defaultMode", projected.get("defaultMode", DEFAULT_MODE))
                data = self._data.get(str(reference.get("name", "")), {})
                items: dict[str, Object] = {
                    each.get("key", ""): each for each in reference.get("items") or ()
                }
                path, part = str(mount.get("mountPath", "")).rstrip("/"), mount.get("subPath")
                for key in data:
                    if items and key not in items:
                        continue
                    item = items.get(key, {})
                    name = item.get("path") or key
                    if part in (None, "", name):
                        yield path if part else f"{path}/{name}", data[key], int(item.get("mode", mode))

    def environment(self, spec: Object) -> dict[str, str]:
        """Return the known part of a container's environment: literal values, and ConfigMaps."""
        found: dict[str, str] = {}
        for source in spec.get("envFrom") or ():
            data = self._data.get((source.get("configMapRef") or {}).get("name", ""), {})
            found |= {source.get("prefix", "") + name: value for name, value in data.items()}
        for entry in spec.get("env") or ():
            source = entry.get("valueFrom") or {}
            reference = source.get("configMapKeyRef") or {}
            data = self._data.get(reference.get("name", ""), {})
            if "value" in entry or not source:
                found[entry["name"]] = expanded(entry.get("value", ""), found)
            elif reference.get("key") in data:
                found[entry["name"]] = data[reference["key"]]
            else:
                found.pop(entry["name"], None)
        return found

    def key_of(self, text: str) -> tuple[str, str] | None:
        """Return kind and name of the ConfigMap with a text, and its key; None where there is none."""
        return next(
            (
                (f"ConfigMap {name}", key)
                for name, data in self._data.items()
                for key, found in data.items()
                if found is text
            ),
            None,
        )


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """Expand `$(NAME)` as Kubernetes does, in an argument or a variable, where the value is known."""
    return re.sub(
        r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)",
        lambda found: environment.get(found[1], found[0]) if found[1] else "$",
        text,
    )
