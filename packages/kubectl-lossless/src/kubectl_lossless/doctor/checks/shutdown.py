"""Checks of a pod's termination: preStop, drain, grace period, and the process that gets SIGTERM."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kubectl_lossless.doctor import server
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path, Severity
from kubectl_lossless.doctor.prestop import SHORTEST_WAIT, Effect
from kubectl_lossless.doctor.server import OWN_NAME
from kubectl_lossless.doctor.shell.dash import not_in_dash
from kubectl_lossless.doctor.shell.outcome import End, outcome
from kubectl_lossless.doctor.shell.remedies import with_exec, without_bash_redirections
from kubectl_lossless.doctor.shell.tokens import Shell
from kubectl_lossless.doctor.workload import DEFAULT_GRACE, POD, Container, Workload

SH = ("sh", "/bin/sh")
"""Ways to write an image's sh in a command."""

KILL_MARGIN = 2
"""Seconds between the last timeout of a stop and the SIGKILL, for the kubelet and for exiting."""

PROPAGATION = 15
"""Seconds of preStop to suggest where nothing drains: longer than endpoints take to reach every proxy."""

UNKNOWN_STOP = 10
"""Seconds that a server of which nothing is known should have between preStop and SIGKILL."""

GRACE: Path = (*POD, "terminationGracePeriodSeconds")

VERSION_OF_SLEEP = 'preStop.sleep needs Kubernetes 1.30; before that, exec: {command: [sleep, "15"]}'


BARE_VERSION_OF_SLEEP = "preStop.sleep needs Kubernetes 1.30; before that, a program in the image that waits"


def _version_of_sleep(container: Container) -> str:
    return BARE_VERSION_OF_SLEEP if container.bare else VERSION_OF_SLEEP


def settings(workload: Workload) -> Iterator[Finding]:
    """The server refuses its settings, so no new pod starts; or one is misspelt, so its default applies."""
    written = server.cannot_start(workload.app.start) if workload.app.spec.get("command") else ""
    if workload.app.bare and workload.app.start.shell is not None:
        written = f"an image of distroless has no {workload.app.start.program[0]}"
    if written:
        yield Finding(
            Severity.LOSES,
            f"The container {workload.app.name} does not start: {written}.",
            "A pod that never becomes ready stops the rollout.",
            (*workload.app.path, "command"),
            advice="a command that runs in the foreground, each word an entry of its own",
        )
    yield from _lacking_in_dash(workload.app)
    for wrong in workload.server.wrong:
        yield Finding(
            Severity.LOSES,
            f"The container {workload.app.name} does not start: {wrong}.",
            "A pod that never becomes ready stops the rollout; with maxUnavailable, or where pods "
            "are evicted, "
            "the remaining ones have to carry everything.",
            (*workload.app.path, workload.server.setting),
            advice="a value that is allowed",
        )
    for ignored in workload.server.ignored:
        yield Finding(
            Severity.ADVICE,
            f"{ignored}.",
            "A setting under another name leaves its default in force.",
            (*workload.app.path, workload.server.setting),
            advice="the name of the setting",
        )


def _lacking_in_dash(app: Container) -> Iterator[Finding]:
    """Yield a script for bash that the container gives to dash, which ends before the server has started."""
    start = app.start
    script = start.script if start.shell is Shell.DASH and app.has_dash else None
    lacking = not_in_dash(script) if script else ""
    if not lacking:
        return
    at = len(start.words) - len(start.program)
    written = app.spec.get("command") or []
    change = (
        Change((*app.path, "command", at), "/bin/bash") if at < len(written) and written[at] in SH else None
    )
    yield Finding(
        Severity.LOSES,
        f"The container {app.name} does not start: the sh of {app.image} is dash, which has no {lacking}.",
        "A pod that never becomes ready stops the rollout.",
        _script_path(app),
        (change,) if change and not start.script_file else (),
        advice="" if change and not start.script_file else "bash, which that image has too",
    )


# ---- serving on after the pod was deleted -----------------------------------------------------------


