"""Rules of the settings: readers of the environment's texts, and sentences on wrong ones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gunicorn_drain.policy import DECIMAL

WHOLE = re.compile("[0-9]{1,9}")
"""Pattern of a whole number."""

BRACKETED = re.compile(r"\[([^\[\]]*:[^\[\]]*)\]")
"""Pattern of an IPv6 address as a URL has it."""


@dataclass(frozen=True)
class Rule:
    """Reader of a setting's text, and the allowed values to report if it raises ValueError."""

    read: Callable[[str], Any]
    allowed: str
    unit: str = ""


def _setting(default: Any, read: Callable[[str], Any], allowed: str, unit: str = "") -> Any:
    return field(default=default, metadata={"rule": Rule(read, allowed, unit)})


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """Return a reader of whole or decimal numbers from `low` to `high`."""
    pattern = WHOLE if kind is int else DECIMAL

    def read(text: str) -> float:
        if not pattern.fullmatch(text) or not low <= (value := kind(text)) <= high:
            raise ValueError
        return value

    return read


def count(default: int, low: int, high: int, unit: str) -> Any:
    """Create a setting that is a whole number from `low` to `high`, of `unit`."""
    return _setting(default, _number(int, low, high), f"a whole number from {low} to {high}", unit)


def seconds(default: float, low: float, high: float) -> Any:
    """Create a setting that is a time from `low` to `high`, in seconds."""
    allowed = f"seconds from {low:g} to {high:g}, whole or decimal"
    return _setting(default, _number(float, low, high), allowed, "seconds")


def share(default: float, high: float = 1.0) -> Any:
    """Create a setting that is a share of DRAIN_MAX, from 0 to `high`."""
    allowed = f"a decimal number from 0 to {high:g}"
    return _setting(default, _number(float, 0, high), allowed, "share of `DRAIN_MAX`")


def choice(
    default: Any, choices: Mapping[str, Any], renamed: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Create a setting of one of `choices`. `renamed`: texts of earlier releases, and the present ones."""

    def read(text: str) -> Any:
        text = renamed.get(text, text)
        if text not in choices:
            raise ValueError
        return choices[text]

    return _setting(default, read, "one of " + ", ".join(choices))


def text(default: str, pattern: str, allowed: str) -> Any:
    """Create a setting that is a text of `pattern`, which `allowed` describes."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return _setting(default, read, allowed)


def addresses(default: str) -> Any:
    """Create a setting that is a list of IP addresses."""

    def read(text: str) -> str:
        if "%" in text:  # a zone, which Gunicorn does not take
            raise ValueError
        addresses = [BRACKETED.sub(r"\1", each.strip()) for each in text.split(",")]
        return ",".join(dict.fromkeys(str(ipaddress.ip_address(each)) for each in addresses))

    return _setting(default, read, "IP addresses, separated by commas")
