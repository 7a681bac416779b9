"""A cause of lost requests in words: how and when they were lost, why, and the change that prevents it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kubectl_lossless.measure.evidence import Evidence
from kubectl_lossless.measure.judge import Blame, Cause
from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Failure

PHRASES = {
    Cause.DRAIN: "because the server stops accepting at SIGTERM",
    Cause.KEPT: "because kept connections are closed without notice",
    Cause.IN_FLIGHT: "because requests in flight are aborted",
    Cause.KILLED: "because pods are killed at the end of their grace period",
    Cause.OUTAGE: "because no pod was ready",
    Cause.NOT_LISTENING: "because new pods get requests before they listen",
    Cause.WEAK_READINESS: "because new pods are ready too early",
    Cause.DRAIN_OR_NOT_LISTENING: "because new pods do not listen yet, or old ones stop accepting at SIGTERM",
    Cause.CRASH: "because a container ended",
    Cause.UNREADY: "because a pod became unready",
    Cause.BEFORE: "before the rollout began",
    Cause.UNEXPLAINED: "unexplained",
}
"""Each cause in a few words, after a number of losses."""

CHECKS: dict[Cause, tuple[str, ...]] = {
    Cause.DRAIN: ("drain", "prestop"),
    Cause.KEPT: ("drain", "keepalive"),
    Cause.IN_FLIGHT: ("in-flight", "grace-period", "drain"),
    Cause.KILLED: ("shell-entrypoint", "wrapper", "sigterm-ignored", "grace-period"),
    Cause.OUTAGE: ("strategy", "replicas"),
    Cause.NOT_LISTENING: ("readiness-probe",),
    Cause.WEAK_READINESS: ("readiness-probe", "readiness-delay"),
    Cause.DRAIN_OR_NOT_LISTENING: ("readiness-probe", "drain"),
}
"""The doctor's checks that find the same as a cause, the nearest first."""

OWN_ADVICE = frozenset({Cause.DRAIN_OR_NOT_LISTENING, Cause.KEPT, Cause.IN_FLIGHT})
"""Causes for which the doctor's line is only a part of the remedy."""


def explain(cause: Cause, losses: Sequence[tuple[Failure, Blame]], evidence: Evidence) -> tuple[str, str]:
    """Return why requests were lost, and the change that prevents it; the latter is empty where none does."""
    match cause:
        case Cause.DRAIN | Cause.KEPT | Cause.IN_FLIGHT | Cause.KILLED:
            return explain_stop(cause, losses, evidence)
        case Cause.NOT_LISTENING | Cause.WEAK_READINESS | Cause.DRAIN_OR_NOT_LISTENING:
            return explain_start(cause, evidence)
        case Cause.OUTAGE:
            return explain_outage(evidence)
        case Cause.CRASH | Cause.UNREADY:
            return explain_failure(cause, [blame.pod for _, blame in losses], evidence)
        case Cause.BEFORE:
            return "lost before the rollout began: the rollout is not their cause", ""
        case Cause.UNEXPLAINED:
            seen = " (the pods could not be watched)" if "pods" in evidence.unseen else ""
            return f"no pod was terminating, starting or unready then{seen}", ""


def explain_stop(
    cause: Cause, losses: Sequence[tuple[Failure, Blame]], evidence: Evidence
) -> tuple[str, str]:
    """Explain losses by a pod that stops."""
    leaving = evidence.leaving
    grace = f"terminationGracePeriodSeconds ({leaving.grace:g} s)"
    if cause is Cause.KEPT:
        return (
            "the server closes kept connections when it stops, without having announced it by "
            "`Connection: close`; a preStop sleep does not move them",
            "a drain in the server that announces the close before it stops (for Gunicorn: gunicorn-drain), "
            "or a proxy in front that retries requests on connections that turn out closed",
        )
    if cause is Cause.IN_FLIGHT:
        longest_ms = max(failure.ms for failure, _ in losses)
        return (
            f"requests that were under way, the longest for {longest_ms / 1000:.1f} s, were cut off: the "
            "server does not wait for them when it stops, or not long enough",
            f"a graceful shutdown that waits for requests in flight, within {grace}",
        )
    if cause is Cause.KILLED:
        return (
            f"the pod did not end within its {grace} and was killed: its process 1 does not act on SIGTERM, "
            "or needs longer",
            "let the server be process 1 (`exec` in a shell script, or tini), or give it more time: "
            "spec.template.spec.terminationGracePeriodSeconds",
        )
    longest = max([0.0, *(blame.since for _, blame in losses if blame.since is not None)])
    if not leaving.pre_stop:
        return (
            "the server stops accepting connections as soon as it gets SIGTERM, while the routes to the pod "
            "(kube-proxy, an ingress) still lead new ones to it",
            f"{pre_stop_sleep(leaving.container, max(5, 2 * longest))}, or a drain in the server",
        )
    return (
        f"new connections still came {longest:.1f} s after the preStop hook of {leaving.pre_stop:g} s was "
        "over",
        pre_stop_sleep(leaving.container, leaving.pre_stop + 2 * longest),
    )


