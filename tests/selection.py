"""Selection of tests for `-m slow` and `-m "not slow"`, without importing the files that hold none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

SLOW_DIRECTORIES = [Path(__file__).parent / name for name in ("process", "browser", "examples", "cluster")]
"""Directories whose tests are slow, except tests that are marked fast."""


@cache
def is_slow(file: Path) -> bool:
    """Return True if the tests of a file are slow by its directory."""
    return any(file.is_relative_to(each) for each in SLOW_DIRECTORIES)


@cache
def has_exceptions(file: Path) -> bool:
    """Return True if a test of a file may be marked against its directory.

    A marker's name is in the text of each file that uses the marker; conftest.py holds that.
    """
    return ("mark.fast" if is_slow(file) else "mark.slow") in file.read_text()


def may_hold(file: Path, expression: str) -> bool:
    """Return True if a file may have tests that the expression of `-m` selects.

    Imports take most of the time of a collection, which every process of `pytest -n` repeats.
    """
    if expression not in ("slow", "not slow") or file.suffix != ".py" or not file.name.startswith("test_"):
        return True
    return is_slow(file) is (expression == "slow") or has_exceptions(file)
