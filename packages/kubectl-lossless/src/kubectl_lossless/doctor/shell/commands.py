"""Commands of a script, as its parser yields them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kubectl_lossless.doctor.shell.tokens import Word

TRIVIAL = {
    *(":", "true", "false", "wait", "echo", "exit", "return", "cd", "set", "export", "unset", "trap"),
    *("sleep", "read", "printf", "shift", "umask", "eval", "."),
}
"""Commands that are no server: the shell's own, and sleep."""


@dataclass
class Simple:
    """A simple command."""

    assignments: list[Word] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    redirected: bool = False

    @property
    def name(self) -> str:
        """The program's name, "" for assignments alone."""
        return self.words[0].text if self.words else ""

    @property
    def execs(self) -> bool:
        """True for exec with a program, which replaces the shell."""
        rest = " ".join(each.text for each in self.words[1:])
        evaluated = self.name in ("eval", "command", "builtin") and rest.startswith("exec ")
        return evaluated or (self.name == "exec" and len(self.words) > 1)


@dataclass
class Compound:
    """A compound command: the lists of which one runs last, or a loop or subshell."""

    kind: str
    bodies: list[Script]
    redirected: bool = False
    conditions: list[Script] = field(default_factory=list)
    """Of `if`, one for each body but that of `else`; of `while` and `until`, one."""
    until: bool = False


@dataclass
class Function:
    """A function's definition."""

    name: str
    body: Command


Command = Simple | Compound | Function


@dataclass
class Pipeline:
    """Commands joined by `|`."""

    commands: list[Command]
    negated: bool = False


@dataclass
class Item:
    """An and-or list, and whether it runs in the background."""

    pipelines: list[Pipeline]
    background: bool = False
    operators: list[str] = field(default_factory=list)
    """`&&` or `||` in front of each pipeline but the first."""
    on_new_line: bool = False
    """True where a line break, and not `;` or `&`, separates it from the one before."""


@dataclass
class Script:
    """A list of commands."""

    items: list[Item]

    @property
    def top(self) -> Iterator[Command]:
        """Its commands that are in no other one."""
        for item in self.items:
            for pipeline in item.pipelines:
                yield from pipeline.commands

    @property
    def functions(self) -> dict[str, Command]:
        """Bodies of the functions that it defines, also within groups and branches, by their names."""
        return dict(self._functions())

    def _functions(self) -> Iterator[tuple[str, Command]]:
        for each in self.top:
            if isinstance(each, Function):
                yield each.name, each.body
            elif isinstance(each, Compound):
                for body in each.bodies:
                    yield from body._functions()

    def commands(self) -> Iterator[tuple[Simple, bool]]:
        """Yield every simple command outside of functions, and whether it runs in the background."""
        for item in self.items:
            for pipeline in item.pipelines:
                for command in pipeline.commands:
                    if isinstance(command, Simple):
                        yield command, item.background
                    elif isinstance(command, Compound):
                        for body in command.bodies:
                            for simple, background in body.commands():
                                yield simple, background or item.background
