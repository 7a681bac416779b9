"""Floor of an update's time, and the figures beside it."""

import pytest

from kubectl_lossless.measure.load import Result
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report import Report
from tools.course.experiment import Experiment
from tools.course.replicas import HEADINGS, Pace, Row, updates
from tools.course.stage import Rung


@pytest.mark.parametrize(
    ("text", "replicas", "pace"),
    [
        ("1/0", 48, Pace(1, 0)),
        ("25%/0", 3, Pace(1, 0)),  # 0.75, up
        ("25%/0", 6, Pace(2, 0)),  # 1.5, up
        ("25%/25%", 6, Pace(2, 1)),  # 1.5, down
        ("0/1", 3, Pace(0, 1)),
    ],
)
def test_percentages_of_a_strategy_are_rounded_as_by_kubernetes(text: str, replicas: int, pace: Pace) -> None:
    assert Pace.of(text, replicas) == pace


@pytest.mark.parametrize("text", ["Recreate", "1", "0/0", "-1/0", "1/x", "0/10%"])
def test_strategy_that_replaces_no_pod_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed"):
        Pace.of(text, 3)


@pytest.mark.parametrize(
    ("pace", "replicas", "floor"),
    [
        (Pace(1, 0), 3, 3 * 2 + 5),
        (Pace(2, 0), 6, 3 * 2 + 5),
        (Pace(4, 0), 6, 2 * 2 + 5),
        (Pace(1, 1), 3, 1 * 2 + 5),  # one old pod is deleted at once, the other two when two are available
        (Pace(0, 3), 3, 5),  # all are deleted at once
    ],
)
def test_floor_is_the_waves_of_starts_and_one_drain(pace: Pace, replicas: int, floor: float) -> None:
    assert pace.floor(replicas, available_after=2, termination=5) == floor


def rolled(gone: float | None) -> Report:
    old = Pod("old", "v5", "1", states=[(0, State.READY), (103, State.DRAINING)])
    if gone is not None:
        old.states.append((gone, State.GONE))
    new = Pod("new", "v5-new", "2", states=[(100, State.PENDING), (102, State.READY)])
    load = Result("http://service", {"new": 1}, started=90, ended=120)
    return Report("v5 → v5", "v5", "v5", 100, 103, None, "", "", load, [old, new], ["old"])


def test_row_compares_the_update_with_its_floor() -> None:
    row = Row.of(rolled(109), Rung("v5", min_ready_seconds=1, settings=(("DRAIN_MIN", "4"),)), Pace(1, 0))
    assert (row.start, row.drain, row.old_gone, row.floor) == (2, 6, 9, 2 + 1 + 4)
    assert len(row.cells()) == len(HEADINGS)
    assert "1.29" in row.cells()


def test_row_of_an_unfinished_update_is_marked() -> None:
    row = Row.of(rolled(None), Rung("v5"), Pace(1, 0))
    assert row.old_gone is None
    assert "never" in row.cells()


def test_updates_have_a_deployment_of_each_size() -> None:
    found = list(updates(Experiment(Rung("v5"), Rung("v5")), (3, 6), "25%/0"))
    assert [(each.source.replicas, each.source.strategy) for each, _ in found] == [(3, "1/0"), (6, "2/0")]
    assert all(each.source != each.destination for each, _ in found)
