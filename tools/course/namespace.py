"""Namespace on a cluster that may belong to others: its owner, its contents, objects before an experiment."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kubectl_lossless.kubectl import Kubectl, Object, documents, to_list

PROJECT_LABEL = "app.kubernetes.io/part-of"
PROJECT = "rolling-updates"
"""Value of the label of this project's namespace in k8s/."""

MADE_BY = "rolling-updates/made-by"
EXPERIMENT = "experiment"
"""Value of the annotation of objects that an experiment has created."""

JOURNAL = "rollout-found"
"""Name of the Secret with the objects that an experiment found and has not restored yet."""

KUBERNETES_OWN = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
"""Objects of every namespace, by kind and name."""

KUBERNETES_KINDS = {"Event", "Endpoints", "EndpointSlice", "ControllerRevision", "PodMetrics", "Lease"}
"""Kinds that Kubernetes creates about other objects."""


def refusal(kubectl: Kubectl, namespace: str) -> str | None:
    """Return the reason why a namespace must not be taken over, None if it is free or this project's.

    Raises KubectlError.
    """
    found = get_namespace(kubectl, namespace)
    if found is None or found["metadata"].get("labels", {}).get(PROJECT_LABEL) == PROJECT:
        return None
    return (
        f"The context {kubectl.context} has a namespace {namespace} without the label "
        f"{PROJECT_LABEL}={PROJECT}: it is not this project's, and nothing was changed. Name another "
        "context; or, if everything in it may be deleted: "
        f"kubectl --context {kubectl.context} label namespace {namespace} {PROJECT_LABEL}={PROJECT}"
    )


def get_namespace(kubectl: Kubectl, name: str) -> Object | None:
    """Return the namespace, once it is not being deleted any more; None if there is none.

    Raises KubectlError.
    """
    said = kubectl("get", "namespace", name, "--ignore-not-found", "-o", "json")
    found: Object | None = json.loads(said) if said.strip() else None
    if found and found["metadata"].get("deletionTimestamp"):
        kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=180s", timeout=190)
        return None
    return found


def is_made(found: Object) -> bool:
    """Return whether an experiment has created the object."""
    return bool(found["metadata"].get("annotations", {}).get(MADE_BY) == EXPERIMENT)


def mark_made(item: Object) -> None:
    """Annotate the object as created by an experiment."""
    item["metadata"].setdefault("annotations", {})[MADE_BY] = EXPERIMENT


def foreign(kubectl: Kubectl, namespace: str) -> list[str]:
    """Return the objects in the namespace that neither an experiment nor Kubernetes created, as Kind/name.

    Raises KubectlError, also if some kinds may not be listed.
    """
    kinds = kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name", timeout=60).split()
    # A second API of the same objects, and an API that fails if its server is not available.
    kinds = [kind for kind in kinds if not kind.endswith("metrics.k8s.io") and kind != "events.events.k8s.io"]
    objects = documents(kubectl("get", ",".join(kinds), "-n", namespace, "-o", "json", timeout=60) or "{}")
    return sorted(
        f"{item['kind']}/{item['metadata']['name']}"
        for item in objects
        if item
        and item["kind"] not in KUBERNETES_KINDS
        and (item["kind"], item["metadata"]["name"]) not in {*KUBERNETES_OWN, ("Secret", JOURNAL)}
        and not item["metadata"].get("ownerReferences")
        and not is_made(item)
    )


def listed(names: list[str]) -> str:
    """Return the names for a sentence, the first few of many."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


@dataclass
class Journal:
    """Objects that an experiment found, kept in the cluster until they are restored.

    A process that is killed cannot restore anything. The next one reads the journal and restores the objects,
    also on another machine.
    """

    namespace: str
    found: dict[tuple[str, str], Object | None] = field(default_factory=dict)
    """Found objects by kind and name, None for those that did not exist."""
    host: str = field(default_factory=socket.gethostname)
    process: str = field(default_factory=lambda: identity(os.getpid()))

    def write(self, kubectl: Kubectl) -> None:
        """Write the journal into the cluster.

        Raises KubectlError.
        """
        entries = [{"kind": kind, "name": name, "object": item} for (kind, name), item in self.found.items()]
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": JOURNAL, "namespace": self.namespace, "annotations": {MADE_BY: EXPERIMENT}},
            # A Secret, because a manifest's own Secrets may be among the found objects.
            "stringData": {"found": json.dumps(entries), "host": self.host, "process": self.process},
        }
        # Not `apply`, which would keep a second copy in an annotation.
        there = kubectl("get", "secret", JOURNAL, "-n", self.namespace, "--ignore-not-found", "-o", "name")
        kubectl("replace" if there.strip() else "create", "-f", "-", stdin=to_list([secret]))

    @classmethod
    def read(cls, kubectl: Kubectl, namespace: str) -> Journal | None:
        """Return the journal that an experiment left, None if it restored everything.

        Raises KubectlError.
        """
        fields = "\n".join(f"{{{{.data.{name} | base64decode}}}}" for name in ("host", "process", "found"))
        said = kubectl(
            *("get", "secret", JOURNAL, "-n", namespace, "--ignore-not-found"),
            *("-o", f"go-template={fields}"),
        )
        if not said.strip():
            return None
        host, process, found = said.split("\n", 2)
        entries: Iterable[Object] = json.loads(found)
        return cls(
            namespace, {(each["kind"], each["name"]): each["object"] for each in entries}, host, process
        )

    def remove(self, kubectl: Kubectl) -> None:
        """Delete the journal: everything is restored.

        Raises KubectlError.
        """
        kubectl("delete", "secret", JOURNAL, "-n", self.namespace, "--ignore-not-found")

    @property
    def runs(self) -> bool:
        """True while the experiment runs on this machine."""
        pid = int(self.process.partition(" ")[0])
        here = self.host == socket.gethostname() and pid != os.getpid()
        return here and not self.process.endswith(" ") and self.process == identity(pid)

    @property
    def elsewhere(self) -> bool:
        """True if the experiment was started on another machine, and so may still run there."""
        return self.host != socket.gethostname()


def identity(pid: int) -> str:
    """Return a process's ID and start time, which a later process of the same ID does not share.

    The time is empty for a process that has ended, and on systems without /proc.
    """
    try:
        began = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = ""
    return f"{pid} {began}"