def _wait(workload: Workload) -> float | None:
    """Return how long preStop lets the server serve on; 0 without one, None where that is not known."""
    pre_stop = workload.app.pre_stop
    return 0.0 if pre_stop is None else pre_stop.wait


def serving_on(workload: Workload) -> float:
    """Return for how many seconds after the pod's deletion its servers still serve, as far as it is known."""
    return max(view.serving_on for view in workload.of_servers)


def _needs_prestop(workload: Workload) -> bool:
    """Return whether a preStop of PROPAGATION seconds is suggested."""
    wait = _wait(workload)
    known = workload.server
    if known.drain or known.name == OWN_NAME or (known.kind and known.kind.ignores_sigterm):
        return False
    return wait is not None and wait < SHORTEST_WAIT


def _needed(workload: Workload) -> float | None:
    """Return the seconds a pod needs to terminate, the suggested preStop included; None for no idea."""
    known = workload.server
    wait = PROPAGATION if _needs_prestop(workload) else _wait(workload) or 0.0
    drain = known.drain or 0.0
    if known.graceful is not None:
        return wait + drain + known.graceful + KILL_MARGIN
    if known.drain:
        return wait + drain + KILL_MARGIN
    return None


def _prestop_changes(workload: Workload) -> tuple[Change, ...]:
    """Return the changes that let the server serve on for PROPAGATION seconds, with a grace period for it."""
    changes = [Change((*workload.app.path, "lifecycle", "preStop"), {"sleep": {"seconds": PROPAGATION}})]
    needed = _needed(workload)
    if needed is None:
        needed = PROPAGATION + (UNKNOWN_STOP if workload.grace >= DEFAULT_GRACE else DEFAULT_GRACE)
    if needed >= workload.grace:
        changes.append(Change(GRACE, int(needed) + 1))
    return tuple(changes)


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


def _drain_in_process(workload: Workload) -> str:
    """Return the drain to use in the server, in words."""
    name = workload.server.name
    if name == server.TRAEFIK.name:
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


def grace_period(workload: Workload) -> Iterator[Finding]:
    """preStop, drain and graceful timeout come one after the other. Where their sum is not below
    terminationGracePeriodSeconds, the kubelet's SIGKILL cuts off requests in flight.
    """
    app, known, grace = workload.app, workload.server, workload.grace
    hook = app.pre_stop
    running = hook.seconds if hook is not None else 0.0
    parts = {"preStop": running, "drain": known.drain, "graceful timeout": known.graceful}
    total = sum(seconds or 0 for seconds in parts.values()) + KILL_MARGIN
    needed = max(_needed(workload) or 0.0, total)
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
                    int(DEFAULT_GRACE + (PROPAGATION if _needs_prestop(workload) else running or 0)) + 1,
                ),
            ),
        )
    missing = [name for name, seconds in parts.items() if seconds is None and name != "preStop"]
    if known.file and missing:
        yield Finding(
            Severity.UNKNOWN,
            f"Whether {grace:g} s are enough: the length of {' and '.join(missing)} is in {known.file}.",
            f"The budget is preStop + drain + graceful timeout + {KILL_MARGIN} s; --drain-max and "
            f"--graceful-timeout "
            "set them.",
            GRACE,
            advice="more than the sum",
        )


# ---- who gets SIGTERM -----------------------------------------------------------------------------------


