"""Words of a script."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.shell.tokens import tokens


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("a 'b;c' \"d|e\" f\\ g", ["a", "b;c", "d|e", "f g"]),
        ("a $(b; c) ${d:-e f} `g h`", ["a", "$(b; c)", "${d:-e f}", "`g h`"]),
        ("a # b", ["a"]),
        ("a b#c", ["a", "b#c"]),
        ("cat <<E\nb; c\nE\nd", ["cat", "E", "d"]),
    ],
)
def test_words_are_split_as_by_a_shell(script: str, words: list[str]) -> None:
    assert [each.word.text for each in tokens(script) if each.word] == words
