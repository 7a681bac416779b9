"""Functions that guard and chain Gunicorn's hooks, and exit if a configuration is wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from gunicorn.config import make_settings

Hook = Callable[..., Any]

logger = logging.getLogger("gunicorn.error")


def guarded(name: str, hook: Hook) -> Hook:
    """Return `hook` with its first fault logged and none raised.

    Gunicorn would end the worker, or the master with all workers, and requests must not fail because of the
    drain. SystemExit, which ends them on purpose, is raised.
    """
    has_failed = False

    @wraps(hook)  # Gunicorn counts the parameters of a hook
    def call(*arguments: Any) -> None:
        nonlocal has_failed
        try:
            hook(*arguments)
        except Exception:
            if not has_failed:
                has_failed = True
                logger.exception("The drain's %s hook failed; the service continues without it", name)

    return _named(name, call)


def chain(name: str, ours: Hook, theirs: object, *, ours_last: bool = False) -> Hook:
    """Return one hook that calls both, with the arguments of `ours`, which are all that Gunicorn passes.

    `ours_last`: call `ours` after `theirs`, even if `theirs` raises, instead of before.
    """
    if theirs is None:
        return ours
    setting = make_settings()[name]
    try:
        setting.set(theirs)  # as Gunicorn does: `theirs` may be a dotted name, and take fewer arguments
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

    return _named(name, call)


def followed_by(name: str, hook: Hook, last: Hook) -> Hook:
    """Return a hook that calls `hook` and then `last`, unless `hook` has raised."""

    @wraps(hook)
    def call(*arguments: Any) -> None:
        hook(*arguments)
        last(*arguments)

    return _named(name, call)


def _named(name: str, hook: Hook) -> Hook:
    hook.__qualname__ = f"gunicorn_drain.{name}"  # which gunicorn --print-config shows
    return hook


def refuse_to_start(sentences: str) -> NoReturn:
    """Report sentences on stderr and exit with status 2. They are the cause, which a failed reload logs."""
    for line in sentences.splitlines():
        print(f"gunicorn-drain: {line}", file=sys.stderr)
    raise SystemExit(2) from ValueError(sentences)
