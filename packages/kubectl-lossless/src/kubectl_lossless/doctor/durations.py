"""Durations as the settings of servers and proxies have them."""

from __future__ import annotations

import re


def seconds_of(text: str, unit: float = 1.0) -> float | None:
    """Return a duration such as 20s, 1m30s, 500ms or PT20S in seconds; `unit` is that of a number alone."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text) * unit
    found = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", text.lower().removeprefix("pt"))
    if not found or "".join(map("".join, found)) != text.lower().removeprefix("pt"):
        return None
    return sum(float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[each] for number, each in found)
