"""app/worker.py: what waits. tests/process has the worker at work."""

from __future__ import annotations

from typing import Any

from app.worker import Waiting


def test_waiting_keeps_the_order_and_gives_up_from_the_middle() -> None:
    first, second, third = (any_connection(n) for n in "abc")
    waiting = Waiting()
    for each in (first, second, third):
        waiting.append(each)
    waiting.remove(second)
    assert list(waiting) == [first, third]
    assert (waiting[0], waiting.popleft(), len(waiting)) == (first, first, 1)


def test_waiting_finds_a_connection_without_comparing_it_to_the_others() -> None:
    comparisons = 0

    class Compared:
        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return self is other

        __hash__ = object.__hash__

    connections: list[Any] = [Compared() for _ in range(1000)]
    waiting = Waiting()
    for each in connections:
        waiting.append(each)
    for each in reversed(connections):
        waiting.remove(each)
    assert (len(waiting), comparisons) == (0, 0)


def any_connection(name: str) -> Any:
    return type(name, (), {})()
