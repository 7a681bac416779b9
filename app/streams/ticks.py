"""The ticks that all streams get: one for every whole second, which every pod counts alike."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

FUTURE = 5
"""Seconds by which another pod's clock may be ahead of ours."""

DIGITS = 12
"""Digits of an id that are read: more than a tick's number will have for 30,000 years."""

SHOWN = 100
"""Characters of a wrong id that are sent back."""


@dataclass(frozen=True)
class Origin:
    """Who ticks."""

    version: str
    pod: str

    def tick(self, sequence: int) -> dict[str, object]:
        """Make the tick of this number, as streams and sockets say it."""
        return {"sequence": sequence, "version": self.version, "pod": self.pod}


def now() -> int:
    """Return the present tick's sequence number: whole seconds since 1970, the same on every pod."""
    return int(time.time())


@dataclass(frozen=True)
class Resume:
    """Where a client's stream begins."""

    after: int | None = None
    """Number of the last tick that the client has; None: begin with the present one."""
    problem: str = ""
    """Why that is None although the client gave an id."""


def resume(*given: tuple[str, list[str]]) -> Resume:
    """Read the ids that a client gives: the sources by precedence, each a name and its values.

    Nothing is refused: a browser takes a refusal as final and never comes back. An empty id is none, as in
    the HTML standard. One that no tick has, such as that of an earlier service at the same address, is
    reported in the stream.
    """
    highest = now() + FUTURE
    problem = ""
    for name, values in given:
        numbers = []
        for text in filter(None, (value.strip() for value in values)):
            if text.isascii() and text.isdigit() and len(text) <= DIGITS and int(text) <= highest:
                numbers.append(int(text))
            elif not problem:
                problem = (
                    f"{name} is {text[:SHOWN]!r}; allowed is the number of a tick, up to {highest}. "
                    "The stream begins with the present tick."
                )
        if numbers:
            return Resume(max(numbers))  # a client that adds its own to an address has the later one
    return Resume(None, problem)


def dump(message: object) -> str:
    """Write JSON on one line, as streams need it."""
    return json.dumps(message, ensure_ascii=False, separators=(", ", ": "))
