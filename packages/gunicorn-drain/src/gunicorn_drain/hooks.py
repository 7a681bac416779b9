"""Adds hooks to a Gunicorn configuration file, and ends the process where one is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from gunicorn.config import make_settings

Hook = Callable[..., Any]


def chain(name: str, ours: Hook, theirs: object, *, ours_last: bool = False) -> Hook:
    """Return one hook that calls both; it has the arguments of `ours`, which are all that Gunicorn passes.

    `ours_last`: call ours after theirs, even if that one raises, instead of before.
    """
    if theirs is None:
        return ours
    setting = make_settings()[name]
    try:
        setting.set(theirs)  # as Gunicorn does: it may be a dotted name, and take fewer arguments
    except TypeError as error:
        raise TypeError(f"{name} is {theirs!r}, which Gunicorn does not take: {error}") from None
    other: Hook = setting.get()

    @wraps(ours)  # Gunicorn counts the parameters of a hook
    def call(*arguments: Any) -> None:
        if ours_last:
            try:
                other(*arguments)
            finally:
                ours(*arguments)
        else:
            ours(*arguments)
            other(*arguments)

    return call


def exit_with(sentences: str) -> NoReturn:
    """Report sentences on stderr and exit with status 2."""
    for line in sentences.splitlines():
        print(f"gunicorn-drain: {line}", file=sys.stderr)
    sys.exit(2)
