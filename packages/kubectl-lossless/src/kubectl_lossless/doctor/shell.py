"""Which process is PID 1 once a shell's script has started its program, and the exec that is missing.

A tokenizer and a small parser of POSIX sh, enough for the scripts of containers: quotes, continuations,
comments, here-documents, assignments, redirections, lists, pipelines, if, case, loops, groups and functions.
It reports a script that it cannot parse.

Measured with dash 0.5.12, bash 5.2.15 and busybox 1.35.0 as PID 1: dash never gives its place to a command
without exec; bash gives it to the last command, unless that is redirected, or within `b && c` behind a `;`
of its line; busybox also then, and to the last one within `if`, `case`, a group or a subshell, but not where
the script ends with a newline. No shell gives it to a command with another after it, in a pipeline, in the
background or after a trap that runs something. A trapped SIGTERM ends a `wait`, so a script that does not
wait again ends then, and as PID 1 it takes the program with it. bash and busybox redirect by `a &> file`;
dash reads `a &` and `> file`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

OPERATORS = ("<<-", "<<<", "&&", "||", ";;", "<<", ">>", "<&", ">&", "<>", ">|", *";&|()<>")
REDIRECTIONS = {"<<-", "<<<", "<<", ">>", "<&", ">&", "&>", "&>>", "<>", ">|", "<", ">"}
KEYWORDS = {
    "if",
    "then",
    "else",
    "elif",
    "fi",
    "do",
    "done",
    "case",
    "esac",
    "while",
    "until",
    "for",
    "{",
    "}",
    "in",
    "!",
}
TRIVIAL = {
    *(
        ":",
        "true",
        "false",
        "wait",
        "echo",
        "exit",
        "return",
        "cd",
        "set",
        "export",
        "unset",
        "trap",
        "sleep",
    ),
    *("read", "printf", "shift", "umask", "eval", "."),
}
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


class End(enum.Enum):
    """State of PID 1 once the script has started its program."""

    REPLACED = "replaced"
    STAYS = "stays"
    FORWARDS = "forwards"  # it stays, traps SIGTERM, passes it on and waits for the program
    ENDS = "ends"  # it stays, and its trap for SIGTERM ends it before the program has ended
    LEAVES = "leaves"  # it ends at once, with its program in the background
    UNCLEAR = "unclear"


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
    def start(self) -> int:
        """Offset of its first word in the script."""
        return (self.assignments or self.words)[0].start


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


# ---- tokens ---------------------------------------------------------------------------------------------


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
            end = _expansion(script, at) if char in "$`" else at + 1
            text.append(script[at:end])
            dynamic = dynamic or end > at + 1
            at = end
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
            end = _expansion(script, at) if char in "$`" else at + 1
            text.append(script[at:end])
            dynamic = dynamic or end > at + 1
            at = end
    raise ShellError("a quote that does not end")


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


# ---- the parser -----------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, script: str, shell: Shell) -> None:
        self.tokens = tokens(script, shell)
        self.at = 0

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def operator(self) -> str:
        found = self.peek()
        return found.operator if found else ""

    def keyword(self) -> str:
        found = self.peek()
        if found is None or found.word is None or found.word.quoted or found.word.dynamic:
            return ""
        return found.word.text

    def expect(self, *keywords: str) -> str:
        found = self.keyword()
        if found not in keywords:
            raise ShellError(f"no {' or '.join(keywords)}")
        self.at += 1
        return found

    def skip_newlines(self) -> bool:
        """Skip line breaks and `;`; return whether there was a line break."""
        start = self.at
        while self.operator() in ("\n", ";"):
            self.at += 1
        return any(each.operator == "\n" for each in self.tokens[start : self.at])

    def script(self, *ends: str) -> Script:
        items: list[Item] = []
        on_new_line = self.skip_newlines()
        while self.peek() is not None and self.keyword() not in ends and self.operator() not in ends:
            item = Item([self.pipeline()], on_new_line=on_new_line)
            while (operator := self.operator()) in ("&&", "||"):
                item.operators.append(operator)
                self.at += 1
                self.skip_newlines()
                item.pipelines.append(self.pipeline())
            if self.operator() == "&":
                item.background = True
                self.at += 1
            elif (
                self.peek() is not None and self.operator() not in ("\n", ";") and self.operator() not in ends
            ):
                raise ShellError(f"{self.operator() or self.keyword()!r} where a command ends")
            items.append(item)
            on_new_line = self.skip_newlines()
        return Script(items)

    def pipeline(self) -> Pipeline:
        negated = False
        while self.keyword() == "!":
            negated = not negated
            self.at += 1
        commands = [self.command()]
        while self.operator() in ("|", "|&"):
            self.at += 1
            self.skip_newlines()
            commands.append(self.command())
        return Pipeline(commands, negated)

    def redirection(self) -> None:
        self.at += 1
        found = self.peek()
        if found is None or found.word is None:
            raise ShellError("no file behind a redirection")
        self.at += 1

    def command(self) -> Command:
        word = self.keyword()
        if word == "function":
            return self.function_of_bash()
        found: Command
        if word == "if":
            found = self.conditional()
        elif word in ("while", "until"):
            self.at += 1
            condition = self.script("do")
            found = self.loop()
            found.conditions, found.until = [condition], word == "until"
        elif word == "for":
            self.at += 1
            while self.peek() is not None and self.keyword() != "do":
                self.at += 1
            found = self.loop()
        elif word == "case":
            found = self.case()
        elif word == "{":
            self.at += 1
            found = Compound("group", [self.script("}")])
            self.expect("}")
        elif self.operator() == "(":
            self.at += 1
            found = Compound("subshell", [self.script(")")])
            if self.operator() != ")":
                raise ShellError("no )")
            self.at += 1
        elif word in KEYWORDS:
            raise ShellError(f"{word!r} where a command begins")
        else:
            return self.simple()
        assert isinstance(found, Compound)  # noqa: S101 - for the type checker
        while self.operator() in REDIRECTIONS:
            found.redirected = True
            self.redirection()
        return found

    def conditional(self) -> Compound:
        conditions: list[Script] = []
        bodies: list[Script] = []
        self.at += 1
        while True:
            conditions.append(self.script("then"))
            self.expect("then")
            bodies.append(self.script("elif", "else", "fi"))
            word = self.expect("elif", "else", "fi")
            if word == "else":
                bodies.append(self.script("fi"))
                self.expect("fi")
            if word != "elif":
                return Compound("if", bodies, conditions=conditions)

    def loop(self) -> Compound:
        self.expect("do")
        body = self.script("done")
        self.expect("done")
        return Compound("loop", [body])

    def case(self) -> Compound:
        bodies: list[Script] = []
        self.at += 2
        self.skip_newlines()
        self.expect("in")
        self.skip_newlines()
        while self.keyword() != "esac":
            while self.operator() != ")":
                if self.peek() is None:
                    raise ShellError("no esac")
                self.at += 1
            self.at += 1
            bodies.append(self.script(";;", "esac"))
            if self.operator() == ";;":
                self.at += 1
            self.skip_newlines()
        self.at += 1
        return Compound("case", bodies)

    def simple(self) -> Command:
        found = Simple()
        while (token := self.peek()) is not None:
            if token.operator in REDIRECTIONS:
                found.redirected = True
                self.redirection()
            elif token.operator == "(" and len(found.words) == 1 and not found.assignments:
                return self.function(found.name)
            elif token.word is None:
                break
            else:
                self.at += 1
                assigns = not found.words and ASSIGNMENT.match(token.word.text)
                (found.assignments if assigns else found.words).append(token.word)
        if not found.words and not found.assignments and not found.redirected:
            raise ShellError(f"{self.operator()!r} where a command begins")
        return found

    def function_of_bash(self) -> Function:
        self.at += 1
        name = self.keyword()
        self.at += 1
        if self.operator() == "(":
            return self.function(name)
        self.skip_newlines()
        return Function(name, self.command())

    def function(self, name: str) -> Function:
        self.at += 1
        if self.operator() != ")":
            raise ShellError("no )")
        self.at += 1
        self.skip_newlines()
        return Function(name, self.command())


def parse(script: str, shell: Shell = Shell.BASH) -> Script:
    """Parse a script as a shell does. Raises ShellError."""
    parser = _Parser(script, shell)
    found = parser.script()
    if parser.peek() is not None:
        raise ShellError(f"{parser.operator() or parser.keyword()!r} is not expected")
    return found


# ---- PID 1 after the script ------------------------------------------------------------------------------


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


def outcome(text: str, shell: Shell, works: Knows = _never, serves: Knows = _never) -> Outcome:
    """Return the process that is PID 1 after a script of `sh -c` has started its last command.

    `works`: tells whether a command line is a worker's, whose branch of a script is not the server's;
    `serves`: whether it is a known server's, whose branch is.
    """
    try:
        script = parse(text, shell)
    except (ShellError, RecursionError):
        return Outcome(End.UNCLEAR)
    functions = {
        command.name: command.body
        for item in script.items
        for pipeline in item.pipelines
        for command in pipeline.commands
        if isinstance(command, Function)
    }
    tails = list(_tails(script, functions, 0))
    tails = [each for each in tails if not _is(each, works)] or tails
    tails = [each for each in tails if _is(each, serves)] or tails
    if (trapped := _trapped(script, functions)) is not None:
        return Outcome(trapped, script=script)
    if _leaves(script, serves):
        return Outcome(End.LEAVES, script=script)
    servers = [each for each in _placed(script, functions) if _is(each[0], serves)]
    left = [command for command, in_place in servers if not (in_place and _execs(command))]
    execs = [each for each in tails if _execs(each)]
    last = _only_last(script)
    # A file that is read may end with exec.
    reads = any(isinstance(each, Simple) and each.name in (".", "source") for each in tails)
    if (
        (servers and not left and all(_execs(each) or _is_trivial(each) for each in tails))
        or (execs and all(_execs(each) or _only_ends(each) for each in tails))
        or (
            not reads
            and any(_holds(left, each, serves) for each in _given_place(text, script, functions, shell))
        )
    ):
        return Outcome(End.REPLACED, last, script)
    unclear = reads or (shell is Shell.OTHER and last is not None)
    return Outcome(End.UNCLEAR if unclear else End.STAYS, last, script)


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
    if any(_is(each, serves) for each in foreground):
        return False
    known = any(_is(each, serves) for each, background in script.commands() if background)
    return known or all(each.name in quick for each in foreground)


Tail = Simple | str
"""A command that the script may end with; a text where it is none that could be exec'd."""


