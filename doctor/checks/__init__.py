"""The checks, in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from doctor.checks import pace, probes, stop, way
from doctor.finding import Finding, Severity
from doctor.subject import Subject

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    stop.settings,
    stop.drain,
    stop.prestop_on_top,
    stop.grace_period,
    stop.shell_entrypoint,
    stop.max_requests,
    stop.plain_sidecar,
    probes.readiness_probe,
    probes.readiness_patience,
    probes.liveness_equals_readiness,
    probes.liveness_patience,
    probes.slow_start,
    pace.replicas,
    pace.strategy,
    pace.min_ready_seconds,
    pace.progress_deadline,
    pace.disruption_budget,
    way.service_selector,
    way.target_port,
    way.unready_addresses,
    way.external_traffic_policy,
    way.host_port,
    way.keepalive,
)


def name(check: Check) -> str:
    """A check's name, as findings and docs/doctor.md have it."""
    return check.__name__.replace("_", "-")


def reason(check: Check) -> str:
    """A check's reason: its docstring in one line."""
    return " ".join((check.__doc__ or "").split())


def examine(subject: Subject) -> list[Finding]:
    """Everything that the checks find, the worst first."""
    found = [
        replace(finding, check=name(check), object=finding.object or subject.name)
        for check in CHECKS
        for finding in check(subject)
    ]
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))
