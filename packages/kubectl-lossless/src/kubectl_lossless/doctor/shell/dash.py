"""Parts of a script that dash lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from kubectl_lossless.doctor.shell.commands import Simple
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.tokens import ASSIGNMENT, ShellError, tokens


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
