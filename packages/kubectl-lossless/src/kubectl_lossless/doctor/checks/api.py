"""Manifests that the API server refuses: the update that they are for never happens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from kubectl_lossless.doctor.checks import fields, routes, values
from kubectl_lossless.doctor.checks.values import refusal
from kubectl_lossless.doctor.container import PORT_HANDLERS, Container
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path
from kubectl_lossless.doctor.shape import PLACEHOLDER
from kubectl_lossless.doctor.workload import Workload
from kubectl_lossless.rolling_update import amount

LONGEST_PORT_NAME = 15
"""Characters."""

PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
ZERO = (0, "0", "0%")

STRATEGIES = {
    "Deployment": ("RollingUpdate", "Recreate"),
    "StatefulSet": ("RollingUpdate", "OnDelete"),
    "DaemonSet": ("RollingUpdate", "OnDelete"),
    "DeploymentConfig": ("Rolling", "Recreate", "Custom"),
}
"""Types of the strategy of each kind, the default first."""

NOT_SERVED = {
    "extensions/v1beta1": ("apps/v1", "1.16"),
    "apps/v1beta1": ("apps/v1", "1.16"),
    "apps/v1beta2": ("apps/v1", "1.16"),
    "policy/v1beta1": ("policy/v1", "1.25"),
    "autoscaling/v2beta1": ("autoscaling/v2", "1.25"),
    "autoscaling/v2beta2": ("autoscaling/v2", "1.26"),
}
"""API versions that are no longer served: what to write instead, and since which Kubernetes."""

SIGNALS = {
    f"SIG{each}"
    for each in [
        "ABRT",
        "ALRM",
        "BUS",
        "CHLD",
        "CLD",
        "CONT",
        "FPE",
        "HUP",
        "ILL",
        "INT",
        "IO",
        "IOT",
        "KILL",
        "PIPE",
        "POLL",
        "PROF",
        "PWR",
        "QUIT",
        "SEGV",
        "STKFLT",
        "STOP",
        "SYS",
        "TERM",
        "TRAP",
        "TSTP",
        "TTIN",
        "TTOU",
        "URG",
        "USR1",
        "USR2",
        "VTALRM",
        "WINCH",
        "XCPU",
        "XFSZ",
        "RTMIN",
        "RTMAX",
    ]
}
SIGNALS |= {f"SIGRTMIN+{each}" for each in range(1, 16)} | {f"SIGRTMAX-{each}" for each in range(1, 15)}
"""Signals that a stopSignal may name on Linux."""

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
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
    version, or one that is not served, a workload without a selector, a field that it does not have or that
    is of another type, a stopSignal that is none, an Ingress path without pathType, a volume that the pod
    does not have, requests above their limits. So does Argo's controller a Rollout without a strategy of its
    own.
    """
    for document in [workload.document, *workload.attached]:
        of = "" if document is workload.document else document.name
        yield from _version(document, of)
        yield from _name_as_boolean(document, of)
    yield from _identity(workload)
    yield from _strategy(workload)
    for finding in _rollout(workload):
        yield replace(finding, what=finding.what.replace("The API server", "Argo Rollouts"))
    yield from _pod(workload)
    yield from fields.of_workload(workload)
    for each in [*workload.containers, *workload.init_containers]:
        yield from _ports(each)
        for path, handlers in _handlers(each):
            yield from _handler(path, handlers)
            yield from _sleep(path, handlers, workload.grace)
        yield from _stop_signal(each, workload)
    for service in workload.services:
        yield from _ports_of_service(service)
        for number, port in enumerate(service.spec.get("ports") or ()):
            if _quoted(target := port.get("targetPort")):
                path = ("spec", "ports", number, "targetPort")
                yield refusal(
                    f"targetPort is {target!r}: in quotes it is a port's name, and a name has a letter",
                    path,
                    Change(path, int(str(target))),
                    service.name,
                )
    for budget in workload.budgets:
        yield from values.of_budget(budget)
        if {"minAvailable", "maxUnavailable"} <= budget.spec.keys():
            path = ("spec", "minAvailable")
            yield refusal(
                "minAvailable and maxUnavailable are both set", path, Change(path, REMOVE), budget.name
            )
    yield from values.of_workload(workload)
    for service in workload.services:
        yield from values.of_service(service)
    if workload.autoscaler:
        yield from values.of_autoscaler(workload.autoscaler)
    yield from _routes(workload)


