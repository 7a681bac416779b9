"""Files of exited workers: merged by kind and mode, without a change of any value."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gunicorn_drain.prometheus import WorkersCollector
from gunicorn_drain.prometheus.exited import KEPT, MERGES, ExitedWorkers, counted, merges

MASTER = 7

# Each process counts by its number: a file per kind and process, as in a service.
COUNTS = """
import sys
from prometheus_client import Counter, Gauge, Histogram, Summary, values

pid, number = int(sys.argv[1]), int(sys.argv[2])
values.ValueClass = values.MultiProcessValue(lambda: pid)
import prometheus_client.metrics
prometheus_client.metrics.values = values
Counter("c", "C.", ["path"]).labels('/a "b" \\u00e9').inc(number)
Counter("only", "In some.", ["number"]).labels(str(number % 3)).inc()
Histogram("h", "H.", buckets=(1, 2, 5)).observe(number)
Summary("s", "S.").observe(number)
for mode in ("sum", "max", "min", "mostrecent", "all", "liveall", "livesum"):
    Gauge(mode, "G.", multiprocess_mode=mode).set(number)
"""

READS = """
import sys
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from gunicorn_drain.prometheus import WorkersCollector

registry = CollectorRegistry()
WorkersCollector(registry, sys.argv[1])
sys.stdout.buffer.write(generate_latest(registry))
"""


def python(code: str, path: Path, *arguments: object) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def series(path: Path) -> dict[str, float]:
    lines = python(READS, path, path).splitlines()
    return {name: float(value) for name, value in (each.rsplit(" ", 1) for each in lines if each[0] != "#")}


def test_merging_changes_no_value(tmp_path: Path) -> None:
    numbers = {100: 3, 101: 1, 102: 4, 103: 2}
    for pid, number in numbers.items():
        python(COUNTS, tmp_path, pid, number)
    before = series(tmp_path)
    assert before['c_total{path="/a \\"b\\" \u00e9"}'] == 10
    assert (before["sum"], before["max"], before["min"], before["mostrecent"]) == (10, 4, 1, 2)
    exited = ExitedWorkers()
    for pid in (102, 100, 101):
        exited.merge(str(tmp_path), pid, MASTER)
        assert series(tmp_path) == before
    assert merges(tmp_path) == {f"merges_{MASTER}.count": 6}
    names = {each.name for each in tmp_path.iterdir()}
    assert {f"counter_0{MASTER}.db", "counter_103.db"} == {name for name in names if "counter" in name}


def test_gauges_of_mode_all_are_kept_of_the_last_workers(tmp_path: Path) -> None:
    exited = ExitedWorkers()
    for pid in range(100, 104 + KEPT):
        (tmp_path / f"gauge_all_{pid}.db").touch()
        exited.merge(str(tmp_path), pid, MASTER)
    assert {each.name for each in tmp_path.iterdir() if not MERGES.fullmatch(each.name)} == {
        f"gauge_all_{pid}.db" for pid in range(104, 104 + KEPT)
    }


def test_empty_file_of_a_killed_worker_counts_nothing(tmp_path: Path) -> None:
    python(COUNTS, tmp_path, 100, 3)
    before = series(tmp_path)
    (tmp_path / "counter_101.db").touch()
    ExitedWorkers().merge(str(tmp_path), 101, MASTER)
    assert series(tmp_path) == before


def test_full_file_system_leaves_the_workers_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python(COUNTS, tmp_path, 100, 3)
    before = series(tmp_path)

    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    exited = ExitedWorkers()
    with pytest.raises(OSError, match="No space"):
        exited.merge(str(tmp_path), 100, MASTER)
    assert series(tmp_path) == before
    assert merges(tmp_path) == {f"merges_{MASTER}.count": 2}


def test_scrape_waits_until_no_master_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python(COUNTS, tmp_path, 100, 3)
    source = tmp_path / "gauge_sum_100.db"
    shutil.copy(source, tmp_path / f"gauge_sum_0{MASTER}.db")  # merged, and the source not yet removed
    collector = WorkersCollector(CollectorRegistry(), str(tmp_path))
    with ExitStack() as merge:

        def end_of_the_merge(seconds: float) -> None:
            assert seconds < 0.1
            source.unlink()
            merge.close()

        monkeypatch.setattr("gunicorn_drain.prometheus.collectors.time.sleep", end_of_the_merge)
        merge.enter_context(counted(tmp_path, MASTER))
        metrics = {metric.name: metric for metric in collector.collect()}
    assert [sample.value for sample in metrics["sum"].samples] == [3.0]


def test_master_killed_during_a_merge_is_not_waited_for_after_the_next(tmp_path: Path) -> None:
    (tmp_path / f"merges_{MASTER}.count").write_bytes((5).to_bytes(8, "little"))
    ExitedWorkers().merge(str(tmp_path), 100, MASTER)
    assert merges(tmp_path) == {f"merges_{MASTER}.count": 8}
