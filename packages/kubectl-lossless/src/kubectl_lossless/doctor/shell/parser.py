"""A parser of POSIX sh, enough for the scripts of containers.

Assignments, redirections, lists, pipelines, if, case, loops, groups and functions. It reports a
script that it cannot parse.
"""

from __future__ import annotations

from kubectl_lossless.doctor.shell.commands import Command, Compound, Function, Item, Pipeline, Script, Simple
from kubectl_lossless.doctor.shell.tokens import ASSIGNMENT, REDIRECTIONS, Shell, ShellError, Token, tokens

KEYWORDS = {
    *("if", "then", "else", "elif", "fi", "case", "esac", "in"),
    *("for", "while", "until", "do", "done", "{", "}", "!"),
}


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
