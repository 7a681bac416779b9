"""A container's command line: the shell, the script and the program that serves."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from kubectl_lossless.doctor.server.command_line import INITS, after_python_options, program
from kubectl_lossless.doctor.server.images import SHELLS
from kubectl_lossless.doctor.server.in_front import SUBCOMMANDS
from kubectl_lossless.doctor.server.programs import is_for_production, server_name, serves
from kubectl_lossless.doctor.server.workers import works
from kubectl_lossless.doctor.shell.commands import TRIVIAL
from kubectl_lossless.doctor.shell.outcome import End, Outcome, outcome
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import Shell, ShellError


@dataclass(frozen=True)
class Start:
    """A container's command line, with wrappers and shells taken off."""

    words: Sequence[str]
    """Command and arguments, as the container has them."""
    sh: Shell = Shell.DASH
    """The shell that is called sh in its image."""
    shared: bool = False
    """True where the pod's containers share their process namespace, or have the node's."""
    files: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Texts of the files in the container that are known, by their paths."""
    not_executable: Collection[str] = field(default=(), compare=False)
    """Paths of those that nobody may execute."""

    @cached_property
    def behind_init(self) -> bool:
        """True where another program is PID 1, so that SIGTERM ends a program without a handler."""
        first = Path(self.words[0]).name if self.words else ""
        return self.shared or first in INITS or (first == "uv" and "run" in self.words[1:2])

    @cached_property
    def program(self) -> list[str]:
        """The command line behind inits and whatever execs the rest."""
        return program(self.words)

    @cached_property
    def shell(self) -> Shell | None:
        """The shell that is started, if one is."""
        name = Path(self.program[0]).name if self.program else ""
        if self.program and self.program[0] in self.files:
            line = re.match(r"#!\s*(?:/usr/bin/env\s+(?:-\S+\s+)?)?(\S+)", self.files[self.program[0]])
            # Without the line it is a script by its name alone: others are files that a program reads.
            name = Path(line[1]).name if line else "sh" if name.endswith(".sh") else ""
        found = SHELLS.get(name)
        return self.sh if name == "sh" else found

    @cached_property
    def script_file(self) -> str:
        """The path of the script that a shell reads from a known file; "" where it reads none."""
        if self.shell is None or self.script_index is not None:
            return ""
        if self.program[0] in self.files:
            return self.program[0]
        named = next((word for word in self.program[1:] if not word.startswith("-")), "")
        return named if named in self.files else ""

    @cached_property
    def script_index(self) -> int | None:
        """Index among `words` of the script behind the shell's -c."""
        if self.shell is None:
            return None
        offset = len(self.words) - len(self.program)
        for number, word in enumerate(self.program[1:-1], 1):
            if re.fullmatch(r"-[a-z]*c[a-z]*", word):
                # Options may stand between -c and the script.
                taken = number + 1 if "o" in word else number  # -euo takes the next word, as in `pipefail`
                behind = enumerate(self.program[taken + 1 :], taken + 1)
                at = next((at for at, each in behind if not each.startswith("-")), None)
                return None if at is None else offset + at
            if not word.startswith("-") and not _takes_value(self.program[number - 1]):
                break
        return None

    @cached_property
    def script(self) -> str | None:
        """The script that a shell is given with -c, or reads from a known file."""
        if self.script_file:
            return self.files[self.script_file]
        return None if self.script_index is None else self.words[self.script_index]

    @cached_property
    def outcome(self) -> Outcome | None:
        """Outcome of that shell, or of the one that its script replaces it with."""
        return self._own_outcome if self.nested is None else self.nested.outcome

    @cached_property
    def _own_outcome(self) -> Outcome | None:
        if self.script is None or self.shell is None:
            return None
        return outcome(self.script, self.shell, works, serves, in_file=bool(self.script_file))

    @cached_property
    def nested(self) -> Start | None:
        """The shell that the script replaces its own with, as in `exec bash -c '...'`; None for no such."""
        if self._own_outcome is None or self._own_outcome.end is not End.REPLACED or not self._lines:
            return None
        return self._shell_of(self._lines[-1])

    def _shell_of(self, words: Sequence[str]) -> Start | None:
        """Return the shell that a command line starts with a script; None where only it knows the script."""
        found = replace(self, words=tuple(words))
        unknown = found.script_index is None or re.fullmatch(r"\$\S*", found.words[found.script_index])
        return None if unknown else found

    @cached_property
    def serving(self) -> list[str]:
        """The command line of the program that serves, as far as it is known."""
        if self.script is None:
            return _behind_entrypoint(self.program)
        # Of several, as in `if` and `else`, one for production; else the last, which all others come before.
        production = [words for words in self.commands if is_for_production(server_name(words))]
        others = [words for words in self.commands if words[0] not in TRIVIAL and not works(words)]
        chosen = production[:1] or others[-1:] or self.commands[-1:]
        return chosen[0] if chosen else []

    @cached_property
    def commands(self) -> list[list[str]]:
        """The command lines in the script and in those that it gives to shells, wrappers taken off."""
        if self.script is None:
            return self._lines
        shells = [(words, self._shell_of(words)) for words in self._lines]
        return [line for words, each in shells for line in (each.commands if each else [words])]

    @cached_property
    def _lines(self) -> list[list[str]]:
        """The command lines in the script itself."""
        if self.script is None:
            return [self.program]
        try:
            script = parse(self.script, self.shell or Shell.OTHER)
        except (ShellError, RecursionError):
            return []
        return [
            words
            for command, _ in script.commands()
            if command.words
            and (words := program(self._with_arguments([each.text for each in command.words])))
        ]

    @cached_property
    def first_program(self) -> str:
        """Name of the program that is PID 1, or that a script has exec'd; "" where a shell is."""
        if self.script is not None:
            replaced = self.outcome is not None and self.outcome.end is End.REPLACED
            words = self.commands[-1] if replaced and self.commands else []
        else:
            words = self.program
        if not words:
            return ""
        name = Path(words[0]).name
        if re.fullmatch(r"python[0-9.]*", name) and (rest := after_python_options(words[1:]))[:1] == ["-m"]:
            return "".join(rest[1:2]).rpartition(".")[2]
        if name == "su" and self.sh is Shell.BUSYBOX:
            return ""  # BusyBox's execs the shell
        both = " ".join([name, *words[1:2]])
        return both if both in SUBCOMMANDS else name

    @property
    def takes_work_from_a_queue(self) -> bool:
        """True for a worker or a scheduler, which serves no requests."""
        return any(map(works, self.commands))

    def _with_arguments(self, words: list[str]) -> list[str]:
        """Return a command of the script with the arguments behind the script, its $0 and $@."""
        if self.script_file:
            at = list(self.words).index(self.script_file)
            name, *rest = self.words[at:]
        else:
            name, *rest = self.words[(self.script_index or 0) + 1 :] or ("",)
        found: list[str] = []
        for word in words:
            if word in ("$@", "$*", "${@}", "${*}"):
                found += rest
            else:
                found.append(name if name and word in ("$0", "${0}") else word)
        return found or words


