"""Scripts that the parser refuses."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.shell.outcome import End, outcome
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import Shell, ShellError


@pytest.mark.parametrize(
    "script", ["b >", "b > ; c", "b >>> c", "'", "if a; then b", "b )", "a;;b", "$(", "case x in", "f( b"]
)
def test_script_that_cannot_be_parsed_is_unclear(script: str) -> None:
    with pytest.raises(ShellError):
        parse(script)
    assert outcome(script, Shell.DASH).end is End.UNCLEAR
