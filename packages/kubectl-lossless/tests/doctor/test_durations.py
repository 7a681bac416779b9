"""Durations of servers and proxies."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("PT20S", 20),
        ("7", 7),
        ("1.5h", 5400),
        ("", None),
        ("s", None),
    ],
)
def test_duration_in_seconds(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_number_alone_has_the_unit_that_is_asked_for() -> None:
    assert seconds_of("20000", unit=0.001) == 20
    assert seconds_of("20s", unit=0.001) == 20
