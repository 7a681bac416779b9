"""The checks, in the order in which they are reported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kubectl_lossless.doctor.checks import (
    api,
    backends,
    drain,
    entrypoint,
    grace_period,
    host_ports,
    keepalive,
    load_balancers,
    probes,
    rollout_strategy,
    services,
    settings,
    sidecars,
    signals,
)
from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.finding import Finding, Severity
from kubectl_lossless.doctor.workload import Workload

Check = Callable[[Workload], Iterator[Finding]]

ACCEPTED: tuple[Check, ...] = (settings.settings, rollout_strategy.selector, api.refused)
"""Checks that hold for any workload, whether it serves requests or not."""

POD: tuple[Check, ...] = (
    drain.drain,
    drain.prestop,
    drain.prestop_on_top,
    grace_period.grace_period,
    entrypoint.shell_entrypoint,
    entrypoint.wrapper,
    signals.sigterm_ignored,
    signals.stop_signal,
    signals.in_flight,
    settings.max_requests,
    settings.reload,
    sidecars.plain_sidecar,
    sidecars.injected_proxy,
    probes.readiness_probe,
    probes.probe_port,
    probes.readiness_patience,
    probes.readiness_delay,
    probes.liveness_equals_readiness,
    probes.liveness_patience,
    probes.slow_start,
    probes.cpu_limit,
    services.service_selector,
    services.target_port,
    backends.ingress_backend,
    backends.ingress_api,
    services.unready_addresses,
    load_balancers.external_traffic_policy,
    load_balancers.pod_targets,
    host_ports.host_port,
    services.service_links,
    keepalive.keepalive,
    rollout_strategy.migrations,
    rollout_strategy.progress_deadline,
)
"""Checks of the pods and of the route to them."""

PACE: tuple[Check, ...] = (
    rollout_strategy.replicas,
    rollout_strategy.scale_to_zero,
    rollout_strategy.replicas_and_autoscaler,
    rollout_strategy.strategy,
    rollout_strategy.min_ready_seconds,
    rollout_strategy.disruption_budget,
    rollout_strategy.vertical_autoscaler,
    rollout_strategy.anti_affinity,
    rollout_strategy.spread,
)
"""Checks of the number of pods, which say nothing of a workload that is scaled to zero."""

CHECKS = (*ACCEPTED, *POD, *PACE)

OF_EACH_SERVER: tuple[Check, ...] = (
    settings.settings,
    drain.drain,
    drain.prestop,
    drain.prestop_on_top,
    grace_period.grace_period,
    entrypoint.wrapper,
    signals.sigterm_ignored,
    signals.in_flight,
    settings.max_requests,
    settings.reload,
    probes.readiness_probe,
    probes.cpu_limit,
    load_balancers.pod_targets,
    services.service_links,
    keepalive.keepalive,
)
"""Checks of one server, which are run for each server of a pod."""

MILD_FOR_DATABASES = ("liveness-equals-readiness", "readiness-probe", "replicas", "strategy")
"""Checks that are advice for a database or a queue, which has one writer and clients that reconnect."""

ANNOTATION = "lossless.dev/ignore"
"""Annotation of an object whose findings are known: a line `check: reason` for each."""


@dataclass(frozen=True)
class Ignored:
    """A finding that somebody has decided to live with."""

    finding: Finding
    reason: str


@dataclass(frozen=True)
class Result:
    """Findings of the checks in one workload."""

    workload: Workload
    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...] = ()


def name(check: Check) -> str:
    """Return a check's name, as findings and docs/doctor.md have it."""
    return check.__name__.replace("_", "-")


def reason(check: Check) -> str:
    """Return a check's reason: its docstring in one line."""
    return " ".join((check.__doc__ or "").split())


NAMES = tuple(name(each) for each in CHECKS)