def _tails(script: Script, functions: dict[str, Command], depth: int) -> Iterator[Tail]:
    last = None
    for item in script.items:
        if all(isinstance(each, Function) for each in item.pipelines[0].commands):
            continue
        last = item
        command = item.pipelines[0].commands[0]
        # Without a condition in front, nothing after exec is reached.
        alone = len(item.pipelines) == 1 and len(item.pipelines[0].commands) == 1 and not item.background
        if alone and isinstance(command, Simple) and (_execs(command) or command.name in ("exit", "return")):
            break
    if last is None:
        return
    if last.background:
        yield "background"
        return
    for number, pipeline in enumerate(last.pipelines):
        final = number == len(last.pipelines) - 1
        if len(pipeline.commands) > 1:
            if final:
                yield "pipeline"
            continue
        (command,) = pipeline.commands
        replaces = isinstance(command, Simple) and _execs(command)
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
        execs = [each for each, in_place in placed if in_place and _execs(each)]
        if command.kind == "loop" and execs:
            yield from execs  # as in a loop that waits for a database
        elif command.kind in ("loop", "subshell"):
            yield command.kind
        else:
            for body in command.bodies:
                yield from _tails(body, functions, depth)


def _is(tail: Tail, knows: Knows) -> bool:
    if isinstance(tail, str):
        return False
    words = [each.text for each in tail.words]
    return knows(" ".join(words[1:]).split() if tail.name == "eval" else words)


