"""tools.docs.figures: pages and pictures have the measured figures."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kubectl_lossless.measure.report import report_json
from tools.benchmarks.servers import FLOOR_NAME
from tools.docs import figures

RECORDED = figures.ROOT / "packages/kubectl-lossless/tests/recorded-v2-v3.json"


def test_pages_and_pictures_have_the_measured_figures() -> None:
    marks = [mark for path in figures.PAGES for mark in figures.MARK.findall(path.read_text())]
    assert len(marks) > 10, "the pages ask for figures"
    assert figures.stale() == []


@pytest.mark.parametrize(
    ("mark", "there"),
    [("lost of v9 → v9", "v1 → v2"), ("beauty of v1 → v2", "requests"), ("lost of rungs", "v1")],
)
def test_mark_without_a_measured_figure_is_an_error(mark: str, there: str) -> None:
    with pytest.raises(figures.FigureError, match=there):
        figures.filled(f"<!-- figure {mark} --><!-- end -->", figures.Kept())


def test_every_mark_is_closed() -> None:
    for path in figures.PAGES:
        text = path.read_text()
        assert text.count("<!-- figure") == text.count("<!-- end -->") == len(figures.MARK.findall(text)), (
            path
        )


def test_no_line_of_a_sentence_begins_with_a_mark() -> None:
    """Keep the Markdown of a sentence: a line that begins with a comment is HTML, on GitHub to its end."""
    for path in figures.PAGES:
        begins = re.findall(r"^ *<!-- figure (?!table ).*$", path.read_text(), re.MULTILINE)
        assert not begins, path


def test_pictures_of_the_pages_exist() -> None:
    for name in figures.DRAWN:
        assert (figures.PICTURES / name).is_file()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy docs/figures, and let `keep` write to the copy."""
    folder = shutil.copytree(figures.KEPT, tmp_path / "figures")
    monkeypatch.setattr(figures, "KEPT", folder)
    return folder


def test_chart_of_an_update_is_drawn_from_the_report_that_was_taken_over(kept: Path, tmp_path: Path) -> None:
    report = replace(report_json.read(RECORDED), title="v1 → v2")
    folder = tmp_path / "course" / "transitions-1"
    folder.mkdir(parents=True)
    report_json.write(report, folder / "report.json")
    figures.keep([tmp_path / "course"], None, None)
    drawn = figures.Kept(kept)
    assert drawn.charts["v1 → v2"]["pods"][0]["name"] == report.old[0]
    assert drawn.charts["v5 → v6"] == figures.Kept(figures.ROOT / "docs" / "figures").charts["v5 → v6"]


def test_throughput_is_taken_over_without_the_floor(kept: Path, tmp_path: Path) -> None:
    row = {"application": "Flask", "server": "leader", "connections": 8, "ratio": [2, 1, 3], "errors": 0}
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"throughput": [row, row | {"server": FLOOR_NAME}]}))
    figures.keep([], None, bench)
    assert figures.Kept(kept).throughput == [
        {"application": "Flask", "server": "leader", "connections": 8, "ratio": [2, 1, 3]}
    ]
