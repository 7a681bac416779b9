"""The probes: when a pod gets requests, and when it is killed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kubectl_lossless.doctor.container import PORT_HANDLERS, Container
from kubectl_lossless.doctor.documents import Object
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path, Severity
from kubectl_lossless.doctor.prestop import NODE, program_of_system
from kubectl_lossless.doctor.server.start import AS_EXECUTABLE, cannot_execute
from kubectl_lossless.doctor.shape import quantity
from kubectl_lossless.doctor.workload import Workload

HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")

BUSY = 2
"""Seconds that a busy server may take to respond to a probe."""

LIVENESS = 10
"""Seconds for which a server may fail to respond before it is worth killing it."""

READINESS = 10
"""Seconds after which a pod that cannot serve should get no more requests."""

START = 20
"""Seconds that a start may take on a busy node."""

OF_ISTIO = (15020, 15021)
"""Ports of istio-proxy, to which Istio rewrites the probes of the other containers."""

TRIVIAL = re.compile(r"(\S*/)?(((ba|da|a)?sh -c )?(true|:|exit 0)|(((ba|da|a)?sh -c )?echo\b[^;&|$`]*))")
"""Commands of probes that always succeed."""

LITTLE_CPU = 0.2
"""CPU limit below which a Python server is throttled into probe timeouts."""

LENIENT = re.compile(r"(?s)(?!.*\b(exit\s+[^0\s]|return\b|set\s+-\w*e)).*(\|\||;|\n)\s*(true|:|exit 0)[\s;]*")
"""A script that ends well whatever its commands did."""


def number(probe: Object, name: str, default: int) -> int:
    """Return one of a probe's numbers; 0 means the default where the API says so."""
    value = int(probe.get(name, default))
    return value or default


def failing_after(probe: Object) -> int:
    """Return the seconds of failures after which a probe counts as failed."""
    return number(probe, "periodSeconds", 10) * number(probe, "failureThreshold", 3)


def _timeout(probe: Object) -> int:
    return number(probe, "timeoutSeconds", 1)


def _with(workload: Workload, kind: str) -> Iterator[tuple[Container, Object]]:
    for each in workload.containers:
        probe = each.probe(kind)
        if probe is not None:
            yield each, probe


def _always_succeeds(container: Container) -> bool:
    """Return whether its readiness probe runs nothing but a command such as `true`, or ends with one."""
    command: list[str] = ((container.probe("readiness") or {}).get("exec") or {}).get("command") or []
    if TRIVIAL.fullmatch(" ".join(command)):
        return True
    return len(command) == 3 and command[1] == "-c" and bool(LENIENT.fullmatch(command[2]))


def _asks_for(container: Container, workload: Workload) -> bool:
    """Return whether a container's readiness probe can show that `app` listens.

    That of another server and of a helper shows it only if it asks one of `app`'s ports.
    """
    app = workload.app
    if container is app or not (container in workload.servers or container.helper):
        return True
    return any(map(app.has_port, container.probed_ports("readiness")))


