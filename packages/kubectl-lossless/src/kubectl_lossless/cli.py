"""The program `kubectl-lossless`, which kubectl runs as `kubectl lossless`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from kubectl_lossless import __version__

COMMANDS = {
    "measure": (
        "kubectl_lossless.measure.command",
        "roll a workload under load and report the requests that it loses, and why",
    ),
    "propagation": (
        "kubectl_lossless.measure.propagation_command",
        "measure for how long a terminating pod still gets new connections",
    ),
    "page": ("kubectl_lossless.measure.page_command", "build the page of a measurement's report.json again"),
    "doctor": (
        "kubectl_lossless.doctor.__main__",
        "report what in a workload loses requests in a rolling update, and why",
    ),
    "completion": (
        "kubectl_lossless.completion",
        "print the script that completes this program in bash or zsh",
    ),
}
"""Subcommands: the module whose main() takes their arguments, and a line of help. Imported when run."""

CANNOT = 2
"""Exit status of a command line that names no subcommand."""


def usage() -> str:
    """Return the help text."""
    lines = "\n".join(f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: kubectl lossless COMMAND [ARGUMENT ...]\n\n"
        "Find the requests that a rolling update loses, and the lines that lose them.\n\n"
        f"commands:\n{lines}\n\n"
        "`kubectl lossless COMMAND --help` lists a command's arguments; --version prints the version."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    if "_ARGCOMPLETE" in os.environ and arguments is None:  # a shell asks; argcomplete is imported only then
        from kubectl_lossless.completion import respond

        respond(COMMANDS)
        return 0
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["-h"], ["--help"], ["help"]):
        print(usage())
        return 0
    if words[:1] == ["--version"]:
        print(f"kubectl-lossless {__version__}")
        return 0
    if not words or words[0] not in COMMANDS:
        said = f"The command is {words[0]!r}" if words else "No command is given"
        print(f"{said}; allowed are: {', '.join(COMMANDS)}\n\n{usage()}", file=sys.stderr)
        return CANNOT
    module, _ = COMMANDS[words[0]]
    return int(importlib.import_module(module).main(words[1:]))


def main_plugin() -> int:
    """Complete for kubectl: the program `kubectl_complete-lossless`."""
    from kubectl_lossless.completion import plugin

    print(plugin(COMMANDS, sys.argv[1:]))
    return 0