def _execs(tail: Tail) -> bool:
    """Return whether a command is exec with a program, which replaces the shell."""
    if isinstance(tail, str):
        return False
    rest = " ".join(each.text for each in tail.words[1:])
    evaluated = tail.name in ("eval", "command", "builtin") and rest.startswith("exec ")
    return evaluated or (tail.name == "exec" and len(tail.words) > 1)


def _is_trivial(tail: Tail) -> bool:
    """Return whether a command is one of the shell's own, and no server that nobody knows."""
    return not isinstance(tail, str) and tail.name in TRIVIAL


def _only_ends(tail: Tail) -> bool:
    """Return whether a command only ends the script, or prints something before its end."""
    return not isinstance(tail, str) and tail.name in (
        "exit",
        "return",
        "echo",
        "printf",
        "true",
        "false",
        ":",
    )


def _trapped(script: Script, functions: dict[str, Command]) -> End | None:
    """Return the effect of a trap for SIGTERM while the script waits for a program; None without both."""
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
        return End.FORWARDS  # only the shell knows its program
    done = _names_in(action.text, functions)
    if done <= TRIVIAL or re.search(r"\bkill\s+(-\S+\s+)*0\b", action.text):
        return End.ENDS  # it passes nothing on, or the signal comes back to the shell and ends its wait
    loops = any(isinstance(each, Compound) and each.kind == "loop" for each in all_commands(script))
    return End.FORWARDS if waits > 1 or "wait" in done or loops else End.ENDS


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


