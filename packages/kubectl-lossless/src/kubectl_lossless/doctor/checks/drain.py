"""Checks of whether a server serves on while endpoints and proxies still list its pod."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.checks.grace_period import GRACE, PROPAGATION, UNKNOWN_STOP, seconds_needed
from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Severity
from kubectl_lossless.doctor.manifest import DEFAULT_GRACE
from kubectl_lossless.doctor.prestop import SHORTEST_WAIT, Effect
from kubectl_lossless.doctor.server.kinds import TRAEFIK
from kubectl_lossless.doctor.server.model import OWN_NAME
from kubectl_lossless.doctor.workload import Workload

VERSION_OF_SLEEP = 'preStop.sleep needs Kubernetes 1.30; before that, exec: {command: [sleep, "15"]}'

BARE_VERSION_OF_SLEEP = "preStop.sleep needs Kubernetes 1.30; before that, a program in the image that waits"


def _version_of_sleep(container: Container) -> str:
    return BARE_VERSION_OF_SLEEP if container.bare else VERSION_OF_SLEEP


def drain(workload: Workload) -> Iterator[Finding]:
    """A deleted pod gets SIGTERM while endpoints and proxies still list it. A server that stops at once
    refuses what they send; a preStop sleep bridges that, but closes kept connections without notice at its
    end. Only a drain in the process does both.
    """
    app, known = workload.app, workload.server
    if known.drain or (known.kind and known.kind.ignores_sigterm):
        return
    if workload.single_writer:
        return  # there is no other pod that requests could go to meanwhile
    if app.pre_stop is None:
        severity, what = _undrained(workload)
        own = known.name == OWN_NAME
        yield Finding(
            severity,
            what,
            "Endpoints, kube-proxy and ingress controllers are updated later. What they send until then "
            "is refused, or reset in the accept queue.",
            _own_drain(workload).path if own else (*app.path, "lifecycle", "preStop"),
            (_own_drain(workload),)
            if own
            else ()
            if severity is Severity.UNKNOWN
            else _prestop_changes(workload),
            advice=""
            if own
            else f"where it does not, a preStop sleep of {PROPAGATION} s"
            if severity is Severity.UNKNOWN
            else f"{_version_of_sleep(app)}; better: {_drain_in_process(workload)}",
        )
        return
    wait = app.pre_stop.wait
    announces = known.kind is not None and known.kind.announces_close
    if wait is None or wait < SHORTEST_WAIT or known.keepalive == 0 or announces:
        return  # `prestop` reports it, or there is no kept connection to lose
    own = known.name == OWN_NAME
    yield Finding(
        Severity.ADVICE,
        "preStop only delays the stop: at its end, kept connections are closed without notice.",
        "HTTP/1.1 has one safe way to end a connection: `Connection: close` on a response. A client "
        "that sends "
        "just as the server closes loses that request. And every pod waits the whole preStop, busy or idle.",
        _own_drain(workload).path if own else (*app.path, "lifecycle", "preStop"),
        (_own_drain(workload),) if own else (),
        advice="" if own else f"{_drain_in_process(workload)}, in place of preStop",
    )


def _prestop_changes(workload: Workload) -> tuple[Change, ...]:
    """Return the changes that let the server serve on for PROPAGATION seconds, with a grace period for it."""
    changes = [Change((*workload.app.path, "lifecycle", "preStop"), {"sleep": {"seconds": PROPAGATION}})]
    needed = seconds_needed(workload)
    if needed is None:
        needed = PROPAGATION + (UNKNOWN_STOP if workload.grace >= DEFAULT_GRACE else DEFAULT_GRACE)
    if needed >= workload.grace:
        changes.append(Change(GRACE, int(needed) + 1))
    return tuple(changes)


def _drain_in_process(workload: Workload) -> str:
    """Return the drain to use in the server, in words."""
    name = workload.server.name
    if name == TRAEFIK.name:
        return "--entrypoints.NAME.transport.lifecycle.requestacceptgracetimeout=15"
    if name == "Gunicorn":
        return "a drain in the process, gunicorn-drain's"
    return "a drain in the process, where the server has one"


def _own_drain(workload: Workload) -> Change:
    entries = workload.app.spec.get("env") or []
    at = next((number for number, each in enumerate(entries) if each["name"] == "DRAIN"), None)
    if at is None:
        return Change((*workload.app.path, "env", len(entries)), {"name": "DRAIN", "value": "on"})
    return Change((*workload.app.path, "env", at, "value"), "on")


def _undrained(workload: Workload) -> tuple[Severity, str]:
    """Return how sure it is that the server stops at once, and the sentence for it."""
    known = workload.server
    if known.name and known.drain == 0:
        who = "The service" if known.name == OWN_NAME else known.name
        return (
            Severity.LOSES,
            f"{who} stops listening at {known.stop_signal}, and no preStop holds that back.",
        )
    if known.file:
        return (
            Severity.UNKNOWN,
            f"Whether it drains is in {known.file}, which cannot be seen from here (--drain-max tells it).",
        )
    return (
        Severity.RISKS,
        f"Nothing shows that {workload.app.name} still serves after SIGTERM (set --drain-max if it does).",
    )


def prestop(workload: Workload) -> Iterator[Finding]:
    """A preStop hook helps by waiting. One that returns at once, is shorter than endpoints take, stops the
    server itself or cannot run leaves the pod as it was without one.
    """
    app, known = workload.app, workload.server
    hook = app.pre_stop
    if hook is None or known.drain or workload.single_writer:
        return
    path = (*app.path, "lifecycle", "preStop")
    if hook.wait is None:
        yield Finding(
            Severity.UNKNOWN,
            f"Whether preStop waits, and how long: {hook.reason}.",
            f"It holds SIGTERM back until it is over; {PROPAGATION} s are enough for most clusters.",
            path,
            advice="a hook whose length can be read: sleep: {seconds: 15}",
        )
    elif hook.wait < SHORTEST_WAIT:
        what = {
            Effect.RETURNS: f"preStop returns at once: {hook.reason}.",
            Effect.STOPS: f"preStop stops the server itself: {hook.reason}.",
            Effect.FAILS: f"preStop cannot run: {hook.reason}.",
        }.get(hook.effect, f"preStop waits {hook.wait:g} s, shorter than endpoints take.")
        who = "The server stops" if hook.effect is Effect.STOPS else "SIGTERM follows"
        yield Finding(
            Severity.LOSES,
            what,
            f"{who} while endpoints, kube-proxy and ingress controllers still send new connections, which "
            "are refused.",
            path,
            _prestop_changes(workload),
            advice=_version_of_sleep(app),
        )


def prestop_on_top(workload: Workload) -> Iterator[Finding]:
    """A preStop hook on top of a drain is waited for first: it adds its whole length to each pod's
    termination, and readiness does not turn false meanwhile.
    """
    app = workload.app
    if workload.server.drain and app.pre_stop is not None:
        seconds = app.pre_stop.seconds
        path = (*app.path, "lifecycle", "preStop")
        yield Finding(
            Severity.ADVICE,
            f"preStop{f' of {seconds:g} s' if seconds is not None else ''} on top of a drain of up to "
            f"{workload.server.drain:g} s.",
            "SIGTERM, with which the drain begins, comes only when preStop is over.",
            path,
            (Change(path, REMOVE),),
        )
