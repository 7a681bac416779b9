"""The last command of a script, and whether a shell gives its place to it without exec."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.shell.commands import TRIVIAL, Command, Function, Script, Simple
from kubectl_lossless.doctor.shell.tokens import Shell
from kubectl_lossless.doctor.shell.traps import has_action


def only_last(script: Script) -> Simple | None:
    """Return the simple command at a script's end, if exec before it would leave nothing else behind."""
    if not script.items or script.items[-1].background:
        return None
    pipelines = script.items[-1].pipelines
    if len(pipelines[-1].commands) > 1 or pipelines[-1].negated:
        return None
    command = pipelines[-1].commands[0]
    if not isinstance(command, Simple) or not command.words or command.name in TRIVIAL | {"exec", "time"}:
        return None
    return command


def given_place(text: str, script: Script, shell: Shell) -> Iterator[list[Simple]]:
    """Yield the commands at a script's end, one of each branch, that a shell gives its place to unasked."""
    if has_action(script):
        return
    if shell is Shell.BUSYBOX and not text.endswith("\n"):
        yield _last_of_busybox(script, script.functions)
    last = only_last(script)
    if shell is Shell.BASH and last is not None and last.name not in script.functions and not last.redirected:
        start = max((at for at, item in enumerate(script.items) if item.on_new_line), default=0)
        line = script.items[start:]
        # Of a line such as `a; b && c` the list at the end keeps bash in front, and so does `a &`.
        if (len(line) == 1 or len(line[-1].pipelines) == 1) and not any(item.background for item in line):
            yield [last]


def _last_of_busybox(script: Script, functions: dict[str, Command]) -> list[Simple]:
    """Return the commands that busybox gives its place to at a script's end, also within `if` and `case`."""
    if not script.items or script.items[-1].background:
        return []
    pipeline = script.items[-1].pipelines[-1]
    command = pipeline.commands[0]
    if len(pipeline.commands) > 1 or pipeline.negated or isinstance(command, Function):
        return []
    if isinstance(command, Simple):
        quick = command.name in (TRIVIAL | {"time"} | functions.keys())
        takes_place = command.execs or (command.words and command.name != "exec" and not quick)
        return [command] if takes_place else []
    if command.kind == "loop" or (command.redirected and command.kind == "group"):
        return []
    return [each for body in command.bodies for each in _last_of_busybox(body, functions)]
