"""How a pod leaves: preStop, drain, grace period, and who gets SIGTERM."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

from doctor import server
from doctor.finding import Finding, Severity
from doctor.server import OWN_NAME
from doctor.subject import POD, Container, Subject

MARGIN = 2
"""Seconds left for the kubelet and for exiting."""

PROPAGATION = 15
"""Seconds of preStop to suggest where nothing drains: longer than endpoints take to reach every proxy."""


def settings(subject: Subject) -> Iterator[Finding]:
    """The server refuses its settings, so no new pod starts; or one is misspelt, so its default applies."""
    for wrong in subject.server.wrong:
        yield Finding(
            Severity.LOSES,
            f"The container {subject.app.name} does not start: {wrong}.",
            "A pod that never gets ready stops the rollout; with maxUnavailable, or where pods are evicted, "
            "what is left has to carry everything.",
            f"{subject.app.path}.{subject.server.setting}",
            "a value that is allowed",
        )
    for sentence in subject.server.without_effect:
        yield Finding(
            Severity.ADVICE,
            f"{sentence}.",
            "The service starts and logs a warning; what the variable should change keeps its default.",
            f"{subject.app.path}.{subject.server.setting}",
            "the name of a setting",
        )


def drain(subject: Subject) -> Iterator[Finding]:
    """When a pod is deleted, SIGTERM and the news that it leaves set out at the same time. A server that
    stops at once refuses what proxies still send it; a preStop sleep bridges that, but then kept
    connections are closed without notice. Only a drain in the process does both.
    """
    app, known = subject.app, subject.server
    path, value = _remedy(subject)
    if known.drain:
        return
    if app.pre_stop is None:
        yield Finding(
            *_undrained(subject),
            "Endpoints, kube-proxy and ingress controllers learn later that the pod leaves. What they still "
            "send is refused, or reset in the accept queue.",
            path,
            value,
        )
    elif known.drain == 0 or not known.name:
        own = known.name == OWN_NAME
        yield Finding(
            Severity.RISKS if known.name else Severity.ADVICE,
            "preStop only puts the stop off: at its end, kept connections are closed without notice.",
            "HTTP/1.1 has one safe way to end a connection: `Connection: close` on an answer. A client that "
            "sends just as the server closes loses that request. And every pod waits the whole preStop, "
            "busy or idle.",
            path if own else app.path,
            value if own else "a drain in the process in place of preStop: docs/adopt.md",
        )


def _undrained(subject: Subject) -> tuple[Severity, str]:
    """How sure it is that the server stops at once, and the sentence that says so."""
    known = subject.server
    if known.name and known.drain == 0:
        who = "The service" if known.name == OWN_NAME else known.name
        return Severity.LOSES, f"{who} stops listening at SIGTERM, and no preStop holds that back."
    if known.file:
        return (
            Severity.UNKNOWN,
            f"Whether it drains is in {known.file}, which cannot be seen from here (--drain-max tells it).",
        )
    return (
        Severity.RISKS,
        f"Nothing says that {subject.app.name} goes on serving after SIGTERM (--drain-max tells if it does).",
    )


def _remedy(subject: Subject) -> tuple[str, str]:
    if subject.server.name == OWN_NAME:
        return f"{subject.app.path}.env[DRAIN].value", '"on"'
    return (
        f"{subject.app.path}.lifecycle.preStop",
        f"sleep: {{seconds: {PROPAGATION}}}   # better: docs/adopt.md",
    )


def prestop_on_top(subject: Subject) -> Iterator[Finding]:
    """A preStop hook on top of a drain is waited for first: it adds its whole length to each pod's leave, and
    readiness does not turn false meanwhile."""
    app = subject.app
    if subject.server.drain and app.pre_stop is not None:
        seconds = app.pre_stop_seconds
        yield Finding(
            Severity.ADVICE,
            f"preStop{f' of {seconds:g} s' if seconds is not None else ''} on top of a drain of up to "
            f"{subject.server.drain:g} s.",
            "SIGTERM, with which the drain begins, comes only when preStop is over.",
            f"{app.path}.lifecycle.preStop",
            "remove it",
        )


def grace_period(subject: Subject) -> Iterator[Finding]:
    """preStop, drain and graceful timeout come one after the other. Where their sum is not below
    terminationGracePeriodSeconds, the kubelet's SIGKILL cuts off requests in flight."""
    app, known = subject.app, subject.server
    parts = {"preStop": app.pre_stop_seconds, "drain": known.drain, "graceful timeout": known.graceful}
    if known.drain is None and known.name != "Gunicorn":
        parts["drain"] = 0.0  # what is not known is taken for nothing; the check `drain` says so
    needed = sum(seconds or 0 for seconds in parts.values()) + MARGIN
    terms = " + ".join(f"{name} {seconds:g} s" for name, seconds in parts.items() if seconds)
    if needed >= subject.grace:
        yield Finding(
            Severity.RISKS,
            f"{terms or 'Nothing'} + {MARGIN} s margin is {needed:g} s; the pod is killed after "
            f"{subject.grace:g} s.",
            "SIGKILL cannot be handled: requests still in flight then are cut off.",
            f"{POD}.terminationGracePeriodSeconds",
            f"{needed + 1:.0f}",
        )
    missing = [name for name, seconds in parts.items() if seconds is None]
    if missing and (known.name or app.pre_stop is not None):
        where = f" (in {known.file})" if known.file and missing != ["preStop"] else ""
        yield Finding(
            Severity.UNKNOWN,
            f"Whether {subject.grace:g} s are enough: the length of {' and '.join(missing)} is not "
            f"known{where}.",
            "The budget is preStop + drain + graceful timeout + 2 s; --drain-max and --graceful-timeout "
            "tell it.",
            f"{POD}.terminationGracePeriodSeconds",
            "more than the sum",
        )