def _only_last(script: Script) -> Simple | None:
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


def _given_place(
    text: str, script: Script, functions: dict[str, Command], shell: Shell
) -> Iterator[list[Simple]]:
    """Yield the commands at a script's end, one of each branch, that a shell gives its place to unasked."""
    if _traps(script) or any(item.background for item in script.items):
        return
    if shell is Shell.BUSYBOX and not text.endswith("\n"):
        yield _last_of_busybox(script, functions)
    last = _only_last(script)
    if shell is Shell.BASH and last is not None and last.name not in functions and not last.redirected:
        # Of a line such as `a; b && c` the list at the end keeps bash in front.
        end = script.items[-1]
        if len(script.items) == 1 or end.on_new_line or len(end.pipelines) == 1:
            yield [last]


def _holds(servers: Sequence[Simple], given: Sequence[Simple], serves: Knows) -> bool:
    """Return whether the commands that are given the shell's place are all of the servers that need it."""
    known = [each for each in given if _is(each, serves)]
    return bool(known) or (bool(given) and not servers)


def _traps(script: Script) -> bool:
    """Return whether a trap runs something; one that ignores a signal changes nothing here."""
    traps = [command for command, _ in script.commands() if command.name == "trap"]
    return any(len(each.words) < 2 or each.words[1].text not in ("", "-") for each in traps)


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
        return (
            [command] if _execs(command) or (command.words and command.name != "exec" and not quick) else []
        )
    if command.kind == "loop" or (command.redirected and command.kind == "group"):
        return []
    return [each for body in command.bodies for each in _last_of_busybox(body, functions)]


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
    if any(isinstance(each, Function) and each.name == last.name for each in all_commands(found.script)):
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


def all_commands(script: Script) -> Iterator[Command]:
    """Yield the commands at the top level of a script."""
    for item in script.items:
        for pipeline in item.pipelines:
            yield from pipeline.commands


def not_in_dash(text: str) -> str:
    """Return what in a script ends dash before the script's program is started; "" for nothing."""
    try:
        return next(_not_in_dash(text), "")
    except (ShellError, RecursionError):
        return ""


def _not_in_dash(text: str) -> Iterator[str]:
    for token in tokens(text):
        word = "" if token.word is None or token.word.quoted else token.word.text
        if token.operator in ("<<<", "|&"):
            yield token.operator
        elif word.startswith(("<(", ">(")):
            yield f"{word[:2]})"
        elif (assigned := ASSIGNMENT.match(word)) and word.startswith("(", assigned.end()):
            yield "arrays"
    strict = False
    for item in parse(text).items:
        for pipeline, operator in zip_longest(item.pipelines, item.operators):
            command = pipeline.commands[0]
            name, *rest = [each.text for each in command.words] if isinstance(command, Simple) else [""]
            if name == "set" and "pipefail" in rest:
                yield "pipefail (up to 0.5.12)"
            strict = strict or (name == "set" and any(re.match(r"-\w*e", each) for each in rest))
            if name == "source" and (operator == "&&" or (strict and operator != "||")):
                yield "source"