def readiness_probe(workload: Workload) -> Iterator[Finding]:
    """Without a readiness probe a pod gets requests as soon as its process runs, before it listens. A startup
    probe holds them back until then, and not later.
    """
    app = workload.app
    if app.image == "auto":
        return  # Istio injects the rest of a gateway's proxy, its probe included
    if _always_succeeds(app):
        yield Finding(
            Severity.RISKS if app.probe("startup") is not None else Severity.LOSES,
            f"The readiness probe of {app.name} succeeds whatever the server does.",
            "Requests arrive before it listens, and when it cannot serve.",
            (*app.path, "readinessProbe", "exec"),
            advice="a readinessProbe that asks the server what its clients ask it",
        )
        return
    if any(_asks_for(each, workload) for each, _ in _with(workload, "readiness")):
        return
    path = (*app.path, "readinessProbe")
    numbers = {"periodSeconds": 2, "timeoutSeconds": BUSY, "failureThreshold": 2}
    handler: dict[str, Any] | None = None
    liveness = app.probe("liveness") or {}
    if app.ports and app.speaks_http and not liveness.get("tcpSocket"):
        handler = {"httpGet": {"path": "/ready", "port": app.ports[0]["containerPort"]}}
    elif app.ports:
        handler = {"tcpSocket": {"port": app.ports[0]["containerPort"]}}
    advice = "a readinessProbe that asks the server what its clients ask it"
    if handler and "httpGet" in handler:
        advice = "with the path at which it responds 200 when it can serve"
    held_back = app.probe("startup") is not None
    yield Finding(
        Severity.RISKS if held_back else Severity.LOSES,
        f"No readiness probe: once its startup probe has succeeded, {app.name} counts as ready for ever."
        if held_back
        else f"No readiness probe: a new pod counts as ready when {app.name} has been started.",
        "A pod that cannot serve for a while still gets requests."
        if held_back
        else "Requests arrive before it listens and are refused; the rollout continues with the next pod "
        "meanwhile.",
        path,
        (Change(path, {**handler, **numbers}),) if handler else (),
        advice=advice if not handler or "httpGet" in handler else "",
    )


def _failed(kind: str) -> str:
    """Return what a probe does that always fails."""
    if kind == "readiness":
        return "No container of that pod becomes ready, and the rollout stops."
    return "The container is killed again and again."


def probe_port(workload: Workload) -> Iterator[Finding]:
    """A probe at a port that the container does not have fails: the pod never becomes ready, or is killed. So
    does one whose command stands in one word.
    """
    for kind in ("readiness", "liveness", "startup"):
        for each, probe in _with(workload, kind):
            command: list[str] = (probe.get("exec") or {}).get("command") or []
            if len(command) == 1 and " " in command[0].strip():
                yield Finding(
                    Severity.LOSES,
                    f"The {kind} probe of {each.name} cannot run: no program is called {command[0]!r}.",
                    _failed(kind),
                    (*each.path, f"{kind}Probe", "exec", "command"),
                    (Change((*each.path, f"{kind}Probe", "exec", "command"), ["sh", "-c", command[0]]),),
                )
            elif command and (written := cannot_execute(replace(each.start, words=tuple(command)))):
                yield Finding(
                    Severity.LOSES,
                    f"The {kind} probe of {each.name} cannot run: {written}.",
                    _failed(kind),
                    (*each.path, f"{kind}Probe", "exec", "command"),
                    advice=AS_EXECUTABLE,
                )
            elif command and each.bare and (lacking := program_of_system(command)):
                yield Finding(
                    Severity.LOSES,
                    f"The {kind} probe of {each.name} cannot run: an image of distroless has no {lacking}.",
                    _failed(kind),
                    (*each.path, f"{kind}Probe", "exec", "command"),
                    advice="httpGet, tcpSocket or grpc",
                )
            handler = next((name for name in PORT_HANDLERS if name in probe), None)
            asked = probe[handler].get("port") if handler else None
            host = probe[handler].get("host") if handler else None
            if handler and host in NODE and not workload.pod.get("hostNetwork"):
                at = (*each.path, f"{kind}Probe", handler, "host")
                yield Finding(
                    Severity.LOSES,
                    f"The {kind} probe of {each.name} asks {host}, which is the node for the kubelet.",
                    _failed(kind),
                    at,
                    (Change(at, REMOVE),),
                )
            if handler is None or asked is None or host or each.has_port(asked):
                continue
            named = isinstance(asked, str) and not asked.isdigit()
            if not named and not each.ports:
                continue  # a container need not declare its ports
            if not named and (
                asked in OF_ISTIO or any(other.has_port(asked) for other in workload.containers)
            ):
                continue  # the containers of a pod have one network
            if isinstance(asked, str) and asked.isdigit() and each.has_port(int(asked)):
                continue
            if not named and each.uses(asked, probed=False):
                continue
            have = ", ".join(str(own.get("name") if named else own["containerPort"]) for own in each.ports)
            yield Finding(
                Severity.LOSES if named else Severity.RISKS if len(each.ports) == 1 else Severity.ADVICE,
                f"The {kind} probe of {each.name} asks port {asked}, which the container does not declare"
                f"{f' (it has {have})' if each.ports and have != 'None' else ''}.",
                "No container of that pod becomes ready, and the rollout stops."
                if named and kind == "readiness"
                else "If nothing listens there, the probe fails for ever.",
                (*each.path, f"{kind}Probe", handler, "port"),
                (Change((*each.path, f"{kind}Probe", handler, "port"), each.ports[0]["containerPort"]),)
                if len(each.ports) == 1
                else (),
                advice="" if len(each.ports) == 1 else "a port that the container declares",
            )


