"""The probes: when a pod gets requests, and when it is killed."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.finding import Finding, Severity
from doctor.subject import Container, Object, Subject

HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")

BUSY = 2
"""Seconds that a busy server may take to answer a probe."""

LIVENESS = 10
"""Seconds for which a server may fail to answer before it is worth killing it."""

READINESS = 10
"""Seconds after which a pod that cannot serve should get no more requests."""

START = 20
"""Seconds that a start may take on a busy node."""


def _after(probe: Object) -> int:
    """Seconds of failures after which a probe counts as failed."""
    return int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 3))


def _timeout(probe: Object) -> int:
    return int(probe.get("timeoutSeconds", 1))


def _with(subject: Subject, kind: str) -> Iterator[tuple[Container, Object]]:
    for each in subject.containers:
        probe = each.probe(kind)
        if probe is not None:
            yield each, probe


def readiness_probe(subject: Subject) -> Iterator[Finding]:
    """Without a readiness probe a pod gets requests as soon as its process runs, before it listens."""
    if not any(_with(subject, "readiness")):
        app = subject.app
        port = app.ports()[0]["containerPort"] if app.ports() else 8080
        yield Finding(
            Severity.LOSES,
            f"No readiness probe: a new pod counts as ready when {app.name} has been started.",
            "Requests come before it listens and are refused; the rollout goes on to the next pod meanwhile.",
            f"{app.path}.readinessProbe",
            f"{{httpGet: {{path: /ready, port: {port}}}, periodSeconds: 2, timeoutSeconds: {BUSY}, "
            "failureThreshold: 2}",
        )


def readiness_patience(subject: Subject) -> Iterator[Finding]:
    """A pod that turns bad gets requests for periodSeconds x failureThreshold; a timeout of 1 s, the
    default, takes away a pod that is only busy, and gives its load to the others.
    """
    for each, probe in _with(subject, "readiness"):
        if _after(probe) > READINESS:
            yield Finding(
                Severity.ADVICE,
                f"A pod that cannot serve gets requests for {_after(probe)} s more.",
                f"Readiness fails after {probe.get('failureThreshold', 3)} times "
                f"{probe.get('periodSeconds', 10)} s.",
                f"{each.path}.readinessProbe.periodSeconds",
                "2",
            )
        if _timeout(probe) < BUSY:
            yield Finding(
                Severity.ADVICE,
                f"A busy pod is taken away when it answers the readiness probe after {_timeout(probe)} s.",
                "Its requests then go to the others, which are as busy.",
                f"{each.path}.readinessProbe.timeoutSeconds",
                str(BUSY),
            )


def liveness_equals_readiness(subject: Subject) -> Iterator[Finding]:
    """Readiness fails when a pod drains or is too busy, and that is right. A liveness probe that asks the
    same then kills it, with all that it is answering.
    """
    for each, liveness in _with(subject, "liveness"):
        readiness = each.probe("readiness")
        if readiness and all(liveness.get(kind) == readiness.get(kind) for kind in HANDLERS):
            yield Finding(
                Severity.RISKS,
                f"The liveness probe of {each.name} asks the same as its readiness probe.",
                "What should only keep new requests away, a drain or too much load, restarts the container.",
                f"{each.path}.livenessProbe",
                "a path that answers 200 as long as the process can answer at all",
            )


def liveness_patience(subject: Subject) -> Iterator[Finding]:
    """A liveness probe that gives up soon kills a busy server, and its load comes to the others, which
    are as busy.
    """
    for each, probe in _with(subject, "liveness"):
        if _after(probe) < LIVENESS:
            yield Finding(
                Severity.RISKS,
                f"{each.name} is killed after {_after(probe)} s in which it does not answer.",
                "A pause of the node or a burst of requests lasts as long.",
                f"{each.path}.livenessProbe.failureThreshold",
                str(-(-30 // int(probe.get("periodSeconds", 10)))),
            )
        if _timeout(probe) < BUSY:
            yield Finding(
                Severity.RISKS,
                f"{each.name} is killed when it needs more than {_timeout(probe)} s to answer the liveness "
                f"probe.",
                "With every thread busy a probe waits behind requests; 1 s is the default and is soon over.",
                f"{each.path}.livenessProbe.timeoutSeconds",
                str(BUSY),
            )


def slow_start(subject: Subject) -> Iterator[Finding]:
    """Without a startup probe, liveness runs from the start: a start slower than it allows is killed
    again and again.
    """
    for each, probe in _with(subject, "liveness"):
        allowed = int(probe.get("initialDelaySeconds", 0)) + _after(probe)
        if each.probe("startup") is None and allowed < START:
            yield Finding(
                Severity.RISKS,
                f"{each.name} is killed if it takes longer than {allowed} s to start.",
                "On a busy node imports and migrations take longer than where they were tried.",
                f"{each.path}.startupProbe",
                "as livenessProbe, with periodSeconds: 1 and failureThreshold: 60",
            )