def _routes(workload: Workload) -> Iterator[Finding]:
    kinds = ("Ingress", "HTTPRoute", "GRPCRoute")
    for route, backends in routes.to_services(workload, workload.services, *kinds):
        if route.kind != "Ingress":
            yield from values.of_gateway_backends(backends, route.name)
        elif str(route.data.get("apiVersion", "")) == "networking.k8s.io/v1":
            yield from values.of_ingress(route)


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
    yield refusal(what, path, Change(path, instead), of)


def _name_as_boolean(document: Document, of: str) -> Iterator[Finding]:
    """Yield a name that YAML reads as a boolean, y or n."""
    path: Path = ("metadata", "name")
    if word := document.unquoted(path):
        yield refusal(f"the name is {word} without quotes, a boolean in YAML", path, Change(path, word), of)


def _identity(workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with the workload's name and selector."""
    name = workload.metadata_name
    if name and not OBJECT_NAME.fullmatch(name) and not PLACEHOLDER.search(name):
        yield refusal(
            f"the name is {name!r}; allowed are lower-case letters, digits, '-' and '.'",
            ("metadata", "name"),
            advice="a name of these characters, such as "
            + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "web"),
        )
    if workload.kind in ("Deployment", "StatefulSet", "DaemonSet") and not workload.spec.get("selector"):
        yield _without_selector(workload)


def _without_selector(workload: Workload) -> Finding:
    path: Path = ("spec", "selector")
    labels = dict(workload.labels)
    return refusal(
        "spec.selector is missing",
        path,
        Change(path, {"matchLabels": labels}) if labels else None,
        advice="labels of the pods, and a selector with the same",
    )