def explain_start(cause: Cause, evidence: Evidence) -> tuple[str, str]:
    """Explain losses by a pod that is ready before it can serve."""
    container = evidence.coming.container
    if cause is Cause.WEAK_READINESS:
        return (
            "a new pod was ready before it could serve: its readinessProbe succeeds too early",
            "a readinessProbe that asks for what requests need",
        )
    probe = f"spec.template.spec.containers[name={container}].readinessProbe"
    too_early = f"the container {container} has no readinessProbe, so"
    if cause is Cause.NOT_LISTENING:
        return f"{too_early} a new pod gets requests before it listens", probe
    return (
        f"two causes that cannot be distinguished here: {too_early} new pods get requests before they "
        "listen; and the server of the terminating pods stops accepting connections as soon as it gets "
        "SIGTERM",
        f"{probe}, and {pre_stop_sleep(evidence.leaving.container, 5)}",
    )


def pre_stop_sleep(container: str, seconds: float) -> str:
    """Return the line of a preStop hook that sleeps at least so long."""
    return (
        f"spec.template.spec.containers[name={container}].lifecycle.preStop: "
        f"{{sleep: {{seconds: {math.ceil(seconds)}}}}}"
    )


def explain_outage(evidence: Evidence) -> tuple[str, str]:
    """Explain losses by the lack of any ready pod."""
    leaving = evidence.leaving
    seconds = sum(ended - began for began, ended in evidence.outages)
    said = f"no pod was ready for {seconds:.1f} s"
    if leaving.kind == "statefulset" and leaving.replicas == 1:
        return (
            f"{said}: a StatefulSet deletes a pod before it creates the next, and it has 1 replica",
            "spec.replicas: 2 or more, if it can have them",
        )
    if leaving.strategy == "Recreate":
        return (
            f"{said}: the strategy Recreate deletes all pods before it creates new ones",
            "spec.strategy.type: RollingUpdate",
        )
    if leaving.unavailable >= leaving.replicas:
        return (
            f"{said}: the strategy lets a rollout take away all {leaving.replicas} pods (maxUnavailable)",
            "spec.strategy.rollingUpdate: {maxSurge: 1, maxUnavailable: 0}",
        )
    return (
        f"{said}: every pod was terminating or unready",
        "look at the readinessProbe and at `kubectl get events`",
    )


def explain_failure(cause: Cause, names: Sequence[str], evidence: Evidence) -> tuple[str, str]:
    """Explain losses by a pod that failed although nothing had deleted it."""
    if cause is Cause.UNREADY:
        return (
            "a pod became unready although nothing had deleted it: its readinessProbe failed",
            "look at `kubectl describe pod` and the probe's timeoutSeconds",
        )
    codes = [
        f"{pod.name} with exit code {pod.exit}"
        for pod in evidence.pods
        if pod.name in names and pod.exit is not None
    ]
    return (
        f"a container ended although nothing had deleted its pod{': ' if codes else ''}{', '.join(codes)}",
        f"`kubectl logs --previous {names[0]}` shows why",
    )


def kind_of(failure: Failure) -> str:
    """Return how a request was lost, in a few words."""
    if failure.status:
        by = f" by {failure.via}" if failure.via else ""
        return f"status {failure.status}{by}"
    if failure.kind is Kind.REFUSED:
        return "connection refused"
    if failure.kind in (Kind.RESET, Kind.CLOSED):
        kept = "kept connection" if failure.kept else "connection"
        return f"{kept} {'reset' if failure.kind is Kind.RESET else 'closed'}"
    if failure.kind is Kind.TIMEOUT:
        return "timeout"
    return failure.detail[:60]


def when_of(cause: Cause, since: Sequence[float], pods: Sequence[str]) -> str:
    """Return when requests were lost, relative to the events of the pods; empty where none is known."""
    if not since:
        return ""
    low, high = max(0.0, min(since)), max(0.0, *since)
    span = f"{low:.1f} s" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f}-{high:.1f} s"
    named = pods[0] if len(pods) == 1 else f"{len(pods)} pods" if pods else ""
    after = f"{span} after"
    return {
        Cause.DRAIN: f"{after} SIGTERM of {named}",
        Cause.KEPT: f"{after} SIGTERM of {named}",
        Cause.IN_FLIGHT: f"{after} SIGTERM of {named}",
        Cause.DRAIN_OR_NOT_LISTENING: f"{after} SIGTERM of {named}",
        Cause.KILLED: f"{after} the deletion of {named}",
        Cause.NOT_LISTENING: f"{after} {named} became ready",
        Cause.WEAK_READINESS: f"{after} {named} became ready",
        Cause.OUTAGE: f"{after} the last pod was no longer ready",
        Cause.CRASH: f"around the end of a container of {named}",
        Cause.UNREADY: f"around the time that {named} became unready",
    }.get(cause, "")