def shell_entrypoint(workload: Workload) -> Iterator[Finding]:
    """A shell that started the server gets SIGTERM in its place and does not pass it on. Nothing drains;
    at the end of the grace period everything is killed.
    """
    for each in workload.plain:
        carries = each in workload.servers or each in workload.ways_in
        seen = each.observed is not None and each.observed.shell is not None
        start = each.start if each.start.outcome is not None or not seen else each.observed
        assert start is not None  # noqa: S101 - `seen` says so
        if start.outcome is None:
            if carries:
                yield from _script_in_a_file(each, start, seen)
            continue
        end = start.outcome.end
        if end in (End.REPLACED, End.FORWARDS) and not (seen and end is End.REPLACED):
            continue
        script = start.script or ""
        if not carries:
            if end is End.STAYS and not each.helper:
                yield Finding(
                    Severity.ADVICE,
                    f"PID 1 of {each.name} stays a shell: {_short(script)}",
                    "It ignores SIGTERM, so the pod terminates only when its grace period is over. "
                    "No request goes "
                    "through it.",
                    _script_path(each),
                    advice="trap TERM in the script, or exec its last command",
                )
            continue
        if end is End.UNCLEAR:
            yield Finding(
                Severity.UNKNOWN,
                f"Whether PID 1 of {each.name} stays a shell: {_short(script)}",
                "A shell that stays in front of the server swallows SIGTERM.",
                _script_path(each),
                advice="exec before the command that serves",
            )
            continue
        if end is End.LEAVES:
            yield _left_in_background(each, start)
            continue
        if end is End.ENDS:
            yield Finding(
                Severity.RISKS,
                f"PID 1 of {each.name} is a shell whose trap does not wait for the server: {_short(script)}",
                "SIGTERM ends the shell's wait, so the script: the container ends with requests in flight.",
                _script_path(each),
                advice="exec the server in place of a trap; or pass SIGTERM on in the trap, and `wait` once "
                "more behind the first",
            )
            continue
        if (
            start.script_file
            and (found := workload.config_map_of(start.files[start.script_file])) is not None
        ):
            config_map, key = found
            yield Finding(
                Severity.LOSES,
                f"PID 1 of {each.name} stays a shell: {start.script_file} starts the server without exec.",
                "SIGTERM goes to the shell, which neither exits nor forwards it; the server serves until "
                "SIGKILL ends it with all its connections.",
                ("data", key),
                advice="exec before the command that serves",
                object=config_map,
            )
            continue
        mended = _mended(each) if start is each.start else None
        written = mended is not None and _in_manifest(each)
        yield Finding(
            Severity.LOSES,
            f"PID 1 of {each.name} stays a shell: {_short(script)}",
            "SIGTERM goes to the shell, which ends at once and everything with it."
            if start.behind_init
            else "SIGTERM goes to the shell, which neither exits nor forwards it; the server serves until "
            "SIGKILL ends it with all its connections.",
            _script_path(each),
            (Change(_script_path(each), mended),) if written else (),
            advice="" if written else _in_words(start, mended),
        )


def _left_in_background(each: Container, start: server.Start) -> Finding:
    """Return the finding for a script that ends at once and leaves its server in the background."""
    text = start.script or ""
    redirects = start.shell is Shell.DASH and without_bash_redirections(text) != text
    mended = _mended(each) if redirects else None
    return Finding(
        Severity.LOSES,
        f"The script of {each.name} ends at once and leaves the server in the background: {_short(text)}",
        ("dash, the sh of Debian's images, reads `&> FILE` as `&` and `> FILE`. " if redirects else "")
        + "The container ends with its first process, so no new pod becomes ready.",
        _script_path(each),
        (Change(_script_path(each), mended),) if mended and _in_manifest(each) else (),
        advice=""
        if mended
        else "`> FILE 2>&1` in place of `&> FILE`, and exec before the command that serves"
        if redirects
        else "exec before the command that serves, and no & behind it",
    )


def _mended(each: Container) -> str | None:
    """Return the script as written, with the missing exec; None where that is not all that is needed."""
    shell, script = each.start.shell, each.start.script
    if shell is None or script is None or each.start.script_file:
        return None
    if _in_manifest(each):
        key, index = _script_path(each)[-2:]
        if isinstance(index, int):
            script = str(each.spec[str(key)][index])
    if shell is Shell.DASH:
        script = without_bash_redirections(script)
    found = outcome(script, shell, serves=server.serves)
    if found.end is End.REPLACED:
        return script
    if found.last is not None and server.stays_in_front([word.text for word in found.last.words]):
        return None
    return with_exec(script, found, server.serves)