def shell_entrypoint(subject: Subject) -> Iterator[Finding]:
    """A shell that started the server gets SIGTERM in its place and does not pass it on. Nothing drains;
    at the end of the grace period everything is killed.
    """
    for each in subject.containers:
        seen = each.first_process
        script = server.shell_script(seen or each.command or ())
        if script is None:
            if each is subject.app and not seen and _is_script(each):
                yield Finding(
                    Severity.UNKNOWN,
                    f"Whether {shlex.join((each.command or ())[:1])} in {each.name} ends with exec.",
                    "A script that starts the server without exec stays in front of it and swallows SIGTERM.",
                    f"{each.path}.command",
                    "in the script: exec gunicorn ...",
                )
            continue
        stays = True if seen else server.stays(script)
        if stays is False:
            continue
        yield Finding(
            Severity.ADVICE if stays is None else Severity.LOSES,
            f"PID 1 of {each.name} {'is' if seen else 'may be' if stays is None else 'stays'} a shell: "
            f"{_short(script)}",
            "Whether a shell gives its place to its only command depends on which it is; exec makes it sure."
            if stays is None
            else "SIGTERM goes to the shell, which neither ends nor passes it on; the server serves on, "
            "and SIGKILL "
            "ends it with all its connections.",
            f"{each.path}.command",
            _exec_form(script),
        )


def _is_script(each: Container) -> bool:
    command = server.program(each.command or ())
    return bool(command) and command[0].endswith((".sh", "entrypoint", "docker-entrypoint"))


def _short(script: str) -> str:
    line = " ".join(script.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def _exec_form(script: str) -> str:
    """The same with exec before what comes last."""
    found = re.fullmatch(r"(.*(?:&&|;|\n)\s*)?(.+?)[\s;]*", script.strip(), re.DOTALL)
    before, last = (found[1] or "", found[2]) if found else ("", script)
    return json.dumps(["sh", "-c", f"{before}exec {last}"])


def max_requests(subject: Subject) -> Iterator[Finding]:
    """With --max-requests a threaded worker that recycles closes kept connections and resets what waits
    for it, without any update: 13 of 2,248 requests were lost at 250.
    """
    if subject.server.max_requests:
        yield Finding(
            Severity.LOSES,
            f"--max-requests {subject.server.max_requests} loses requests each time a worker is recycled.",
            "The worker stops as at SIGTERM, while everything goes on sending to it.",
            f"{subject.app.path}.{subject.server.setting}",
            "--max-requests 0",
        )


def plain_sidecar(subject: Subject) -> Iterator[Finding]:
    """All plain containers of a pod get SIGTERM at the same time. A proxy among them is gone while the
    server behind it still drains; as a native sidecar (an init container with restartPolicy Always) it
    outlives the server.
    """
    if len([each for each in subject.containers if not each.sidecar]) < 2:
        return
    for each in subject.containers:
        if each.sidecar or each is subject.app:
            continue
        in_front = each is subject.way_in
        if in_front or each.proxy:
            yield Finding(
                Severity.LOSES if in_front else Severity.RISKS,
                f"{each.name} is a plain container and stops at the same time as {subject.app.name}.",
                "Requests come through it: what arrives during the drain finds nobody."
                if in_front
                else "Requests in flight may need it until they are answered.",
                each.path,
                f"move it to {POD}.initContainers with restartPolicy: Always",
            )
