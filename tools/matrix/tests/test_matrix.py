"""Tables of the matrix, and the comparison's meter on real servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.matrix.__main__ import (
    PYTHONS,
    VERSIONS,
    MissingPythonError,
    UnknownPairError,
    exists,
    interpreter,
    replace_block,
    selected,
    table,
)
from tools.matrix.compare import APPROACHES, Approach, Outcome, compare, comparison_table, drained

HELD, FAILED = {"drain": "", "SIGHUP": ""}, {"drain": "AssertionError: 3 lost", "SIGHUP": ""}


def test_cell_names_the_pythons_and_the_failed_scenarios() -> None:
    results = {
        ("27.0.1", "gthread", "3.11"): HELD,
        ("27.0.1", "gthread", "3.12"): HELD,
        ("27.0.1", "gthread", "3.13"): FAILED,
        ("27.0.1", "sync", "3.11"): FAILED,
    }
    lines = table(results).splitlines()
    assert lines[0] == "| Gunicorn | 20.1.0 | 21.2.0 | 22.0.0 | 23.0.0 | 25.3.0 | 26.2.0 | 27.0.1 |"
    assert lines[2] == "| gthread |" + " - |" * 6 + " 3.11, 3.12; not with 3.13: drain |"
    assert lines[3] == "| sync |" + " - |" * 6 + " not with 3.11: drain |"


def test_older_gunicorn_runs_on_the_oldest_python_only() -> None:
    assert exists("23.0.0", "gthread", "3.11")
    assert exists("23.0.0", "gthread", "3.13")
    assert not exists("23.0.0", "gthread", "3.14")
    assert not exists("22.0.0", "gthread", "3.12")
    assert exists("27.0.1", "gthread", "3.13")
    assert not exists("23.0.0", "asgi", "3.11")


def test_pair_is_selected_with_and_without_a_python() -> None:
    assert selected(["27.0.1/sync"]) == [("27.0.1", "sync", version) for version in PYTHONS]
    assert selected(["27.0.1/sync/3.12"]) == [("27.0.1", "sync", "3.12")]
    assert {version for version, _, _ in selected([])} == set(VERSIONS)


@pytest.mark.parametrize("name", ["26.2.0/uvicorn", "27.0.1/eventlet", "22.0.0/gthread/3.12", "27.0.1"])
def test_pair_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(UnknownPairError, match=rf"--only {name}: there is no such pair; allowed is"):
        selected(["27.0.1/sync", name])


def test_missing_python_is_named() -> None:
    with pytest.raises(MissingPythonError, match=r"Python 3\.0 is not installed"):
        interpreter("3.0")


def test_block_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x -->\n\nold\n\n<!-- end of x -->\nafter\n")
    replace_block(page, "x", "new\n")
    assert page.read_text() == "before\n<!-- x -->\n\nnew\n\n<!-- end of x -->\nafter\n"


def test_comparison_names_rollouts_that_were_killed() -> None:
    approach = Approach("nothing", "a server", ())
    outcome = Outcome(requests=1200, lost=3, unannounced=2, killed=1, seconds=[2.0, 30.0, 4.0])
    assert comparison_table([outcome], [approach]).splitlines()[2] == (
        "| nothing | a server | 3 | 1,200 | 2 | 4.0 s, killed 1 of 3 times |"
    )


def test_drained_outcomes_belong_to_the_drain() -> None:
    outcomes = [Outcome(requests=number) for number, _ in enumerate(APPROACHES)]
    names = [APPROACHES[each.requests].name for each in drained(outcomes)]
    assert names == ["**gunicorn-drain**", "**gunicorn-drain**"]


@pytest.mark.long
@pytest.mark.slow
def test_meter_observes_losses_without_the_drain_only() -> None:
    nothing = APPROACHES[0]
    (drain,) = (each for each in APPROACHES if each.drains and "gthread" in each.server)
    without, with_drain = compare(sys.executable, 1, (nothing, drain))
    assert without.lost > 0
    assert (with_drain.lost, with_drain.unannounced) == (0, 0)
    assert with_drain.requests > 100
