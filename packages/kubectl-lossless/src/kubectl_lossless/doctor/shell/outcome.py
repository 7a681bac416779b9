"""Process that is PID 1 once a script has started its program.

Measured with dash 0.5.12, bash 5.2.15 and busybox 1.35.0 as PID 1: dash never gives its place to a command
without exec; bash gives it to the last command, unless that is redirected, or within `b && c` behind a `;`
of its line; busybox also then, and to the last one within `if`, `case`, a group or a subshell, but not where
the script ends with a newline. All of that is of `-c`: no shell gives its place to the last command of a
script that it reads from a file. No shell gives it to a command with another after it, in a pipeline, in the
background or after a trap that runs something, and bash to none of a line with a program in the background.
A trapped SIGTERM ends a `wait`, so a script that does not wait again ends then, and as PID 1 it takes the
program with it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from kubectl_lossless.doctor.shell.commands import TRIVIAL, Command, Compound, Function, Script, Simple
from kubectl_lossless.doctor.shell.last_command import given_place, only_last
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import Shell, ShellError
from kubectl_lossless.doctor.shell.traps import passes_sigterm_on


class End(enum.Enum):
    """State of PID 1 once the script has started its program."""

    REPLACED = "replaced"
    STAYS = "stays"
    FORWARDS = "forwards"  # it stays, traps SIGTERM, passes it on and waits for the program
    ENDS = "ends"  # it stays, and its trap for SIGTERM ends it before the program has ended
    LEAVES = "leaves"  # it ends at once, with its program in the background
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Outcome:
    """The shell's end, and the script's last command where that is one simple command."""

    end: End
    last: Simple | None = None
    script: Script = field(default_factory=lambda: Script([]))


Knows = Callable[[Sequence[str]], bool]
"""A function that tells whether a command line is one of a kind."""


def _never(_: Sequence[str]) -> bool:
    return False


def outcome(
    text: str, shell: Shell, works: Knows = _never, serves: Knows = _never, *, in_file: bool = False
) -> Outcome:
    """Return the process that is PID 1 after a script of `sh -c` has started its last command.

    `works`: tells whether a command line is a worker's, whose branch of a script is not the server's;
    `serves`: whether it is a known server's, whose branch is; `in_file`: the shell reads it from a file.
    """
    try:
        script = parse(text, shell)
    except (ShellError, RecursionError):
        return Outcome(End.UNCLEAR)
    functions = script.functions
    tails = list(_tails(script, functions, 0))
    tails = [each for each in tails if not _matches(each, works)] or tails
    tails = [each for each in tails if _matches(each, serves)] or tails
    if (passes_on := passes_sigterm_on(script)) is not None:
        return Outcome(End.FORWARDS if passes_on else End.ENDS, script=script)
    if _leaves(script, serves):
        return Outcome(End.LEAVES, script=script)
    servers = [each for each in _placed(script, functions) if _matches(each[0], serves)]
    left = [command for command, in_place in servers if not (in_place and command.execs)]
    behind = any(_matches(command, serves) for command, background in script.commands() if background)
    given = () if in_file else given_place(text, script, shell)
    execs = [each for each in tails if each is not None and each.execs]
    last = only_last(script)
    # A file that is read may end with exec.
    reads = any(isinstance(each, Simple) and each.name in (".", "source") for each in tails)
    if (
        (servers and not left and all(each in execs or _is_trivial(each) for each in tails))
        or (execs and all(each in execs or _only_ends(each) for each in tails))
        or (not reads and not behind and any(_holds(left, each, serves) for each in given))
    ):
        return Outcome(End.REPLACED, last, script)
    unclear = reads or (shell is Shell.OTHER and last is not None)
    return Outcome(End.UNCLEAR if unclear else End.STAYS, last, script)


def _matches(tail: Tail, knows: Knows) -> bool:
    if tail is None:
        return False
    words = [each.text for each in tail.words]
    return knows(" ".join(words[1:]).split() if tail.name == "eval" else words)


WAITING = {"wait", "sleep", "read", "eval", "."}
"""Those of TRIVIAL that may take long."""


def _leaves(script: Script, serves: Knows) -> bool:
    """Return whether a script ends at once and leaves its program in the background."""
    last = max((at for at, item in enumerate(script.items) if item.background), default=-1)
    if last < 0 or any(command.name == "wait" for command, _ in script.commands()):
        return False
    behind = [each for item in script.items[last + 1 :] for line in item.pipelines for each in line.commands]
    quick = {"", *TRIVIAL} - WAITING
    if not all(isinstance(each, Simple) and each.name in quick for each in behind):
        return False
    foreground = [each for each, background in script.commands() if not background]
    if any(_matches(each, serves) for each in foreground):
        return False
    known = any(_matches(each, serves) for each, background in script.commands() if background)
    return known or all(each.name in quick for each in foreground)


Tail = Simple | None
"""A command that the script may end with; None where it is none that could be exec'd."""