def _in_words(start: server.Start, mended: str | None) -> str:
    """Return what to do about a script for which no change of the manifest is known."""
    if mended:
        return f"exec before the command that serves: {json.dumps(mended)}, where the image has the script"
    if start.outcome is not None and any(background for _, background in start.outcome.script.commands()):
        return "one container for each program, and exec before the command that serves"
    last = start.outcome.last if start.outcome is not None else None
    if last is not None and server.stays_in_front([word.text for word in last.words]):
        return f"exec and the server itself in place of {last.name}, which would stay in front of it too"
    return "exec before the command that serves, as the last thing that the script does"


def _in_manifest(each: Container) -> bool:
    return bool(each.spec.get("command") or each.spec.get("args"))


def _script_path(each: Container) -> Path:
    """Return where in the manifest the shell's script stands."""
    index, command = each.start.script_index, each.spec.get("command") or []
    if index is None:
        return (*each.path, "command")
    if index < len(command):
        return (*each.path, "command", index)
    return (*each.path, "args", index - len(command))


def _script_in_a_file(each: Container, start: server.Start, seen: bool) -> Iterator[Finding]:
    words = start.program
    if not words:
        return
    name = (
        next((word for word in words[1:] if not word.startswith("-")), words[0]) if start.shell else words[0]
    )
    if seen:
        yield Finding(
            Severity.LOSES,
            f"PID 1 of {each.name} is a shell: {_short(' '.join(words))}",
            "SIGTERM goes to the shell, which neither exits nor forwards it; the server serves "
            "until SIGKILL "
            "ends it with all its connections.",
            (*each.path, "command"),
            advice=f"in {name}: exec before the command that serves",
        )
    elif start.shell or name.endswith((".sh", "entrypoint", "/start", "/run")):
        yield Finding(
            Severity.UNKNOWN,
            f"Whether {name} in {each.name} ends with exec.",
            "A script that starts the server without exec stays in front of it and swallows SIGTERM.",
            (*each.path, "command"),
            advice="in the script: exec before the command that serves",
        )


