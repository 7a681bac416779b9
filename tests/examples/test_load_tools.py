"""The load generators of docs/load-tools.md, each while one instance drains and another replaces it."""

from __future__ import annotations

import shutil

import pytest

from tests.process.takeover import DRAIN
from tools.docs import load_tools
from tools.docs.load_counts import TOOLS


@pytest.mark.long
@pytest.mark.parametrize("name", TOOLS)
def test_generator_reports_no_failure_in_a_drain_but_ab_without_l(name: str) -> None:
    if not shutil.which(TOOLS[name].program):
        pytest.skip(f"needs {TOOLS[name].program}")
    count = load_tools.replaced(name, DRAIN)
    assert count.requests > 20
    assert not count.aborted
    if name == "ab":
        assert count.failed > 0, "the responses of the two versions differ in length"
    else:
        assert count.failed == 0


@pytest.mark.long
def test_generator_reports_failures_without_the_drain() -> None:
    """Show that a generator can report failures: the positive control of the runs above."""
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    assert load_tools.replaced("curl loop", {"DRAIN": "off", "GRACEFUL_TIMEOUT": 1}).failed > 0
