"""How fast pods are replaced, and how many may be away."""

from __future__ import annotations

import math
from collections.abc import Iterator

from doctor.finding import Finding, Severity
from doctor.subject import Subject


def _amount(value: object, of: int, up: bool) -> int:
    """A number of pods, or a percentage of them as the Deployment controller rounds it."""
    if isinstance(value, str) and value.endswith("%"):
        share = of * int(value[:-1]) / 100
        return math.ceil(share) if up else math.floor(share)
    return int(str(value))


def replicas(subject: Subject) -> Iterator[Finding]:
    """With one replica there is none while it is evicted, its node fails or it restarts; and when it
    turns unready to drain, kube-proxy has no other to fall back to.
    """
    if subject.replicas == 1:
        scaler = subject.autoscaler
        yield Finding(
            Severity.RISKS,
            "One replica.",
            "Nobody answers while it is evicted or restarts, and in its drain the Service has no ready "
            "pod until "
            "another one is.",
            "spec.replicas" if scaler is None else "spec.minReplicas",
            "2",
            object="" if scaler is None else f"HorizontalPodAutoscaler {scaler['metadata']['name']}",
        )


def strategy(subject: Subject) -> Iterator[Finding]:
    """maxUnavailable takes pods away before there are new ones; Recreate takes all of them."""
    found = subject.spec.get("strategy") or {}
    if found.get("type") == "Recreate":
        yield Finding(
            Severity.LOSES,
            "Recreate stops every pod before the first new one starts.",
            "Nobody answers in between.",
            "spec.strategy",
            "{type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}",
        )
        return
    pace = found.get("rollingUpdate") or {}
    away = _amount(pace.get("maxUnavailable", "25%"), subject.replicas, up=False)
    surge = _amount(pace.get("maxSurge", "25%"), subject.replicas, up=True)
    if surge == 0 and away == 0:
        away = 1  # as the Deployment controller does where percentages come to nothing
    if away:
        yield Finding(
            Severity.LOSES if away >= subject.replicas else Severity.ADVICE,
            f"An update takes {away} of {subject.replicas} pods away before there are new ones.",
            "Nobody answers in between."
            if away >= subject.replicas
            else "Those that are left must carry the load of all, and answers come late, or not, where "
            "they cannot.",
            "spec.strategy.rollingUpdate",
            "{maxSurge: 1, maxUnavailable: 0}",
        )


def min_ready_seconds(subject: Subject) -> Iterator[Finding]:
    """A version that turns bad a moment after it was ready is caught only where minReadySeconds is longer
    than its readiness probe needs to notice; else it replaces every good pod.
    """
    least = max(
        (
            int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 3))
            for each in subject.containers
            if (probe := each.probe("readiness"))
        ),
        default=0,
    )
    found = int(subject.spec.get("minReadySeconds", 0))
    if found <= least:
        yield Finding(
            Severity.RISKS,
            f"A version that fails right after it got ready replaces every good pod: minReadySeconds is "
            f"{found}" + (f", its readiness probe notices after {least} s." if least else "."),
            "The rollout goes on to the next pod before the first has shown that it stays ready.",
            "spec.minReadySeconds",
            str(least + 6),
        )


def progress_deadline(subject: Subject) -> Iterator[Finding]:
    """A rollout whose pods may take longer to start and to prove themselves than progressDeadlineSeconds
    is reported as failed while it is well, and pipelines undo it.
    """
    starting = max(
        (
            int(probe.get("initialDelaySeconds", 0))
            + int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 3))
            for each in subject.containers
            if (probe := each.probe("startup"))
        ),
        default=0,
    )
    needed = starting + int(subject.spec.get("minReadySeconds", 0))
    deadline = int(subject.spec.get("progressDeadlineSeconds", 600))
    if needed >= deadline:
        yield Finding(
            Severity.ADVICE,
            f"A pod may take {needed} s to start and to prove itself; the rollout counts as failed after "
            f"{deadline} s.",
            "Whoever waits with `kubectl rollout status` undoes an update that is well.",
            "spec.progressDeadlineSeconds",
            str(needed + 30),
        )


def disruption_budget(subject: Subject) -> Iterator[Finding]:
    """Without a PodDisruptionBudget, draining nodes may evict all pods at once; with one that allows
    nothing, a node drain hangs until somebody forces it.
    """
    if not subject.budgets and subject.replicas > 1 and "poddisruptionbudgets" not in subject.unseen:
        yield Finding(
            Severity.ADVICE,
            "No PodDisruptionBudget: drained nodes may take all pods at once.",
            "Evictions do not go by the Deployment's strategy.",
            "PodDisruptionBudget.spec",
            f"{{maxUnavailable: 1, selector: {{matchLabels: {dict(subject.labels)}}}}}".replace("'", ""),
        )
    for budget in subject.budgets:
        spec, pods = budget["spec"], subject.replicas
        if "maxUnavailable" in spec:
            allowed = _amount(spec["maxUnavailable"], pods, up=True)
        else:
            allowed = pods - _amount(spec.get("minAvailable", 1), pods, up=True)
        if 0 < allowed < pods or (pods == 1 and allowed == 1):
            continue
        yield Finding(
            Severity.ADVICE if allowed <= 0 else Severity.RISKS,
            f"It lets {max(allowed, 0)} of {pods} pods go at a time.",
            "A node drain never ends, and whoever has to end it deletes the pods."
            if allowed <= 0
            else "Nobody answers when they all go.",
            "spec.maxUnavailable",
            "1",
            object=f"PodDisruptionBudget {budget['metadata']['name']}",
        )
