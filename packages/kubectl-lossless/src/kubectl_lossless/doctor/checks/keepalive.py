"""The check of the keep-alive timeout against those of the clients and proxies in front."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.checks.controllers import CLIENTS_IDLE, HOUR, Controller, controllers
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.workload import Workload


def keepalive(workload: Workload) -> Iterator[Finding]:
    """A server must keep idle connections longer than its proxies and clients do. One that closes earlier
    does so just as a request is sent: 5 of 3,879 were lost at Gunicorn's 2 s, none at 75 s behind a proxy of
    60 s. Some proxies keep them for 90 s to 1 h, for which 75 s is too short.
    """
    app, known = workload.app, workload.server
    if workload.ways_in and app not in workload.ways_in:
        return  # the ingress talks to the proxy in the pod
    if known.keepalive is None:
        if known.file:
            yield Finding(
                Severity.UNKNOWN,
                f"How long {known.name} keeps idle connections is in {known.file} (--keepalive tells it).",
                "It must be longer than its clients and proxies keep them.",
                (*app.path, "args"),
                advice="--keep-alive 75",
            )
        return
    if known.keepalive == 0:
        return
    found = list(controllers(workload))
    for route, controller in found:
        if controller is None:
            yield Finding(
                Severity.UNKNOWN,
                "Its controller is not one of the known, so how long it keeps idle connections to "
                "pods cannot be seen.",
                f"The server closes them after {known.keepalive:g} s; the controller must be earlier.",
                ("spec",),
                advice="an idle timeout below that, in the controller's configuration",
                object=route,
            )
        elif known.keepalive <= controller.idle:
            yield Finding(
                Severity.RISKS,
                f"{controller.name} keeps an idle connection to a pod for {controller.idle:g} s, "
                f"the server closes it "
                f"after {known.keepalive:g} s.",
                f"A request that is sent in that very moment is lost. ({controller.source})",
                (*app.path, known.setting or "args"),
                _longer(workload, controller),
                advice=_words(workload, controller),
            )
    if not found and known.keepalive < CLIENTS_IDLE:
        yield Finding(
            Severity.RISKS,
            f"The server closes idle connections after {known.keepalive:g} s.",
            f"Proxies and clients keep them for {CLIENTS_IDLE:g} s and longer; a request sent in "
            f"that moment is lost.",
            (*app.path, known.setting or "args"),
            _longer(workload, None),
            advice=_words(workload, None),
        )


def _seconds(controller: Controller | None) -> int:
    return int(max(CLIENTS_IDLE, controller.idle if controller else 0)) + 15


def _longer(workload: Workload, controller: Controller | None) -> tuple[Change, ...]:
    if controller and controller.idle >= HOUR:  # too long for idle connections to a server
        return ()
    value = str(_seconds(controller))
    if workload.server.setting != "env":
        option = _option(workload)
        return workload.app.with_option(option, value) if option else ()
    entries = workload.app.spec.get("env") or []
    at = next((number for number, each in enumerate(entries) if each["name"] == "KEEPALIVE"), None)
    if at is None:
        return (Change((*workload.app.path, "env", len(entries)), {"name": "KEEPALIVE", "value": value}),)
    return (Change((*workload.app.path, "env", at, "value"), value),)


def _option(workload: Workload) -> str:
    kind = workload.server.kind
    return kind.keepalive_option if kind else "--keep-alive"


def _words(workload: Workload, controller: Controller | None) -> str:
    if controller and controller.idle >= HOUR:
        return f"{controller.change}: less than {workload.server.keepalive:g} s"
    if workload.server.setting == "env":
        return ""
    option = _option(workload)
    return (
        f"{option} {_seconds(controller)}" if option else "a longer keep-alive timeout in its configuration"
    )
