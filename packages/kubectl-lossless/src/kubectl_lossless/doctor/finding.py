"""A finding: a setting that loses requests, the reason, its place, and the change that mends it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
"""Keys and list indexes that lead to a field of an object."""


class Severity(enum.StrEnum):
    """Severity of a finding, the worst first."""

    LOSES = "loses"
    """Requests are lost in an ordinary rolling update."""
    RISKS = "risks"
    """Requests are lost in a case that will come: a long request, a busy pod, a drained node."""
    ADVICE = "advice"
    """Costs time, or matters to some."""
    UNKNOWN = "unknown"
    """Cannot be seen from here."""


class Remove(enum.Enum):
    """The value of a change that removes its field."""

    REMOVE = "remove it"


REMOVE = Remove.REMOVE


@dataclass(frozen=True)
class Change:
    """One field to set, or to remove."""

    path: Path
    value: Any


@dataclass(frozen=True)
class Finding:
    """One cause of lost requests."""

    severity: Severity
    what: str
    """The cause, a sentence."""
    why: str
    """The way in which it loses requests."""
    path: Path
    """The field that causes it, whether it is there or not."""
    changes: tuple[Change, ...] = ()
    """The changes that mend it. Empty where no change of the manifest is known to work."""
    advice: str = ""
    """Advice in words, where `changes` is empty or incomplete."""
    object: str = ""
    """Kind and name of the object that holds `path`; the workload's if empty."""
    check: str = ""
    """The check's name. `examine` fills it in."""
    file: str = ""
    line: int | None = None
    """Line in `file`, counted from 1."""
    related: tuple[str, ...] = field(default=())
    """Other objects that the finding depends on."""


def shown(path: Path) -> str:
    """Return a path as `kubectl explain` writes it, with list indexes in brackets."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            part = f'["{key}"]' if "." in key or "/" in key else key
            text += part if part.startswith("[") or not text else f".{part}"
    return text


def apply(target: Any, change: Change) -> None:
    """Apply `change` to an object in place, creating the mappings and list entries on the way."""
    *way, last = change.path
    for key, following in zip(way, change.path[1:], strict=True):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(key, int):
            while len(target) <= key:
                target.append(empty)
            target = target[key]
        else:
            if target.get(key) is None:
                target[key] = empty
            target = target[key]
    if change.value is REMOVE:
        if isinstance(last, int):
            del target[last]
        else:
            target.pop(last, None)
    elif isinstance(last, int) and last == len(target):
        target.append(change.value)
    else:
        target[last] = change.value
