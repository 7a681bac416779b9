"""The ticks that all streams get: one for every whole second, which every pod counts alike."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

FUTURE = 5
"""Seconds by which another pod's clock may be ahead of ours."""


@dataclass(frozen=True)
class Origin:
    """Who ticks."""

    version: str
    pod: str

    def tick(self, sequence: int) -> dict[str, object]:
        """Make the tick of this number, as streams and sockets say it."""
        return {"sequence": sequence, "version": self.version, "pod": self.pod}


def now() -> int:
    """Tell the present tick's sequence number: whole seconds since 1970, the same on every pod."""
    return int(time.time())


def resume_after(text: str, name: str, replay: int) -> int:
    """Read the number after which a client wants to go on; ValueError says what is allowed.

    `name` is where the text comes from, `replay` for how many seconds ticks are repeated.
    """
    present = now()
    low, high = present - replay, present + FUTURE
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise ValueError(
            f"{name} is {text!r}; allowed is the whole number of a tick from {low} to {high}: "
            f"at most {replay} s ago (STREAM_REPLAY) and {FUTURE} s ahead."
        )
    return int(text)


def dump(message: object) -> str:
    """Write JSON on one line, as streams need it."""
    return json.dumps(message, ensure_ascii=False, separators=(", ", ": "))
