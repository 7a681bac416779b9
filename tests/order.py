"""Order of the tests: the long ones first, in each of the processes that run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def long_first(tests: Sequence[T], is_long: Callable[[T], bool], jobs: int) -> list[T]:
    """Return the tests in an order in which each of the jobs begins with its share of the long ones.

    pytest's `--dist worksteal` gives each job an equal number of consecutive tests; an idle job takes over
    the last tests of another one. A long test among those would run while the other jobs have nothing to do.
    """
    long = [each for each in tests if is_long(each)]
    short = iter([each for each in tests if not is_long(each)])
    ordered: list[T] = []
    for job in range(jobs):
        share = long[job::jobs]
        size = (len(tests) - len(ordered)) // (jobs - job)
        ordered += [*share, *islice(short, max(0, size - len(share)))]
    return ordered