def _tails(script: Script, functions: dict[str, Command], depth: int) -> Iterator[Tail]:
    last = None
    for item in script.items:
        if all(isinstance(each, Function) for each in item.pipelines[0].commands):
            continue
        last = item
        command = item.pipelines[0].commands[0]
        # Without a condition in front, nothing after exec is reached.
        alone = len(item.pipelines) == 1 and len(item.pipelines[0].commands) == 1 and not item.background
        if alone and isinstance(command, Simple) and (command.execs or command.name in ("exit", "return")):
            break
    if last is None:
        return
    if last.background:
        yield None
        return
    for number, pipeline in enumerate(last.pipelines):
        final = number == len(last.pipelines) - 1
        if len(pipeline.commands) > 1:
            if final:
                yield None
            continue
        (command,) = pipeline.commands
        replaces = isinstance(command, Simple) and command.execs
        if final or replaces:
            yield from _tails_of(command, functions, depth)
        if replaces and number == 0:
            return  # the rest runs only where exec fails


def _tails_of(command: Command, functions: dict[str, Command], depth: int) -> Iterator[Tail]:
    if isinstance(command, Simple):
        if command.name in functions and depth < 10:
            yield from _tails_of(functions[command.name], functions, depth + 1)
        else:
            yield command
    elif isinstance(command, Compound):
        placed = (each for body in command.bodies for each in _placed(body, functions))
        execs = [each for each, in_place in placed if in_place and each.execs]
        if command.kind == "loop" and execs:
            yield from execs  # as in a loop that waits for a database
        elif command.kind in ("loop", "subshell"):
            yield None
        else:
            for body in command.bodies:
                yield from _tails(body, functions, depth)


def _is_trivial(tail: Tail) -> bool:
    """Return whether a command is one of the shell's own, and no server that nobody knows."""
    return tail is not None and tail.name in TRIVIAL


def _only_ends(tail: Tail) -> bool:
    """Return whether a command only ends the script, or prints something before its end."""
    return tail is not None and tail.name in ("exit", "return", "echo", "printf", "true", "false", ":")


def _holds(servers: Sequence[Simple], given: Sequence[Simple], serves: Knows) -> bool:
    """Return whether the commands that are given the shell's place are all of the servers that need it."""
    known = [each for each in given if _matches(each, serves)]
    return bool(known) or (bool(given) and not servers)


def _placed(
    script: Script, functions: dict[str, Command], *, in_place: bool = True, depth: int = 0
) -> Iterator[tuple[Simple, bool]]:
    """Yield the commands of a script, each with whether exec in it would replace the script's own shell."""
    for item in script.items:
        for pipeline in item.pipelines:
            alone = in_place and not item.background and len(pipeline.commands) == 1
            for command in pipeline.commands:
                called = functions.get(command.name) if isinstance(command, Simple) else None
                found = called if called is not None and depth < DEEPEST else command
                if isinstance(found, Compound):
                    here = alone and found.kind != "subshell"
                    for body in found.bodies:
                        yield from _placed(body, functions, in_place=here, depth=depth + 1)
                elif isinstance(found, Simple):
                    yield found, alone


DEEPEST = 50
"""Calls and compound commands within one another, beyond which a script is not followed."""
