"""The wait of every test: for a condition, and no longer than it takes to hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

CONDITION_TIMEOUT = 60.0
"""Timeout for a condition that should hold, in seconds. Passing tests wait less."""

MAX_PAUSE = 0.1
"""Maximum pause between two checks of a condition, in seconds."""

SHARE = 0.1
"""Pause between two checks, as a share of the time waited so far.

Many checks are not free, and those of a test that waits for seconds take the processor from all others.
"""


def wait_until(
    condition: Callable[[], T | None], what: str, seconds: float = CONDITION_TIMEOUT, interval: float = 0.01
) -> T:
    """Call `condition` until its result is true; return that result.

    The first pauses are of `interval` seconds; they grow with the time waited, up to `MAX_PAUSE`.
    Raises AssertionError, which names `what`, after `seconds`. Coroutines use `asyncio.to_thread()`.
    """
    began = time.monotonic()
    while not (result := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(max(interval, min(SHARE * waited, MAX_PAUSE)))
    return result