def readiness_patience(workload: Workload) -> Iterator[Finding]:
    """A pod that turns bad gets requests for periodSeconds x failureThreshold; a timeout of 1 s, the
    default, takes away a pod that is only busy, and gives its load to the others.
    """
    for each, probe in _with(workload, "readiness"):
        path = (*each.path, "readinessProbe")
        if failing_after(probe) > READINESS:
            yield Finding(
                Severity.ADVICE,
                f"A pod that cannot serve gets requests for {failing_after(probe)} s more.",
                f"Readiness fails after {number(probe, 'failureThreshold', 3)} times "
                f"{number(probe, 'periodSeconds', 10)} s.",
                (*path, "periodSeconds"),
                (
                    Change((*path, "periodSeconds"), 2),
                    Change(
                        (*path, "failureThreshold"), min(number(probe, "failureThreshold", 3), READINESS // 2)
                    ),
                ),
            )
        if _timeout(probe) < BUSY:
            yield Finding(
                Severity.ADVICE,
                f"A busy pod is removed when it responds to the readiness probe after {_timeout(probe)} s.",
                "Its requests then go to the others, which are as busy.",
                (*path, "timeoutSeconds"),
                (Change((*path, "timeoutSeconds"), BUSY),),
            )


def readiness_delay(workload: Workload) -> Iterator[Finding]:
    """initialDelaySeconds is waited for also where the server is ready at once: it adds its whole length to
    each pod of an update.
    """
    for each, probe in _with(workload, "readiness"):
        delay = int(probe.get("initialDelaySeconds", 0))
        if delay > START:
            path = (*each.path, "readinessProbe", "initialDelaySeconds")
            yield Finding(
                Severity.ADVICE,
                f"Each new pod waits {delay} s before its first readiness probe.",
                "A startup probe waits only as long as the start takes.",
                path,
                (Change(path, 0),),
                advice="and a startupProbe with periodSeconds: 1 for a start that takes long",
            )


def _asked(container: Container, probe: Object) -> list[object]:
    """Return what a probe asks, whether its port is a name or a number and defaults are written or not."""

    def number(port: object) -> object:
        return next((own["containerPort"] for own in container.ports if own.get("name") == port), port)

    http, grpc = probe.get("httpGet"), probe.get("grpc")
    if http is not None:
        headers = sorted(map(str, http.get("httpHeaders") or ()))
        scheme = http.get("scheme", "HTTP")
        return [scheme, http.get("host", ""), number(http.get("port")), http.get("path") or "/", headers]
    if grpc is not None:
        return ["grpc", grpc.get("port"), grpc.get("service") or ""]
    return [probe.get(kind) for kind in HANDLERS]


def liveness_equals_readiness(workload: Workload) -> Iterator[Finding]:
    """Readiness fails when a pod is too busy, and that is right. A liveness probe that asks the same then
    kills it, with all that it is serving. (While a pod terminates the kubelet probes its liveness no more.)
    """
    for each, liveness in _with(workload, "liveness"):
        readiness = each.probe("readiness")
        if not readiness or "tcpSocket" in liveness:
            continue  # a socket that accepts says nothing of load
        if _asked(each, liveness) == _asked(each, readiness):
            yield Finding(
                Severity.ADVICE
                if failing_after(liveness) >= 2 * failing_after(readiness) or each.helper
                else Severity.RISKS,
                f"The liveness probe of {each.name} checks the same as its readiness probe.",
                "Too much load, which should only keep new requests away, restarts the container.",
                (*each.path, "livenessProbe"),
                advice="a path that responds 200 as long as the process can respond at all",
            )


def liveness_patience(workload: Workload) -> Iterator[Finding]:
    """A liveness probe that gives up soon kills a busy server, and its load goes to the others, which
    are as busy.
    """
    for each, probe in _with(workload, "liveness"):
        path: Path = (*each.path, "livenessProbe")
        if failing_after(probe) < LIVENESS:
            yield Finding(
                Severity.ADVICE if each.helper else Severity.RISKS,
                f"{each.name} is killed after {failing_after(probe)} s in which it does not respond.",
                "A pause of the node or a burst of requests lasts as long.",
                (*path, "failureThreshold"),
                (Change((*path, "failureThreshold"), -(-30 // number(probe, "periodSeconds", 10))),),
            )
        if _timeout(probe) < BUSY:
            yield Finding(
                Severity.RISKS if each in workload.servers else Severity.ADVICE,
                f"{each.name} is killed when it needs more than {_timeout(probe)} s to respond to the "
                f"liveness probe{_in_a_row(number(probe, 'failureThreshold', 3))}.",
                "With every thread busy a probe waits behind requests; 1 s is the default and is soon over.",
                (*path, "timeoutSeconds"),
                (Change((*path, "timeoutSeconds"), BUSY),),
            )


def _in_a_row(times: int) -> str:
    return f" {times} times in a row" if times > 1 else ""


def slow_start(workload: Workload) -> Iterator[Finding]:
    """Without a startup probe, liveness runs from the start: a start slower than it allows is killed
    again and again. So is one slower than its startup probe allows.
    """
    for each, probe in _with(workload, "startup"):
        allowed = int(probe.get("initialDelaySeconds", 0)) + failing_after(probe)
        if allowed < START:
            path = (*each.path, "startupProbe", "failureThreshold")
            yield Finding(
                Severity.ADVICE if each.helper else Severity.RISKS,
                f"{each.name} is killed if it takes longer than {allowed} s to start.",
                "On a busy node imports and migrations take longer than where they were tried.",
                path,
                (Change(path, -(-60 // number(probe, "periodSeconds", 10))),),
            )
    for each, probe in _with(workload, "liveness"):
        allowed = int(probe.get("initialDelaySeconds", 0)) + failing_after(probe)
        if each.probe("startup") is None and allowed < START:
            path = (*each.path, "startupProbe")
            handler = {kind: probe[kind] for kind in HANDLERS if kind in probe}
            yield Finding(
                Severity.ADVICE if each.helper else Severity.RISKS,
                f"{each.name} is killed if it takes longer than {allowed} s to start.",
                "On a busy node imports and migrations take longer than where they were tried.",
                path,
                (
                    Change(
                        path, {**handler, "periodSeconds": 1, "timeoutSeconds": BUSY, "failureThreshold": 60}
                    ),
                ),
            )


def cpu_limit(workload: Workload) -> Iterator[Finding]:
    """A CPU limit of a fraction of a processor stops the server for most of each 100 ms once it is used up:
    responses and probes come late, and a busy pod is killed.
    """
    limits = (workload.app.spec.get("resources") or {}).get("limits") or {}
    cpu = quantity(limits.get("cpu", "")) if "cpu" in limits else None
    if cpu is not None and cpu < LITTLE_CPU:
        path = (*workload.app.path, "resources", "limits", "cpu")
        yield Finding(
            Severity.RISKS,
            f"{workload.app.name} may use {cpu * 1000:g} m of a processor at most.",
            "It is throttled while it starts and when it is busy, and its probes time out.",
            path,
            (Change(path, "1"),),
            advice="or no limit, with requests.cpu for what it needs",
        )
