"""Checks of the signal that ends a server, and of the requests in flight then."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.checks.grace_period import PROPAGATION
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path, Severity
from kubectl_lossless.doctor.server.kinds import SPRING, Kind
from kubectl_lossless.doctor.workload import Workload


def sigterm_ignored(workload: Workload) -> Iterator[Finding]:
    """The kernel ignores SIGTERM for a PID 1 that has no handler for it: such a program is killed at the end
    of the grace period, with whatever it is serving.
    """
    kind = workload.server.kind
    if workload.server.stop_file:
        yield Finding(
            Severity.UNKNOWN,
            f"Whether uWSGI stops at SIGTERM: die-on-term may be in {workload.server.stop_file}.",
            "Without it uWSGI reloads, and the pod is killed at the end of its grace period.",
            (*workload.app.path, "command"),
            advice="die-on-term = true in that file, or --die-on-term here, which shows it",
        )
    if kind is None or not kind.ignores_sigterm:
        return
    if workload.server.signal not in ("", "SIGTERM"):
        yield Finding(
            Severity.LOSES,
            f"{kind.name} does not stop at {workload.server.signal}, its stopSignal.",
            "It still serves, and is killed at the end of the grace period, with all its connections.",
            (*workload.app.path, "lifecycle", "stopSignal"),
            _better_signal(workload),
            advice="" if workload.server.better_signal else "a signal at which it stops",
        )
        return
    if kind.name == "uWSGI":
        yield Finding(
            Severity.LOSES,
            "uWSGI without --die-on-term reloads at SIGTERM instead of stopping.",
            "The pod is killed at the end of its grace period, with all its connections.",
            (*workload.app.path, "command"),
            workload.app.with_option("--die-on-term"),
            advice=f"--die-on-term, and a preStop sleep of {PROPAGATION} s",
        )
        return
    unless = _unless_it_handles("SIGTERM", kind)
    yield Finding(
        Severity.RISKS if unless else Severity.LOSES,
        f"{kind.name} as PID 1 ignores SIGTERM{unless}.",
        "It still serves, and is killed at the end of the grace period, with all its connections.",
        (*workload.app.path, "command"),
        advice=kind.instead,
    )


def _unless_it_handles(signal: str, kind: Kind) -> str:
    """Return the reservation about a program of the user's own, which may handle a signal."""
    own = kind.name == "A Python program" and signal != "SIGKILL"
    return " unless it installs a handler" if own else ""


def _better_signal(workload: Workload) -> tuple[Change, ...]:
    path = (*workload.app.path, "lifecycle", "stopSignal")
    better = workload.server.better_signal
    return (Change(path, better),) if better else ()


def stop_signal(workload: Workload) -> Iterator[Finding]:
    """stopSignal needs the feature gate ContainerStopSignals, which is off by default in Kubernetes 1.33 to
    1.35. Without it the API server drops the field, and the image's STOPSIGNAL decides.
    """
    for each in workload.containers:
        if each.stop_signal:
            yield Finding(
                Severity.UNKNOWN,
                f"Whether {each.stop_signal}, the stopSignal of {each.name}, is sent: that needs the feature "
                "gate ContainerStopSignals.",
                "Without the gate the API server drops the field, and the image's STOPSIGNAL decides.",
                (*each.path, "lifecycle", "stopSignal"),
                advice=f"STOPSIGNAL {each.stop_signal} in the Dockerfile, which needs no gate",
            )


def in_flight(workload: Workload) -> Iterator[Finding]:
    """A server that drops requests in flight at SIGTERM, or with a graceful timeout of 0, loses each that is
    longer than preStop.
    """
    known, kind, wait = workload.server, workload.server.kind, workload.wait or 0
    signal: Path = (*workload.app.path, "lifecycle", "stopSignal")
    why = (
        f"Each request that is longer than {wait:g} s is lost." if wait else "Each request in flight is lost."
    )
    if known.graceful == 0 and not known.drain:
        yield Finding(
            Severity.RISKS,
            f"{known.name or workload.app.name} has a graceful timeout of 0 s.",
            why,
            (*workload.app.path, known.setting or "args"),
            advice="a graceful timeout longer than requests take, and a grace period for it",
        )
    if known.signal == "SIGKILL":
        yield Finding(
            Severity.RISKS,
            f"SIGKILL, its stopSignal, ends {workload.app.name} at once.",
            why,
            signal,
            (Change(signal, REMOVE),),
        )
    elif kind is not None and kind.drops_in_flight and (kind.name == "uWSGI" or not kind.ignores_sigterm):
        yield Finding(
            Severity.RISKS,
            f"{kind.name} drops requests in flight at {known.stop_signal}"
            f"{_unless_it_handles(known.stop_signal, kind)}.",
            why,
            signal if known.better_signal else (*workload.app.path, "command"),
            _better_signal(workload),
            advice=""
            if known.better_signal
            else "server.shutdown=graceful"
            if kind.name == SPRING.name
            else "a server that finishes them, such as Gunicorn, Uvicorn or Granian",
        )
    elif kind is not None and kind.name == "Unicorn" and not known.signal:
        yield Finding(
            Severity.UNKNOWN,
            "Whether Unicorn finishes requests in flight: it does at SIGQUIT, and drops them at SIGTERM.",
            "The image's STOPSIGNAL decides, which cannot be seen from here.",
            signal,
            advice="STOPSIGNAL SIGQUIT in the Dockerfile",
        )
