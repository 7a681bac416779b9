"""Checks of the process that gets SIGTERM in the place of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kubectl_lossless.doctor.checks.grace_period import UNKNOWN_STOP
from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.server.in_front import SUPERVISORS, WRAPPERS, stays_in_front
from kubectl_lossless.doctor.server.programs import serves
from kubectl_lossless.doctor.server.start import Start
from kubectl_lossless.doctor.shell.outcome import End, outcome
from kubectl_lossless.doctor.shell.remedies import with_exec, without_bash_redirections
from kubectl_lossless.doctor.shell.tokens import Shell
from kubectl_lossless.doctor.workload import Workload

NOT_FORWARDED = (
    "SIGTERM goes to the shell, which neither exits nor forwards it; the server serves until SIGKILL ends it "
    "with all its connections."
)


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
        elif start.outcome.end is End.FORWARDS or (start.outcome.end is End.REPLACED and not seen):
            continue
        elif carries:
            yield _in_front_of_a_server(workload, each, start)
        elif start.outcome.end is End.STAYS and not each.helper:
            yield Finding(
                Severity.ADVICE,
                f"PID 1 of {each.name} stays a shell: {_short(start.script or '')}",
                "It ignores SIGTERM, so the pod terminates only when its grace period is over. No request "
                "goes through it.",
                each.script_path,
                advice="trap TERM in the script, or exec its last command",
            )


def _in_front_of_a_server(workload: Workload, each: Container, start: Start) -> Finding:
    """Return the finding for a shell that is not replaced by its server."""
    script, end = start.script or "", start.outcome.end if start.outcome is not None else None
    if end is End.UNCLEAR:
        return Finding(
            Severity.UNKNOWN,
            f"Whether PID 1 of {each.name} stays a shell: {_short(script)}",
            "A shell that stays in front of the server swallows SIGTERM.",
            each.script_path,
            advice="exec before the command that serves",
        )
    if end is End.LEAVES:
        return _left_in_background(each, start)
    if end is End.ENDS:
        return Finding(
            Severity.RISKS,
            f"PID 1 of {each.name} is a shell whose trap does not wait for the server: {_short(script)}",
            "SIGTERM ends the shell's wait, so the script: the container ends with requests in flight.",
            each.script_path,
            advice="exec the server in place of a trap; or pass SIGTERM on in the trap, and `wait` once "
            "more behind the first",
        )
    mapped = workload.config_maps.key_of(start.files[start.script_file]) if start.script_file else None
    if mapped is not None:
        config_map, key = mapped
        return Finding(
            Severity.LOSES,
            f"PID 1 of {each.name} stays a shell: {start.script_file} starts the server without exec.",
            NOT_FORWARDED,
            ("data", key),
            advice="exec before the command that serves",
            object=config_map,
        )
    mended = _mended(each) if start is each.start else None
    written = mended is not None and _in_manifest(each)
    return Finding(
        Severity.LOSES,
        f"PID 1 of {each.name} stays a shell: {_short(script)}",
        "SIGTERM goes to the shell, which ends at once and everything with it."
        if start.behind_init
        else NOT_FORWARDED,
        each.script_path,
        (Change(each.script_path, mended),) if written else (),
        advice="" if written else _in_words(start, mended),
    )


def _left_in_background(each: Container, start: Start) -> Finding:
    """Return the finding for a script that ends at once and leaves its server in the background."""
    text = start.script or ""
    redirects = start.shell is Shell.DASH and without_bash_redirections(text) != text
    mended = _mended(each) if redirects else None
    return Finding(
        Severity.LOSES,
        f"The script of {each.name} ends at once and leaves the server in the background: {_short(text)}",
        ("dash, the sh of Debian's images, reads `&> FILE` as `&` and `> FILE`. " if redirects else "")
        + "The container ends with its first process, so no new pod becomes ready.",
        each.script_path,
        (Change(each.script_path, mended),) if mended and _in_manifest(each) else (),
        advice=""
        if mended
        else "`> FILE 2>&1` in place of `&> FILE`, and exec before the command that serves"
        if redirects
        else "exec before the command that serves, and no & behind it",
    )


def _mended(each: Container) -> str | None:
    """Return the script as written, with the missing exec; None where that is not all that is needed."""
    shell, script = each.start.shell, each.start.script
    if shell is None or script is None or each.start.script_file or each.start.nested is not None:
        return None
    if _in_manifest(each):
        key, index = each.script_path[-2:]
        if isinstance(index, int):
            script = str(each.spec[str(key)][index])
    if shell is Shell.DASH:
        script = without_bash_redirections(script)
    found = outcome(script, shell, serves=serves)
    if found.end is End.REPLACED:
        return script
    if found.last is not None and stays_in_front([word.text for word in found.last.words]):
        return None
    return with_exec(script, found, serves)


def _in_words(start: Start, mended: str | None) -> str:
    """Return what to do about a script for which no change of the manifest is known."""
    if mended:
        return f"exec before the command that serves: {json.dumps(mended)}, where the image has the script"
    if start.outcome is not None and any(background for _, background in start.outcome.script.commands()):
        return "one container for each program, and exec before the command that serves"
    last = start.outcome.last if start.outcome is not None else None
    if last is not None and stays_in_front([word.text for word in last.words]):
        return f"exec and the server itself in place of {last.name}, which would stay in front of it too"
    return "exec before the command that serves, as the last thing that the script does"


def _in_manifest(each: Container) -> bool:
    return bool(each.spec.get("command") or each.spec.get("args"))


def _script_in_a_file(each: Container, start: Start, seen: bool) -> Iterator[Finding]:
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
            NOT_FORWARDED,
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
    name = workload.app.start.first_program
    waits = [int(each) for text in workload.app.start.files.values() for each in STOPWAITSECS.findall(text)]
    if name in SUPERVISORS and not (name == "supervisord" and waits and min(waits) > UNKNOWN_STOP):
        does, setting = SUPERVISORS[name]
        yield Finding(
            Severity.RISKS,
            f"{workload.app.name} is started by {name}, which has a stop timeout of its own.",
            f"It passes {does}: whatever the pod's grace period leaves, requests in flight end then.",
            (*workload.app.path, "command"),
            advice=f"{setting}; or the server itself as the command",
        )
    reason = WRAPPERS.get(name, "")
    if reason:
        yield Finding(
            Severity.LOSES,
            f"{workload.app.name} is started by {name}: {reason}.",
            "The server gets SIGTERM late or not at all, and requests in flight end with the container.",
            (*workload.app.path, "command"),
            advice="the server itself as the command",
        )
