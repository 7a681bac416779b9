"""Files that a selection of slow or fast tests leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selection import may_hold

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "slow", "fast"),
    [
        ("process/test_stops.py", True, False),
        ("process/test_delay.py", True, True),  # marked fast
        ("unit/test_order.py", False, True),
        ("unit/test_hostile_input.py", True, True),  # one of its tests is marked slow
        ("process/service.py", True, True),  # no file of tests
        ("process", True, True),
    ],
)
def test_file_that_may_have_a_selected_test_is_collected(file: str, slow: bool, fast: bool) -> None:
    assert may_hold(TESTS / file, "slow") is slow
    assert may_hold(TESTS / file, "not slow") is fast
    for other in ("", "slow and not cluster", "not cluster"):
        assert may_hold(TESTS / file, other)
