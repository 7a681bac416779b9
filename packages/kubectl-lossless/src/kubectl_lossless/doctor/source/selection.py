"""What is asked for: files, folders and the names of workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.source.loaded import SourceError


def _names(short: str, kind: str, group: str) -> tuple[str, ...]:
    return (short, kind, f"{kind}s", f"{kind}.{group}", f"{kind}s.{group}")


RESOURCES: dict[str, tuple[str, ...]] = {
    "Deployment": _names("deploy", "deployment", "apps"),
    "StatefulSet": _names("sts", "statefulset", "apps"),
    "DaemonSet": _names("ds", "daemonset", "apps"),
    "Rollout": _names("ro", "rollout", "argoproj.io"),
    "DeploymentConfig": _names("dc", "deploymentconfig", "apps.openshift.io"),
}
"""The kinds that are checked, with the names that kubectl knows them by; the last one is exact."""


@dataclass(frozen=True)
class Selection:
    """Files, folders and workloads that are asked for."""

    words: Sequence[str] = ()
    """Names of workloads; none: all."""
    namespace: str = ""
    """Of the objects in files that name none. With one, only its workloads are checked."""
    files: Sequence[str] = ()
    """Files and folders, `-` for standard input."""
    kustomize: str = ""
    """A folder to build with kustomize."""


@dataclass(frozen=True)
class Wanted:
    """Workloads that were asked for: of a kind, of a name, or both."""

    kind: str = ""
    name: str = ""

    def takes(self, document: Document) -> bool:
        """Return whether it means this object."""
        return self.kind in ("", document.kind) and self.name in ("", document.metadata_name)

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.kind or 'workload'} {self.name}".strip()


def wanted(words: Sequence[str]) -> list[Wanted]:
    """Read names as kubectl does: deploy/web, `deploy web api`, a kind or a name alone.

    Raises SourceError.
    """
    found: list[Wanted] = []
    first = _kind(words[0]) if words else ""
    if first and len(words) > 1 and not any("/" in word for word in words):
        return [Wanted(first, word) for word in words[1:]]
    for word in words:
        resource, slash, name = word.partition("/")
        kind = _kind(resource)
        if not slash:
            found.append(Wanted(kind) if kind else Wanted(name=word))
        elif not kind:
            allowed = ", ".join(names[0] for names in RESOURCES.values())
            raise SourceError(
                f"{word!r} names the kind {resource!r}; allowed are {allowed} and their long names."
            )
        elif not name:
            raise SourceError(f"{word!r} has no name behind the slash.")
        else:
            found.append(Wanted(kind, name))
    return found


def _kind(word: str) -> str:
    return next((kind for kind, names in RESOURCES.items() if word.lower() in names), "")
