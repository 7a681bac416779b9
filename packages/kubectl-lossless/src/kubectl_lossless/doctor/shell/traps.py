"""Traps of a script: whether one runs something, and what one for SIGTERM does to the program."""

from __future__ import annotations

import re

from kubectl_lossless.doctor.shell.commands import TRIVIAL, Command, Compound, Script
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import ShellError, Word


def has_action(script: Script) -> bool:
    """Return whether a trap runs something; one that ignores a signal changes nothing here."""
    traps = [command for command, _ in script.commands() if command.name == "trap"]
    return any(len(each.words) < 2 or each.words[1].text not in ("", "-") for each in traps)


def passes_sigterm_on(script: Script) -> bool | None:
    """Return whether a trap passes SIGTERM on to a program, and waits for its end.

    None where the script has no trap for SIGTERM, or waits for no program.
    """
    action: Word | None = None
    waits = 0
    for command, _ in script.commands():
        words = [each.text for each in command.words]
        if words[:1] == ["trap"] and {"TERM", "SIGTERM", "15"} & set(words[2:]) and words[1] not in ("", "-"):
            action = command.words[1]
        waits += words[:1] == ["wait"]
    if action is None or not waits:
        return None
    if action.dynamic and action.text.startswith("$"):
        return True  # only the shell knows its program
    done = _names_in(action.text, script.functions)
    if done <= TRIVIAL or re.search(r"\bkill\s+(-\S+\s+)*0\b", action.text):
        return False  # it passes nothing on, or the signal comes back to the shell and ends its wait
    loops = any(isinstance(each, Compound) and each.kind == "loop" for each in script.top)
    return waits > 1 or "wait" in done or loops


def _names_in(action: str, functions: dict[str, Command]) -> set[str]:
    """Return the names of the commands that a trap runs, those in functions of the script included."""
    try:
        script = parse(action)
    except (ShellError, RecursionError):
        return {action}
    found: set[str] = set()
    for command, _ in script.commands():
        body = functions.get(command.name)
        if isinstance(body, Compound):
            found |= {each.name for part in body.bodies for each, _ in part.commands()}
        else:
            found.add(command.name)
    return found
