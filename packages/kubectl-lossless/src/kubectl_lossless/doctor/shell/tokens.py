"""Words and operators of a script: quotes, continuations, comments, expansions and here-documents.

bash and busybox redirect by `a &> file`; dash reads `a &` and `> file`.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

OPERATORS = ("<<-", "<<<", "&&", "||", ";;", "<<", ">>", "<&", ">&", "<>", ">|", *";&|()<>")

REDIRECTIONS = {"<<-", "<<<", "<<", ">>", "<&", ">&", "&>", "&>>", "<>", ">|", "<", ">"}

ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[^]=]*\])?\+?=")


class ShellError(Exception):
    """The script is not one that this module can parse."""


class Shell(enum.Enum):
    """A shell by how it treats its last command."""

    DASH = "dash"
    BASH = "bash"
    BUSYBOX = "busybox"
    OTHER = "another shell"


MORE_OPERATORS = {Shell.DASH: (), Shell.BUSYBOX: ("&>",)}
"""Operators of these shells in addition to those of POSIX."""

OF_BASH = ("&>>", "&>", "|&")
"""Those of all others."""


@dataclass(frozen=True)
class Word:
    """A word: its value, and whether the shell has still to expand something in it."""

    text: str
    start: int
    end: int
    dynamic: bool = False
    quoted: bool = False


@dataclass(frozen=True)
class Token:
    """An operator or, if `word` is set, a word."""

    operator: str
    word: Word | None = None
    start: int = 0
    """Offset of an operator in the script."""


def tokens(script: str, shell: Shell = Shell.BASH) -> list[Token]:
    """Split a script into words and operators. Raises ShellError."""
    operators = (*MORE_OPERATORS.get(shell, OF_BASH), *OPERATORS)
    found: list[Token] = []
    pending: list[tuple[str, bool]] = []  # here-documents whose text comes after this line
    at, length = 0, len(script)
    while at < length:
        char = script[at]
        if script.startswith("\\\n", at):
            at += 2
        elif char in " \t\r":
            at += 1
        elif char == "#":
            at = _line_end(script, at)
        elif char == "\n":
            found.append(Token("\n"))
            at += 1
            for mark, tabs in pending:
                at = _skip_here_document(script, at, mark, tabs)
            pending.clear()
        elif script.startswith(("<(", ">("), at):  # a process substitution of bash
            end = _balanced(script, at + 2, "(", ")")
            found.append(Token("", Word(script[at:end], at, end, dynamic=True)))
            at = end
        elif operator := next((each for each in operators if script.startswith(each, at)), None):
            found.append(Token(operator, start=at))
            at += len(operator)
        else:
            word = _word(script, at)
            at = word.end
            before = found[-1].operator if found else ""
            if before in ("<<", "<<-"):
                pending.append((word.text, before == "<<-"))
            following = script[at : at + 1]
            if word.text.isdigit() and not word.quoted and following in ("<", ">"):
                continue  # the number of a redirection
            found.append(Token("", word))
    return found


def _line_end(script: str, at: int) -> int:
    end = script.find("\n", at)
    return len(script) if end < 0 else end


def _skip_here_document(script: str, at: int, mark: str, tabs: bool) -> int:
    while at < len(script):
        end = _line_end(script, at)
        line = script[at:end]
        at = min(end + 1, len(script))
        if (line.lstrip("\t") if tabs else line) == mark:
            break
    return at


def _word(script: str, start: int) -> Word:
    text: list[str] = []
    at, dynamic, quoted = start, False, False
    while at < len(script):
        char = script[at]
        if char == "(" and ASSIGNMENT.fullmatch("".join(text)):  # an array of bash
            end = _balanced(script, at + 1, "(", ")")
            text.append(script[at:end])
            at, dynamic = end, True
            continue
        if char in " \t\r\n;&|<>()":
            break
        if char == "'":
            end = script.find("'", at + 1)
            if end < 0:
                raise ShellError("a quote that does not end")
            text.append(script[at + 1 : end])
            at, quoted = end + 1, True
        elif char == '"':
            at, part, expands = _double_quoted(script, at + 1)
            text.append(part)
            dynamic, quoted = dynamic or expands, True
        elif char == "\\":
            if at + 1 < len(script) and script[at + 1] != "\n":
                text.append(script[at + 1])
            at += 2
        else:
            end, expands = _character(script, at)
            text.append(script[at:end])
            at, dynamic = end, dynamic or expands
    return Word("".join(text), start, min(at, len(script)), dynamic, quoted)


def _double_quoted(script: str, at: int) -> tuple[int, str, bool]:
    text: list[str] = []
    dynamic = False
    while at < len(script):
        char = script[at]
        if char == '"':
            return at + 1, "".join(text), dynamic
        if char == "\\" and at + 1 < len(script):
            if script[at + 1] not in '$`"\\\n':
                text.append("\\")
            if script[at + 1] != "\n":
                text.append(script[at + 1])
            at += 2
        else:
            end, expands = _character(script, at)
            text.append(script[at:end])
            at, dynamic = end, dynamic or expands
    raise ShellError("a quote that does not end")


def _character(script: str, at: int) -> tuple[int, bool]:
    """Return the end of the character or expansion that begins at `at`, and whether it is an expansion."""
    end = _expansion(script, at) if script[at] in "$`" else at + 1
    return end, end > at + 1


def _expansion(script: str, at: int) -> int:
    """Return the end of the expansion that begins at `at`."""
    if script[at] == "`":
        end = script.find("`", at + 1)
        if end < 0:
            raise ShellError("a backquote that does not end")
        return end + 1
    for opening, closing in (("${", "}"), ("$(", ")")):
        if script.startswith(opening, at):
            return _balanced(script, at + 2, opening[1], closing)
    name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]").match(script, at + 1)
    return name.end() if name else at + 1


def _balanced(script: str, at: int, opening: str, closing: str) -> int:
    depth = 1
    while at < len(script):
        char = script[at]
        if char == "\\":
            at += 1
        elif char == "'":
            end = script.find("'", at + 1)
            at = end if end > 0 else len(script)
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    raise ShellError(f"{opening} that does not end")
