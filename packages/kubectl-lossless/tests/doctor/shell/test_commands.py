"""Commands of a script."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.shell.commands import Simple
from kubectl_lossless.doctor.shell.parser import parse


def test_functions_and_commands_of_a_script() -> None:
    script = parse("f() { a; }; if b; then c & fi; f | d")
    assert list(script.functions) == ["f"]
    assert list(parse("if a; then { f() { b; }; }; else g() { c; }; fi").functions) == ["f", "g"]
    assert [(each.name, background) for each, background in script.commands()] == [
        ("c", True),
        ("f", False),
        ("d", False),
    ]


@pytest.mark.parametrize(
    ("script", "execs"),
    [
        ("exec b", True),
        ("exec 2>&1", False),
        ("eval exec b", True),
        ("command exec b", True),
        ("b exec", False),
    ],
)
def test_command_that_replaces_the_shell(script: str, execs: bool) -> None:
    (command,) = parse(script).top
    assert isinstance(command, Simple)
    assert command.execs is execs
