"""Changes of a script: the exec that is missing, and redirections that dash can read."""

from __future__ import annotations

from kubectl_lossless.doctor.shell.outcome import Knows, Outcome
from kubectl_lossless.doctor.shell.tokens import Shell, tokens


def with_exec(text: str, found: Outcome, serves: Knows) -> str | None:
    """Return the script with exec before its last command; None where that is not all that is needed.

    `serves`: tells whether a command line is a server's; with a second one, exec is the wrong change.
    """
    last = found.last
    if last is None or any(command.name == "trap" for command, _ in found.script.commands()):
        return None  # what a trap ignores, exec hands on to the program
    for command, background in found.script.commands():
        if command is not last and (background or serves([word.text for word in command.words])):
            return None
    if last.name in found.script.functions:
        return None
    at = last.words[0].start
    return f"{text[:at]}exec {text[at:]}"


def without_bash_redirections(text: str) -> str:
    """Return the script with `> FILE 2>&1` in place of `&> FILE`, which dash reads as `&` and `> FILE`."""
    found = tokens(text, Shell.DASH)
    for amp, arrow, file in reversed(list(zip(found, found[1:], found[2:], strict=False))):
        joined = amp.operator == "&" and arrow.operator in (">", ">>") and arrow.start == amp.start + 1
        if joined and file.word is not None:
            at, end = amp.start, file.word.end
            text = f"{text[:at]}{text[at + 1 : end]} 2>&1{text[end:]}"
    return text