def _pod(workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with the pod as a whole: its restartPolicy, and the names of its containers."""
    path: Path = ("spec", "template", "spec", "restartPolicy")
    if (policy := workload.pod.get("restartPolicy", "Always")) != "Always":
        yield refusal(
            f"restartPolicy is {policy}; a {workload.kind}'s is Always", path, Change(path, "Always")
        )
    for field in ("activeDeadlineSeconds", "ephemeralContainers"):
        if workload.pod.get(field):
            at = (*path[:-1], field)
            yield refusal(f"{field} is not for the pods of a {workload.kind}", at, Change(at, REMOVE))
    every = [*workload.plain, *(each for each in workload.containers if each.sidecar)]
    every += workload.init_containers
    for name, count in Counter(each.name for each in every).items():
        if count > 1:
            yield refusal(
                f"{count} containers are called {name}",
                next(each.path for each in reversed(every) if each.name == name),
                advice="another name for one of them",
            )
    for each in workload.init_containers:
        own = each.spec.get("restartPolicy", "Never")
        if own not in ("Never", "OnFailure"):
            at = (*each.path, "restartPolicy")
            yield refusal(f"restartPolicy of {each.name} is {own!r}", at, Change(at, "Always"))
        for kind in PROBES:
            if each.spec.get(kind):
                at = (*each.path, kind)
                yield refusal(
                    f"{kind} of {each.name}, an init container without restartPolicy: Always",
                    at,
                    Change(at, REMOVE),
                )


def _quoted(port: object) -> bool:
    return isinstance(port, str) and port.isdigit()


def _strategy(workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with the strategy of every kind but an Argo Rollout."""
    known = STRATEGIES.get(workload.kind, ("",))
    name = workload.strategy.get("type") or known[0]
    if workload.kind in STRATEGIES and name not in known:
        at: Path = (*workload.strategy_path, "type")
        has = f"{', '.join(known[:-1])} and {known[-1]}"
        yield refusal(
            f"the strategy {name} is none of a {workload.kind}, which has {has}", at, Change(at, known[0])
        )
    elif workload.kind == "Deployment":
        yield from _pace_of_deployment(workload, name)
    elif workload.kind == "DaemonSet":
        yield from _pace_of_daemonset(workload)


def _pace_of_deployment(workload: Workload, name: str) -> Iterator[Finding]:
    pace, path = workload.rolling_update, workload.rolling_update_path
    if amount(pace.get("maxUnavailable", 0), 100, up=True) > 100 and "%" in str(pace["maxUnavailable"]):
        at: Path = (*path, "maxUnavailable")
        yield refusal(f"maxUnavailable {pace['maxUnavailable']} is more than 100%", at, Change(at, 0))
    elif name == "Recreate" and pace:
        yield refusal("rollingUpdate is not for the strategy Recreate", path, Change(path, REMOVE))
    elif pace.get("maxSurge") in ZERO and pace.get("maxUnavailable") in ZERO:
        yield refusal("maxSurge and maxUnavailable are both 0", path, Change((*path, "maxSurge"), 1))


def _rollout(workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with the strategy of an Argo Rollout, whose controller then does nothing."""
    if workload.kind != "Rollout":
        return
    path, found = workload.strategy_path, workload.strategy
    if not workload.spec.get("selector"):
        yield _without_selector(workload)
    if {"canary", "blueGreen"} <= found.keys():
        yield refusal("canary and blueGreen are both set", path)
    elif not {"canary", "blueGreen"} & found.keys():
        pace = found.get("rollingUpdate") or {"maxSurge": 1, "maxUnavailable": 0}
        what = "a Rollout's strategy is canary or blueGreen"
        if others := ", ".join(sorted(found)):
            what += f"; this one has {others}"
        yield refusal(what, path, Change(path, {"canary": pace}))
    elif "blueGreen" in found and not found["blueGreen"].get("activeService"):
        at: Path = (*path, "blueGreen", "activeService")
        service = workload.services[0].metadata_name if workload.services else ""
        change = Change(at, service) if service else None
        yield refusal("blueGreen has no activeService", at, change, advice="the name of its Service")
    elif found.get("canary", {}).get("maxSurge") in ZERO and found["canary"].get("maxUnavailable") in ZERO:
        at = (*path, "canary", "maxSurge")
        yield refusal("maxSurge and maxUnavailable are both 0", at, Change(at, 1))


def _stop_signal(container: Container, workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with a container's stopSignal (Kubernetes 1.33)."""
    signal = container.stop_signal
    path: Path = (*container.path, "lifecycle", "stopSignal")
    if signal and signal not in SIGNALS and not PLACEHOLDER.search(signal):
        meant = f"SIG{signal.upper().removeprefix('SIG')}"
        yield refusal(
            f"stopSignal of {container.name} is {signal!r}; allowed is the name of a signal such as SIGTERM",
            path,
            Change(path, meant) if meant in SIGNALS else None,
            advice="SIGTERM or SIGQUIT, whichever the server finishes its requests at",
        )
    if signal and not (workload.pod.get("os") or {}).get("name"):
        at: Path = ("spec", "template", "spec", "os", "name")
        yield refusal("stopSignal needs the pod's os.name", at, Change(at, "linux"))


def _ports_of_service(service: Document) -> Iterator[Finding]:
    """Yield ports of a Service without the name that each of several needs, and ports that it has twice."""
    ports = service.spec.get("ports") or []
    path: Path = ("spec", "ports")
    unnamed = [number for number, each in enumerate(ports) if not each.get("name")]
    if len(ports) > 1 and unnamed:
        at: Path = (*path, unnamed[0], "name")
        yield refusal(
            f"a Service with {len(ports)} ports needs a name for each",
            at,
            None,
            service.name,
            "a name such as http",
        )
    for (port, protocol), count in Counter(
        (each.get("port"), each.get("protocol", "TCP")) for each in ports
    ).items():
        if count > 1 and port is not None:
            yield refusal(f"it has port {port} {count} times by {protocol}", path, None, service.name)


def _pace_of_daemonset(workload: Workload) -> Iterator[Finding]:
    """Yield what is wrong with a DaemonSet's rolling update: it either adds pods or removes them first."""
    pace = workload.rolling_update
    surge, away = pace.get("maxSurge", 0), pace.get("maxUnavailable", 1)
    path: Path = (*workload.rolling_update_path, "maxUnavailable")
    if surge not in ZERO and away not in ZERO:
        yield refusal(
            f"maxSurge {surge} needs maxUnavailable 0 in a DaemonSet"
            + ("" if "maxUnavailable" in pace else ", whose default is 1"),
            path,
            Change(path, 0),
        )
    elif surge in ZERO and away in ZERO:
        yield refusal("maxSurge and maxUnavailable are both 0", path, Change(path, 1))


def _ports(container: Container) -> Iterator[Finding]:
    names = Counter(str(each["name"]) for each in container.ports if "name" in each)
    for name, count in names.items():
        path = (*container.path, "ports")
        if count > 1:
            yield refusal(f"{count} ports of {container.name} are called {name}", path)
        if len(name) > LONGEST_PORT_NAME:
            yield refusal(f"the port's name {name} is longer than {LONGEST_PORT_NAME} characters", path)
        elif not PORT_NAME.fullmatch(name) and not PLACEHOLDER.search(name):
            yield refusal(
                f"the port's name is {name!r}; allowed are lower-case letters (at least one), digits and "
                "single '-' between them",
                path,
                advice="a name such as http",
            )


def _handlers(container: Container) -> Iterator[tuple[Path, Object]]:
    for kind in PROBES:
        if (found := container.spec.get(kind)) is not None:
            yield (*container.path, kind), found
    for kind in ("preStop", "postStart"):
        if (found := (container.spec.get("lifecycle") or {}).get(kind)) is not None:
            yield (*container.path, "lifecycle", kind), found


def _sleep(path: Path, hook: Object, grace: float) -> Iterator[Finding]:
    """Yield a hook's sleep that the grace period would end."""
    seconds = (hook.get("sleep") or {}).get("seconds", 0)
    if seconds > grace:
        yield refusal(
            f"sleep of {path[-1]} is {seconds} s; allowed is up to the grace period, {grace:g} s",
            (*path, "sleep", "seconds"),
            advice="a longer terminationGracePeriodSeconds, or a shorter sleep",
        )


def _handler(path: Path, found: Object) -> Iterator[Finding]:
    handlers = [name for name in HANDLERS if name in found]
    where = path[-1]
    if not handlers:
        advice = (
            "one of httpGet, tcpSocket, grpc and exec"
            if where in PROBES
            else "one of sleep, exec and httpGet"
        )
        yield refusal(f"{where} has no handler", path, advice=advice)
    if "exec" in found and not (found["exec"] or {}).get("command"):
        yield refusal(f"exec of {where} has no command", (*path, "exec"), advice="a command")
    if len(handlers) > 1:
        yield refusal(f"{where} has {len(handlers)} handlers, {' and '.join(handlers)}", path)
    for name in handlers:
        port = found[name].get("port") if isinstance(found[name], dict) else None
        if port is None and name in PORT_HANDLERS:
            yield refusal(f"{name} of {where} has no port", (*path, name, "port"), advice="the server's port")
        elif port == 0:
            yield refusal(f"the port of {where} is 0", (*path, name, "port"), advice="a port from 1 to 65535")
        elif _quoted(port):
            yield refusal(
                f"the port of {where} is {port!r}: in quotes it is a port's name, and a name has a letter",
                (*path, name, "port"),
                Change((*path, name, "port"), int(str(port))),
            )
    if where == "readinessProbe" and "terminationGracePeriodSeconds" in found:
        of_its_own: Path = (*path, "terminationGracePeriodSeconds")
        yield refusal(
            "terminationGracePeriodSeconds is not for a readiness probe, which ends nothing",
            of_its_own,
            Change(of_its_own, REMOVE),
        )
    scheme = (found.get("httpGet") or {}).get("scheme", "HTTP")
    if scheme not in ("HTTP", "HTTPS") and not PLACEHOLDER.search(scheme):
        at: Path = (*path, "httpGet", "scheme")
        right = scheme.upper() if scheme.upper() in ("HTTP", "HTTPS") else None
        yield refusal(
            f"scheme of {where} is {scheme!r}; allowed is HTTP or HTTPS",
            at,
            Change(at, right) if right else None,
        )
    if where in ("livenessProbe", "startupProbe") and found.get("successThreshold", 1) not in (0, 1):
        at = (*path, "successThreshold")
        yield refusal(f"successThreshold of {where} must be 1", at, Change(at, 1))
