"""Numbers of pods in a rolling update."""

from __future__ import annotations

import pytest

from kubectl_lossless.rolling_update import amount


@pytest.mark.parametrize(
    ("value", "of", "up", "pods"),
    [("25%", 3, False, 0), ("25%", 3, True, 1), (2, 3, True, 2), ("100%", 3, False, 3)],
)
def test_percentage_is_rounded_as_by_the_controller(value: object, of: int, up: bool, pods: int) -> None:
    assert amount(value, of, up=up) == pods
