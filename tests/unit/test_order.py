"""Order of the tests."""

from __future__ import annotations

import pytest

from tests.order import long_first


@pytest.mark.parametrize("jobs", range(1, 10))
@pytest.mark.parametrize("tests", ["", "a", "A", "aaBBBB", "abcDefGhiJklmnOP", "ABCDEFGH", "abcdefgH"])
def test_every_test_runs_once(tests: str, jobs: int) -> None:
    assert sorted(long_first(tests, str.isupper, jobs)) == sorted(tests)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [(1, ["DHMabcefgijk"]), (2, ["DMabce", "Hfgijk"]), (4, ["Dab", "Hce", "Mfg", "ijk"])],
)
def test_each_job_begins_with_its_share_of_the_long_tests(jobs: int, expected: list[str]) -> None:
    assert "".join(long_first("abcDefgHijkM", str.isupper, jobs)) == "".join(expected)
