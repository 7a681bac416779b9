"""Command lines behind the programs that exec their arguments."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.command_line import program


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (["tini", "-g", "--", "a", "b"], ["a", "b"]),
        (["/usr/bin/env", "-i", "A=1", "a"], ["a"]),
        (["gosu", "www", "a"], ["a"]),
        (["uv", "run", "a"], ["a"]),
        (["dumb-init", "gosu", "x", "poetry", "run", "a"], ["a"]),
        (["a"], ["a"]),
        ([], []),
    ],
)
def test_programs_that_exec_the_rest_are_taken_off(words: list[str], rest: list[str]) -> None:
    assert program(words) == rest