def examine(workload: Workload, ignore: tuple[str, ...] = ()) -> Result:
    """Run the checks on a workload; the findings come the worst first.

    `ignore`: names of checks to leave out.
    """
    chosen = ACCEPTED
    if workload.serves:
        chosen = (*ACCEPTED, *POD) if workload.scaled_to_zero else CHECKS
    found: list[Finding] = []
    ignored: list[Ignored] = []
    for check in chosen:
        if name(check) in ignore:
            continue
        for finding in _findings(check, workload):
            of = workload.document
            if finding.object and finding.object != workload.name:
                of = workload.others.named(finding.object, workload.namespace) or workload.document
            placed = replace(
                finding,
                check=name(check),
                object=finding.object or workload.name,
                file=of.file,
                line=of.line(finding.path),
            )
            why = _reasons(of).get(placed.check) or _reasons(workload.document).get(placed.check)
            if why:
                ignored.append(Ignored(placed, why))
            else:
                found.append(placed)
    found = _with_one_grace_period(found)
    found += [
        replace(each, file=workload.document.file, line=workload.document.line(each.path))
        for each in _of_annotation(workload)
    ]
    order = list(Severity)
    return Result(workload, tuple(sorted(found, key=lambda each: order.index(each.severity))), tuple(ignored))


def _findings(check: Check, workload: Workload) -> Iterator[Finding]:
    """Yield a check's findings; of a check of one server for each server, whose container they name."""
    views = workload.of_servers if check in OF_EACH_SERVER else [workload]
    for view in views:
        container = view.app.name
        for finding in check(view):
            named = (
                len(views) == 1
                or re.search(rf"\b{re.escape(container)}\b", finding.what)
                or _is_of_another(finding, view)
            )
            yield replace(
                finding,
                severity=_severity(finding, name(check), view),
                what=finding.what if named else f"{container}: {finding.what}",
            )


def _is_of_another(finding: Finding, workload: Workload) -> bool:
    """Return whether a finding is of another container than the one that is looked at, which it names."""
    others = [*workload.containers, *workload.init_containers]
    return any(
        finding.path[: len(each.path)] == each.path for each in others if each.path != workload.app.path
    )


def _with_one_grace_period(found: list[Finding]) -> list[Finding]:
    """Return findings that all suggest the longest of their grace periods: a pod has one for its servers."""
    seconds = [each.value for finding in found for each in finding.changes if each.path == grace_period.GRACE]
    return [
        replace(
            finding,
            changes=tuple(
                replace(each, value=max(seconds)) if each.path == grace_period.GRACE else each
                for each in finding.changes
            ),
        )
        for finding in found
    ]


def _severity(finding: Finding, check: str, workload: Workload) -> Severity:
    """Return how bad a finding is, milder for a database, whose clients reconnect."""
    if workload.app.database and check in MILD_FOR_DATABASES and finding.severity is not Severity.UNKNOWN:
        return Severity.ADVICE
    return finding.severity


def _entries(document: Document) -> Iterator[tuple[str, str]]:
    """Yield check and reason of each line of an object's annotation."""
    text = str(document.annotations.get(ANNOTATION, ""))
    for line in re.split(r"[\n;]", text):
        check, _, why = line.partition(":")
        if check.strip():
            yield check.strip(), why.strip()


def _reasons(document: Document) -> dict[str, str]:
    return dict(_entries(document))


def _of_annotation(workload: Workload) -> Iterator[Finding]:
    """Yield a finding for each line of the workload's annotation that has no effect."""
    for check, why in _entries(workload.document):
        if check not in NAMES or not why:
            yield Finding(
                Severity.ADVICE,
                f"{ANNOTATION} has no effect for {check!r}: "
                + ("there is no such check." if check not in NAMES else "it gives no reason."),
                "A check is left out where the annotation names it and says why.",
                ("metadata", "annotations", ANNOTATION),
                advice="a line `check: reason` for each; `kubectl lossless doctor --list` lists the checks",
                object=workload.name,
                check="ignore",
            )
