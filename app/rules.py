"""Rules of the settings: readers of the environment's texts, and sentences on wrong ones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gunicorn_drain.policy import DECIMAL


@dataclass(frozen=True)
class Rule:
    """Reader of a setting's text, and the allowed values to report if it raises ValueError."""

    read: Callable[[str], Any]
    allowed: str
    unit: str = ""


def _within(read: Callable[[str], float], text: str, low: float, high: float) -> float:
    value = read(text)
    if not low <= value <= high:
        raise ValueError
    return value


def _whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError
    return int(text)


def _decimal(text: str) -> float:
    if not DECIMAL.fullmatch(text):
        raise ValueError
    return float(text)


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


def count(default: int, low: int, high: int, unit: str) -> Any:
    """Create a setting that is a whole number from `low` to `high`, of `unit`."""
    rule = Rule(lambda text: _within(_whole, text, low, high), f"a whole number from {low} to {high}", unit)
    return _setting(default, rule)


def seconds(default: float, low: float, high: float) -> Any:
    """Create a setting that is a time from `low` to `high`, in seconds."""
    rule = Rule(
        lambda text: _within(_decimal, text, low, high),
        f"seconds from {low:g} to {high:g}, whole or decimal",
        "seconds",
    )
    return _setting(default, rule)


def share(default: float, high: float = 1.0) -> Any:
    """Create a setting that is a share of DRAIN_MAX, from 0 to `high`."""
    rule = Rule(
        lambda text: _within(_decimal, text, 0, high),
        f"a decimal number from 0 to {high:g}",
        "share of `DRAIN_MAX`",
    )
    return _setting(default, rule)


def choice(
    default: Any, choices: Mapping[str, Any], renamed: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Create a setting of one of `choices`. `renamed`: texts of earlier releases, and the present ones."""

    def read(text: str) -> Any:
        text = renamed.get(text, text)
        if text not in choices:
            raise ValueError
        return choices[text]

    return _setting(default, Rule(read, "one of " + ", ".join(choices)))


def text(default: str, pattern: str, allowed: str) -> Any:
    """Create a setting that is a text of `pattern`, which `allowed` describes."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return _setting(default, Rule(read, allowed))


def addresses(default: str) -> Any:
    """Create a setting that is a list of IP addresses."""

    def read(text: str) -> str:
        addresses = [each.strip().removeprefix("[").removesuffix("]") for each in text.split(",")]
        if "%" in text:  # a zone, which Gunicorn does not take
            raise ValueError
        return ",".join(dict.fromkeys(str(ipaddress.ip_address(each)) for each in addresses))

    return _setting(default, Rule(read, "IP addresses, separated by commas"))
