"""Check of the time that a pod has to terminate."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.finding import Change, Finding, Path, Severity
from kubectl_lossless.doctor.manifest import DEFAULT_GRACE, POD
from kubectl_lossless.doctor.prestop import SHORTEST_WAIT
from kubectl_lossless.doctor.server.model import OWN_NAME
from kubectl_lossless.doctor.workload import Workload

KILL_MARGIN = 2
"""Seconds between the last timeout of a stop and the SIGKILL, for the kubelet and for exiting."""

PROPAGATION = 15
"""Seconds of preStop to suggest where nothing drains: longer than endpoints take to reach every proxy."""

UNKNOWN_STOP = 10
"""Seconds that a server of which nothing is known should have between preStop and SIGKILL."""

GRACE: Path = (*POD, "terminationGracePeriodSeconds")


def needs_prestop(workload: Workload) -> bool:
    """Return whether a preStop of PROPAGATION seconds is suggested."""
    wait = workload.wait
    known = workload.server
    if known.drain or known.name == OWN_NAME or (known.kind and known.kind.ignores_sigterm):
        return False
    return wait is not None and wait < SHORTEST_WAIT


def seconds_needed(workload: Workload) -> float | None:
    """Return the seconds a pod needs to terminate, the suggested preStop included; None for no idea."""
    known = workload.server
    wait = PROPAGATION if needs_prestop(workload) else workload.wait or 0.0
    drain = known.drain or 0.0
    if known.graceful is not None:
        return wait + drain + known.graceful + KILL_MARGIN
    if known.drain:
        return wait + drain + KILL_MARGIN
    return None


def grace_period(workload: Workload) -> Iterator[Finding]:
    """preStop, drain and graceful timeout come one after the other. Where their sum is not below
    terminationGracePeriodSeconds, the kubelet's SIGKILL cuts off requests in flight.
    """
    app, known, grace = workload.app, workload.server, workload.grace
    hook = app.pre_stop
    running = hook.seconds if hook is not None else 0.0
    parts = {"preStop": running, "drain": known.drain, "graceful timeout": known.graceful}
    total = sum(seconds or 0 for seconds in parts.values()) + KILL_MARGIN
    needed = max(seconds_needed(workload) or 0.0, total)
    why = "SIGKILL cannot be handled: requests still in flight then are aborted."
    if grace == 0:
        yield Finding(
            Severity.LOSES,
            "terminationGracePeriodSeconds is 0: the pod is killed at once.",
            why,
            GRACE,
            (Change(GRACE, int(max(needed, DEFAULT_GRACE)) + 1),),
        )
    elif running and running >= grace:
        forever = running > 86400
        yield Finding(
            Severity.LOSES,
            f"preStop takes {'for ever' if forever else f'{running:g} s'}; the pod is killed after "
            f"{grace:g} s.",
            "Every update ends in SIGKILL, with all requests in flight aborted.",
            (*app.path, "lifecycle", "preStop") if forever else GRACE,
            (Change((*app.path, "lifecycle", "preStop"), {"sleep": {"seconds": PROPAGATION}}),)
            if forever
            else (Change(GRACE, int(max(needed, running + UNKNOWN_STOP + KILL_MARGIN)) + 1),),
        )
    elif total > KILL_MARGIN and total >= grace and (known.graceful is not None or known.drain):
        terms = " + ".join(f"{name} {seconds:g} s" for name, seconds in parts.items() if seconds)
        yield Finding(
            Severity.RISKS,
            f"{terms} + {KILL_MARGIN} s margin is {total:g} s; the pod is killed after {grace:g} s.",
            why,
            GRACE,
            (Change(GRACE, int(needed) + 1),),
        )
    elif (
        known.graceful is None
        and not known.drain
        and grace < DEFAULT_GRACE
        and grace - (running or 0) < UNKNOWN_STOP
    ):
        left = grace - (running or 0)
        yield Finding(
            Severity.RISKS,
            f"After preStop {left:g} s are left until the pod is killed."
            if running
            else f"The pod is killed after {grace:g} s.",
            f"Servers give requests in flight {DEFAULT_GRACE:g} s by default. {why}",
            GRACE,
            (
                Change(
                    GRACE,
                    int(DEFAULT_GRACE + (PROPAGATION if needs_prestop(workload) else running or 0)) + 1,
                ),
            ),
        )
    missing = [name for name, seconds in parts.items() if seconds is None and name != "preStop"]
    if known.file and missing:
        yield Finding(
            Severity.UNKNOWN,
            f"Whether {grace:g} s are enough: the length of {' and '.join(missing)} is in {known.file}.",
            f"The budget is preStop + drain + graceful timeout + {KILL_MARGIN} s; --drain-max and "
            "--graceful-timeout set them.",
            GRACE,
            advice="more than the sum",
        )
