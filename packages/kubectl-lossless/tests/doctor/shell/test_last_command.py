"""The last command of a script."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.shell.last_command import given_place, only_last
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import Shell


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("a; b", "b"),
        ("a && b x", "b"),
        ("b &", None),
        ("b | a", None),
        ("! b", None),
        ("exec b", None),
        ("", None),
    ],
)
def test_last_command_is_a_simple_one(script: str, name: str | None) -> None:
    found = only_last(parse(script))
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("script", "shell", "names"),
    [
        ("a; b", Shell.DASH, []),
        ("a; b", Shell.BASH, [["b"]]),
        ("a; b", Shell.BUSYBOX, [["b"]]),
        ("if a; then b; else c; fi", Shell.BUSYBOX, [["b", "c"]]),
        ("if a; then b; else c; fi", Shell.BASH, []),
        ("a & b", Shell.BASH, []),
        ("a &\nb", Shell.BASH, [["b"]]),
        ("a & b", Shell.BUSYBOX, [["b"]]),
        ("trap a EXIT; b", Shell.BASH, []),
    ],
)
def test_shell_gives_its_place_to_the_last_command(script: str, shell: Shell, names: list[list[str]]) -> None:
    found = given_place(script, parse(script, shell), shell)
    assert [[each.name for each in branch] for branch in found] == names
