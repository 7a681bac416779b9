"""Completion of command lines, by argcomplete: in bash and zsh, and behind `kubectl lossless`.

kubectl's own completion runs the program `kubectl_complete-lossless` with the words behind `kubectl
lossless`, and reads one completion a line, then a directive. The scripts of `kubectl lossless completion` are
for the name `kubectl-lossless`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shlex
from collections.abc import Mapping, Sequence

import argcomplete
from argcomplete.completers import SuppressCompleter
from argcomplete.lexers import split_line
from argcomplete.shell_integration import shellcode

from kubectl_lossless.completers import choices, complete_with

PROGRAM = "kubectl-lossless"
SHELLS = ("bash", "zsh")
NO_SPACE, NO_FILES = 2, 4
"""kubectl's directives, which are added up: no space behind a single completion, no files instead."""

ASKED = "_ARGCOMPLETE"
"""Variable with which a shell asks the program for completions: the position of the program's name."""


def parser_for(
    words: Sequence[str], commands: Mapping[str, tuple[str, str]]
) -> argparse.ArgumentParser | None:
    """Return the parser of the first word's command; without a word, a parser of the commands' names."""
    if words:
        if words[0] not in commands:
            return None
        found: argparse.ArgumentParser = importlib.import_module(commands[words[0]][0]).parser()
        return found
    all_commands = argparse.ArgumentParser(prog=PROGRAM)
    all_commands.add_argument("--version", action="store_true", help="print the version")
    subparsers = all_commands.add_subparsers()
    for name, (_, text) in commands.items():
        subparsers.add_parser(name, help=text)
    return all_commands


def respond(commands: Mapping[str, tuple[str, str]], output: io.StringIO | None = None) -> None:
    """Write the completions of COMP_LINE up to COMP_POINT to `output`, by default to the shell."""
    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    words = split_line(line, point)[3][1:]
    found = parser_for(words, commands)
    if found is None:
        return
    if words:
        os.environ[ASKED] = "2"  # the command's parser takes the command for its program
    argcomplete.autocomplete(
        found,
        always_complete_options=False,
        default_completer=SuppressCompleter(),
        output_stream=output,
        exit_method=lambda _: None,
    )


def plugin(commands: Mapping[str, tuple[str, str]], words: Sequence[str]) -> str:
    """Return the completions of the last of `words`, and the directive, as kubectl reads them."""
    *before, last = words or [""]
    line = " ".join([PROGRAM, *map(shlex.quote, before), last])
    os.environ |= {
        ASKED: "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_DFS": "\t",
        "_ARGCOMPLETE_SHELL": "kubectl",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
    }
    output = io.StringIO()
    respond(commands, output)
    found = [each.rstrip("\t") for each in output.getvalue().split("\n") if each]
    folder = bool(found) and found[0].endswith("/")
    return "\n".join([*found, f":{NO_FILES + (NO_SPACE if folder else 0)}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the script for a shell; return the exit status."""
    options = parser().parse_args(arguments)
    # Without `-o default`: names of files belong behind the options that take one, and nowhere else.
    print(shellcode([PROGRAM], shell=options.shell, complete_arguments=("-o", "nospace")))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the options of `completion`."""
    found = argparse.ArgumentParser(
        prog="kubectl lossless completion",
        description=f"Print the script that completes {PROGRAM} in a shell. `kubectl lossless` is completed "
        "by kubectl's own script (kubectl completion --help), which runs kubectl_complete-lossless.",
        epilog=f'eval "$({PROGRAM} completion bash)" in ~/.bashrc, or with zsh in ~/.zshrc behind compinit.',
    )
    complete_with(found.add_argument("shell", choices=SHELLS), choices(*SHELLS))
    return found