# ---- the commands that are reached -----------------------------------------------------------------------


class Status(enum.Enum):
    """Exit status of a command, as far as its name shows it."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    UNKNOWN = "unknown"
    EXITS = "exits"  # it ends the script


STATUS = {
    ":": Status.SUCCEEDS,
    "true": Status.SUCCEEDS,
    "echo": Status.SUCCEEDS,
    "set": Status.SUCCEEDS,
    "trap": Status.SUCCEEDS,
    "false": Status.FAILS,
    "exit": Status.EXITS,
}
DURATION = re.compile(r"[0-9]+(\.[0-9]+)?[smhd]?")
"""Argument with which sleep succeeds."""

OPPOSITE = {Status.SUCCEEDS: Status.FAILS, Status.FAILS: Status.SUCCEEDS}
SKIPS = {"&&": Status.FAILS, "||": Status.SUCCEEDS}
"""Status of the command before an operator with which the one behind it is not run."""


def reached(script: Script) -> Script:
    """Return the script without the commands that never run: behind `exit`, or `false &&`."""
    return _reached(script)[0]


def _reached(script: Script) -> tuple[Script, Status]:
    found, status = Script([]), Status.SUCCEEDS
    for item in script.items:
        kept, status = _reached_in_item(item)
        found.items.append(kept)
        if status is Status.EXITS:
            break
    return found, status


def _reached_in_item(item: Item) -> tuple[Item, Status]:
    found = Item([], item.background)
    status = Status.UNKNOWN
    for operator, pipeline in zip(("", *item.operators), item.pipelines, strict=True):
        if operator and status is SKIPS[operator]:
            continue
        certain = not operator or status is not Status.UNKNOWN
        kept, status = _reached_in_pipeline(pipeline)
        if found.pipelines:
            found.operators.append(operator)
        found.pipelines.append(kept)
        if not certain and status is not SKIPS[operator]:
            status = Status.UNKNOWN
        if status is Status.EXITS:
            break
    return found, Status.SUCCEEDS if item.background else status


def _reached_in_pipeline(pipeline: Pipeline) -> tuple[Pipeline, Status]:
    if len(pipeline.commands) > 1:
        return pipeline, Status.UNKNOWN
    command, status = _reached_in_command(pipeline.commands[0])
    return Pipeline([command], pipeline.negated), OPPOSITE.get(status, status) if pipeline.negated else status


def _status(command: Simple) -> Status:
    if command.name == "sleep" and all(DURATION.fullmatch(each.text) for each in command.words[1:]):
        return Status.SUCCEEDS
    return Status.EXITS if _execs(command) else STATUS.get(command.name, Status.UNKNOWN)


def _reached_in_command(command: Command) -> tuple[Command, Status]:
    if isinstance(command, Function):
        return command, Status.SUCCEEDS
    if isinstance(command, Simple):
        return command, _status(command)
    if command.kind == "if":
        return _reached_in_if(command)
    if command.kind == "loop" and command.conditions:
        _, status = _reached(command.conditions[0])
        if status is (Status.SUCCEEDS if command.until else Status.FAILS):
            return Compound("group", []), Status.SUCCEEDS
    if command.kind not in ("group", "subshell"):
        return command, Status.UNKNOWN
    body, status = _reached(command.bodies[0])
    ends_alone = command.kind == "subshell" and status is Status.EXITS
    return Compound(command.kind, [body], command.redirected), Status.UNKNOWN if ends_alone else status


def _reached_in_if(command: Compound) -> tuple[Command, Status]:
    bodies = []
    for body, condition in zip_longest(command.bodies, command.conditions):
        status = _reached(condition)[1] if condition is not None else Status.SUCCEEDS
        if status is not Status.FAILS:
            bodies.append(_reached(body))
        if status is Status.SUCCEEDS:
            break
    else:
        status = Status.UNKNOWN
    kept = [body for body, _ in bodies]
    if not kept:
        return Compound("group", []), Status.SUCCEEDS
    if len(kept) == 1 and status is Status.SUCCEEDS:
        return Compound("group", kept, command.redirected), bodies[0][1]
    return Compound("if", kept, command.redirected), Status.UNKNOWN