def _behind_entrypoint(words: list[str]) -> list[str]:
    """Return the known server's command line that an entrypoint script gets as its arguments, else all.

    Such a script ends with `exec "$@"`: `/entrypoint.sh gunicorn app:app`.
    """
    if "--" in words and not server_name(words) and serves(words[words.index("--") + 1 :]):
        return words[words.index("--") + 1 :]  # of a program that starts what it is given
    script = words[1:] if words and Path(words[0]).name in SHELLS else words
    if script and script[0].endswith(("entrypoint", ".sh")) and serves(script[1:]):
        return script[1:]
    return words


def _takes_value(word: str) -> bool:
    """Return whether a shell's option takes the next word, as -o and -eo do."""
    return bool(re.fullmatch(r"[-+][a-z]*o|--rcfile|--init-file", word))


AS_EXECUTABLE = "`defaultMode: 0755` in its volume, or the shell before it"
"""Remedy for a file of a ConfigMap that cannot be executed."""


def _only_command(start: Start) -> list[str]:
    """Return the command of a script behind -c that has one and ends as it does; [] for another script."""
    if start.script_index is None or re.search(r"[;&|!\n]", start.words[start.script_index]):
        return []
    return start.commands[0] if len(start.commands) == 1 else []


def cannot_execute(start: Start) -> str:
    """Return why a command line cannot start its file from a ConfigMap; "" for another one."""
    command = _only_command(start)
    start = replace(start, words=tuple(command)) if command else start
    first = start.words[0] if start.words else ""
    if start.program and start.program[0] in start.not_executable:
        return f"{start.program[0]} is a file of a ConfigMap that nobody may execute"
    text = start.files.get(first, "#!")
    # Shells, inits, env and others of that kind give a file without the line to sh; the kernel does not.
    if not text.startswith("#!") and not command:
        return f"{first} does not begin with #!, so the kernel cannot execute it"
    if text.partition("\n")[0].endswith("\r"):
        return f"the first line of {first} ends with a carriage return, a part of it to the kernel"
    return ""


def cannot_start(start: Start) -> str:
    """Return why a container's command line cannot run its server; "" where nothing shows that."""
    first = start.words[0] if start.words else ""
    if re.search(r"\S\s+\S", first) and "\\" not in first and not first.endswith(".exe"):
        return f"no program is called {first!r}: each word is an entry of its own, or `sh -c` reads them"
    if written := cannot_execute(start):
        return written
    if start.shell is not None:
        return ""
    joins = next((word for word in start.program[1:] if word in ("&&", "||")), "")
    if joins and not start.program[0].endswith((".sh", "entrypoint")):
        return f"{joins} is an argument of {Path(start.program[0]).name}, and no shell reads it"
    if server_name(start.serving) == "gunicorn" and {"-D", "--daemon"} & set(start.serving):
        return "--daemon puts Gunicorn in the background, and the container ends with its first process"
    return ""
