"""The wait of every test: for a condition, and no longer than it takes to hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

CONDITION_TIMEOUT = 60.0
"""Timeout for a condition that should hold, in seconds. Passing tests wait less."""


def wait_until(
    condition: Callable[[], T | None], what: str, seconds: float = CONDITION_TIMEOUT, interval: float = 0.01
) -> T:
    """Call `condition` every `interval` seconds until its result is true; return that result.

    Raises AssertionError, which names `what`, after `seconds`. Coroutines use `asyncio.to_thread()`.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(interval)
    return result
