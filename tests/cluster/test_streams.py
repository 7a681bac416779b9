"""Event streams and WebSockets during a rolling update: no tick is lost or repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cluster.test_updates import onto_itself
from tools.course.experiment import NODEPORT, Experiment, StreamsReport, run_streams
from tools.course.stage import Rung, Stage


def rolled(stage: Stage, source: Rung, into: Rung, count: int, target: str = NODEPORT) -> StreamsReport:
    report = run_streams(Experiment(source, into, target=target), count, count, stage)
    print(report)
    assert report.lossless, str(report)
    assert report.stats.aborted.total() == 0, str(report)
    assert len(report.stats.notified) >= 2 * count, "each client is notified once at least"
    return report


def test_no_tick_is_lost(stage: Stage) -> None:
    source, into = (replace(rung, min_ready_seconds=2) for rung in onto_itself("v7"))
    rolled(stage, source, into, 100)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["v5", "v6", "v7"])
def test_thousand_clients_lose_no_tick(stage: Stage, name: str) -> None:
    rolled(stage, *onto_itself(name), 500)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["v6", "v7"])
def test_no_tick_is_lost_through_the_edge(stage: Stage, edge: str, name: str) -> None:
    rolled(stage, *onto_itself(name), 500, target=edge)


@pytest.mark.matrix
def test_clients_without_jitter_reconnect_at_once(stage: Stage) -> None:
    source, into = onto_itself("v7")
    spread = rolled(stage, source, into, 500).stats.peak()
    at_once = (
        ("STREAM_TELL_FIRST", "0.2"),
        ("STREAM_TELL_LAST", "0.2"),
        ("STREAM_RETRY_MIN", "1"),
        ("STREAM_RETRY_MAX", "1"),
    )
    source, into = (replace(rung, settings=at_once) for rung in (source, into))
    assert spread < rolled(stage, source, into, 500).stats.peak()
