"""Manifests that the API server refuses: the update that they are for never happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path, Severity
from kubectl_lossless.doctor.workload import Container, Workload

LONGEST_PORT_NAME = 15
"""Characters."""

HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
ZERO = (0, "0", "0%")

NOT_SERVED = {
    "extensions/v1beta1": ("apps/v1", "1.16"),
    "apps/v1beta1": ("apps/v1", "1.16"),
    "apps/v1beta2": ("apps/v1", "1.16"),
    "policy/v1beta1": ("policy/v1", "1.25"),
    "autoscaling/v2beta1": ("autoscaling/v2", "1.25"),
    "autoscaling/v2beta2": ("autoscaling/v2", "1.26"),
}
"""API versions that are no longer served: what to write instead, and since which Kubernetes."""


SERVED = {
    "Deployment": ("apps/v1",),
    "StatefulSet": ("apps/v1",),
    "DaemonSet": ("apps/v1",),
    "Rollout": ("argoproj.io/v1alpha1",),
    "DeploymentConfig": ("apps.openshift.io/v1",),
    "Service": ("v1",),
    "PodDisruptionBudget": ("policy/v1",),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "autoscaling/v1"),
}
"""API versions of each kind, the one to write first."""


def refused(workload: Workload) -> Iterator[Finding]:
    """The API server refuses the manifest, so the update never happens: a port's number in quotes, a strategy
    that may neither add nor remove a pod, two handlers in one probe or hook, a port's name twice, no API
    version, or one that is not served.
    """
    autoscalers = [workload.autoscaler] if workload.autoscaler else []
    for document in [workload.document, *workload.services, *workload.budgets, *autoscalers]:
        yield from _version(document, "" if document is workload.document else document.name)
    yield from _strategy(workload)
    for each in workload.containers:
        yield from _ports(each)
        for path, handlers in _handlers(each):
            yield from _handler(path, handlers)
    for service in workload.services:
        for number, port in enumerate(service.spec.get("ports") or ()):
            if _quoted(target := port.get("targetPort")):
                path = ("spec", "ports", number, "targetPort")
                yield _refusal(
                    f"targetPort is {target!r}: in quotes it is a port's name, and a name has a letter",
                    path,
                    Change(path, int(str(target))),
                    service.name,
                )
    for budget in workload.budgets:
        if {"minAvailable", "maxUnavailable"} <= budget.spec.keys():
            path = ("spec", "minAvailable")
            yield _refusal(
                "minAvailable and maxUnavailable are both set", path, Change(path, REMOVE), budget.name
            )


def _version(document: Document, of: str) -> Iterator[Finding]:
    version, served = str(document.data.get("apiVersion") or ""), SERVED.get(document.kind, ())
    if not served or version in served:
        return
    instead = served[0]
    if version in NOT_SERVED:
        instead, since = NOT_SERVED[version]
        what = f"{version} is not served since Kubernetes {since}"
    elif version:
        what = f"there is no {document.kind} in {version}"
    else:
        what = "it has no apiVersion"
    path: Path = ("apiVersion",)
    yield _refusal(what, path, Change(path, instead), of)


def _refusal(what: str, path: Path, change: Change | None = None, of: str = "") -> Finding:
    return Finding(
        Severity.LOSES,
        f"The API server refuses it: {what}.",
        "The update never happens.",
        path,
        (change,) if change else (),
        advice="" if change else "one of them",
        object=of,
    )


def _quoted(port: object) -> bool:
    return isinstance(port, str) and port.isdigit()


def _strategy(workload: Workload) -> Iterator[Finding]:
    found = workload.spec.get("strategy") or {}
    if workload.kind != "Deployment":
        return
    pace = found.get("rollingUpdate") or {}
    path = ("spec", "strategy", "rollingUpdate")
    if found.get("type") == "Recreate" and pace:
        yield _refusal("rollingUpdate is not for the strategy Recreate", path, Change(path, REMOVE))
    elif pace.get("maxSurge") in ZERO and pace.get("maxUnavailable") in ZERO:
        yield _refusal("maxSurge and maxUnavailable are both 0", path, Change((*path, "maxSurge"), 1))


def _ports(container: Container) -> Iterator[Finding]:
    names = Counter(str(each["name"]) for each in container.ports if "name" in each)
    for name, count in names.items():
        path = (*container.path, "ports")
        if count > 1:
            yield _refusal(f"{count} ports of {container.name} are called {name}", path)
        if len(name) > LONGEST_PORT_NAME:
            yield _refusal(f"the port's name {name} is longer than {LONGEST_PORT_NAME} characters", path)


def _handlers(container: Container) -> Iterator[tuple[Path, Object]]:
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        if found := container.spec.get(kind):
            yield (*container.path, kind), found
    for kind in ("preStop", "postStart"):
        if found := (container.spec.get("lifecycle") or {}).get(kind):
            yield (*container.path, "lifecycle", kind), found


def _handler(path: Path, found: Object) -> Iterator[Finding]:
    handlers = [name for name in HANDLERS if name in found]
    where = path[-1]
    if len(handlers) > 1:
        yield _refusal(f"{where} has {len(handlers)} handlers, {' and '.join(handlers)}", path)
    for name in handlers:
        port = found[name].get("port") if isinstance(found[name], dict) else None
        if _quoted(port):
            yield _refusal(
                f"the port of {where} is {port!r}: in quotes it is a port's name, and a name has a letter",
                (*path, name, "port"),
                Change((*path, name, "port"), int(str(port))),
            )
    if where in ("livenessProbe", "startupProbe") and found.get("successThreshold", 1) not in (0, 1):
        at = (*path, "successThreshold")
        yield _refusal(f"successThreshold of {where} must be 1", at, Change(at, 1))
