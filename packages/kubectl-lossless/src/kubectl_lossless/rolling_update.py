"""maxSurge and maxUnavailable of a rolling update."""

from __future__ import annotations

import math


def amount(value: object, of: int, *, up: bool) -> int:
    """Return a number of pods, or a percentage of them as the Deployment controller rounds it."""
    if isinstance(value, str) and value.endswith("%"):
        share = of * float(value[:-1]) / 100
        return math.ceil(share) if up else math.floor(share)
    return int(str(value))