def _short(script: str) -> str:
    line = " ".join(script.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


STOPWAITSECS = re.compile(r"(?m)^\s*stopwaitsecs\s*=\s*([0-9]{1,6})")
"""Stop timeout of a program of supervisord."""


def wrapper(workload: Workload) -> Iterator[Finding]:
    """A program that starts the server and stays in front of it gets SIGTERM in its place. Supervisors
    pass it on, and kill by a timeout of their own.
    """
    name = server.first_program(workload.app.start)
    waits = [int(each) for text in workload.app.start.files.values() for each in STOPWAITSECS.findall(text)]
    if name in server.SUPERVISORS and not (name == "supervisord" and waits and min(waits) > UNKNOWN_STOP):
        does, setting = server.SUPERVISORS[name]
        yield Finding(
            Severity.RISKS,
            f"{workload.app.name} is started by {name}, which has a stop timeout of its own.",
            f"It passes {does}: whatever the pod's grace period leaves, requests in flight end then.",
            (*workload.app.path, "command"),
            advice=f"{setting}; or the server itself as the command",
        )
    reason = server.wrapper(workload.app.start)
    if reason:
        yield Finding(
            Severity.LOSES,
            f"{workload.app.name} is started by {name}: {reason}.",
            "The server gets SIGTERM late or not at all, and requests in flight end with the container.",
            (*workload.app.path, "command"),
            advice="the server itself as the command",
        )


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


def _unless_it_handles(signal: str, kind: server.Kind) -> str:
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
    if workload.server.graceful == 0 and not workload.server.drain:
        wait = _wait(workload) or 0
        yield Finding(
            Severity.RISKS,
            f"{workload.server.name or workload.app.name} has a graceful timeout of 0 s.",
            f"Each request that is longer than {wait:g} s is lost."
            if wait
            else "Each request in flight is lost.",
            (*workload.app.path, workload.server.setting or "args"),
            advice="a graceful timeout longer than requests take, and a grace period for it",
        )
    known, kind, wait = workload.server, workload.server.kind, _wait(workload) or 0
    signal: Path = (*workload.app.path, "lifecycle", "stopSignal")
    why = (
        f"Each request that is longer than {wait:g} s is lost." if wait else "Each request in flight is lost."
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
            if kind.name == server.SPRING.name
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


def max_requests(workload: Workload) -> Iterator[Finding]:
    """With --max-requests a threaded worker that is recycled closes kept connections without notice. Before
    Gunicorn 27.0.1 gthread also resets requests: 190 of 8,000 were lost in 35 recycles of 23.0.0, 70 of
    27.0.0, none of 27.0.1. Uvicorn's --limit-max-requests closes them too, and without workers it ends the
    container.
    """
    kind = workload.server.kind
    if workload.server.max_requests and kind is not None and kind.max_requests_option:
        yield Finding(
            Severity.LOSES,
            f"{kind.max_requests_option} ends {kind.name} after {workload.server.max_requests:,} requests.",
            "Kept connections are closed without notice; a server without workers refuses new ones until the "
            "container has been started again.",
            (*workload.app.path, workload.server.setting),
            advice=f"remove {kind.max_requests_option}",
        )
        return
    if workload.server.max_requests:
        yield Finding(
            Severity.LOSES,
            f"--max-requests {workload.server.max_requests} closes kept connections at each recycling.",
            "What is sent at that moment is lost; before Gunicorn 27.0.1 other requests are reset too.",
            (*workload.app.path, workload.server.setting),
            workload.app.with_option("--max-requests", "0"),
            advice="--max-requests 0",
        )


def reload(workload: Workload) -> Iterator[Finding]:
    """--reload is for development: workers stop whenever a file changes, with what they serve. So are
    programs such as nodemon, which start the server again then.
    """
    name = server.first_program(workload.app.start)
    if name in server.RELOADERS:
        yield Finding(
            Severity.RISKS,
            f"{workload.app.name} is started by {name}, which is for development.",
            "A file that changes stops the server with what it serves.",
            (*workload.app.path, "command"),
            advice="the server itself as the command",
        )
    elif workload.server.reloads and not any(
        word == "--reload" for words in workload.app.start.commands for word in words
    ):
        yield Finding(
            Severity.RISKS,
            f"{workload.server.name} runs in its development mode, which reloads.",
            "A file that changes stops the server with what it serves.",
            (*workload.app.path, "command"),
            advice="`fastapi run` in place of `fastapi dev`",
        )
    elif workload.server.reloads:
        yield Finding(
            Severity.RISKS,
            f"{workload.server.name} runs with --reload, which is for development.",
            "A file that changes stops the workers with what they serve.",
            (*workload.app.path, workload.server.setting),
            workload.app.without_option("--reload"),
            advice="remove --reload",
        )


# ---- the containers of a pod -----------------------------------------------------------------------------


def plain_sidecar(workload: Workload) -> Iterator[Finding]:
    """All plain containers of a pod get SIGTERM at the same time. A proxy among them is gone while the
    server behind it still drains; as a native sidecar (an init container with restartPolicy Always) it
    outlives the server.
    """
    if len(workload.plain) < 2:
        return
    busy = serving_on(workload)
    servers = " and ".join(each.name for each in workload.servers)
    for each in workload.plain:
        in_front = each in workload.ways_in and not each.database
        if each in workload.servers or not (in_front or each.proxy):
            continue
        own_wait = each.pre_stop.wait if each.pre_stop is not None else 0.0
        if _outlasts(each) or (
            own_wait is not None and own_wait >= (SHORTEST_WAIT if in_front else max(SHORTEST_WAIT, busy))
        ):
            continue  # while its preStop lasts it serves, and so does the server behind it
        what = f"{each.name} is a plain container and stops at the same time as {servers}."
        if own_wait is None:
            serve = "serves" if len(workload.servers) == 1 else "serve"
            what = (
                f"{each.name} is a plain container, and nothing says that its preStop lasts as long as "
                f"{servers} {serve}."
            )
        yield Finding(
            Severity.LOSES if in_front and own_wait is not None else Severity.RISKS,
            what,
            "Requests come through it: those that arrive during the drain are refused."
            if in_front
            else "Requests in flight may need it until they are finished.",
            each.path,
            advice=f"move it to {'.'.join(map(str, POD))}.initContainers with restartPolicy: Always (native "
            f"sidecars need Kubernetes 1.29), or give it a preStop sleep of {int(max(busy, PROPAGATION))} s",
        )


OUTLASTS = re.compile(r"-(-max-sigterm-delay|-min-sigterm-delay|term_timeout)[ =]?(?!0(s|m)?\b)")
"""Options of the Cloud SQL proxies that let them wait for open connections."""

OUTLASTING = ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "TERMINATION_DRAIN_DURATION_SECONDS")
"""Environment variables of istio-proxy for the same."""


def _outlasts(container: Container) -> bool:
    """Return whether a proxy is set to wait for its connections at SIGTERM."""
    variables = any(container.environment.get(each, "false") not in ("false", "0") for each in OUTLASTING)
    return variables or bool(OUTLASTS.search(" ".join(container.start.words)))


INJECTED = {
    "istio-proxy": ("sidecar.istio.io/inject", ("true",), "sidecar.istio.io/nativeSidecar"),
    "linkerd-proxy": (
        "linkerd.io/inject",
        ("enabled", "ingress"),
        "config.alpha.linkerd.io/proxy-enable-native-sidecar",
    ),
}
"""Proxies that an admission webhook adds: the annotation or label that asks for it, its values, and the
annotation for a native one.
"""


def injected_proxy(workload: Workload) -> Iterator[Finding]:
    """An injected proxy is a plain container that is not in the manifest: istio-proxy drains for 5 s by
    default, whatever the server behind it needs.
    """
    marks = {**(workload.template.get("metadata") or {}).get("labels", {}), **workload.annotations}
    namespaces = {
        each.metadata_name: {**(each.metadata.get("labels") or {}), **each.annotations}
        for each in workload.others.everywhere("Namespace")
    }
    around = namespaces.get(workload.namespace, {})
    busy = serving_on(workload)
    for name, (mark, values, native) in INJECTED.items():
        if mark in marks:
            wanted = marks[mark] in values
        elif name == "istio-proxy":
            by_revision = "istio.io/rev" in {**around, **marks}
            wanted = by_revision or around.get("istio-injection") == "enabled"
        else:
            wanted = around.get(mark) in values
        if (
            not wanted
            or marks.get(native) in ("true", "enabled")
            or any(each.name == name for each in workload.containers)
        ):
            continue
        configured = (
            "terminationDrainDuration" in marks.get("proxy.istio.io/config", "")
            or "config.linkerd.io/shutdown-grace-period" in marks
        )
        zero = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS" in marks.get("proxy.istio.io/config", "")
        if configured or zero or "config.alpha.linkerd.io/proxy-wait-before-exit-seconds" in marks:
            continue
        annotations: Path = ("spec", "template", "metadata", "annotations")
        key, setting = (
            ("proxy.istio.io/config", f"terminationDrainDuration: {int(busy + server.ISTIO_DRAIN)}s")
            if name == "istio-proxy"
            else (
                "config.alpha.linkerd.io/proxy-wait-before-exit-seconds",
                str(int(busy + server.ISTIO_DRAIN)),
            )
        )
        yield Finding(
            Severity.RISKS,
            f"The injected {name} stops "
            f"{f'{server.ISTIO_DRAIN:g} s after SIGTERM' if name == 'istio-proxy' else 'at SIGTERM'}, the "
            f"server serves for up to {busy:g} s."
            if busy
            else f"The injected {name} stops at the same time as the server.",
            "Requests come through it: those that arrive later are refused. As a native sidecar it "
            "would outlive the "
            "server.",
            (*annotations, mark) if mark in workload.annotations else ("spec", "template", "metadata"),
            (Change((*annotations, key), setting),),
            advice=f'or {native}: "true" (native sidecars need Kubernetes 1.29 and a mesh that knows them)',
        )
