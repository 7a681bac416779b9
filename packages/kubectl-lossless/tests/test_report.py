"""The report from a recorded run: figures, JSON, chart and page."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from kubectl_lossless.measure.events import Event, Scaled
from kubectl_lossless.measure.load import Closed, Failure, Kind, Response, Result
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report import Report, report_json, terminal
from kubectl_lossless.measure.report.chart import Frame, chart, event_labels
from kubectl_lossless.measure.report.compare import HEADINGS, Goal, Published, row_of, rows_as_cells
from kubectl_lossless.measure.report.figures import Figures, latency_of, percentile, pod_counts
from kubectl_lossless.measure.report.overview import overview
from kubectl_lossless.measure.report.page import Collection, Part, page, write_report
from kubectl_lossless.measure.report.series import Series

RECORDED = Path(__file__).with_name("recorded-v2-v3.json")
"""The report.json of a real update from v2 to v3; to keep it small, with every eighth response only."""

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def recorded() -> Report:
    return report_json.read(RECORDED)


def pod(name: str, *states: tuple[float, State], version: str = "v1") -> Pod:
    return Pod(name, version, revision="1", states=list(states))


@pytest.fixture
def small() -> Report:
    """One old pod is replaced by a new one at time 100; two requests of seven are lost."""
    old = pod("old-a", (90, State.READY), (106, State.DRAINING), (109, State.GONE))
    new = pod("new-b", (102, State.PENDING), (103, State.NOT_READY), (105, State.READY), version="v2")
    load = Result("http://service", {"new": 1, "idle": 1}, started=95, steady=96, ended=115, cpu=0.1)
    for at, version in ((96, "v1"), (97.5, "v1"), (104, "v1"), (107, "v2"), (108, "v2")):
        load.add(Response(at, "new", 2.0, version, "p"))
    load.add(Failure(106.2, "new", 1.0, Kind.REFUSED, "while connecting", kept=False))
    load.add(Failure(106.9, "idle", 1.0, Kind.RESET, "while sending", kept=True))
    load.add(Closed(106.5, "idle"))
    return Report(
        title="v1 → v2",
        source="v1",
        target="v2",
        zero=100.0,
        complete=105.5,
        problem=None,
        where="outside the cluster",
        kubernetes="v1.35.4",
        load=load,
        pods=[old, new],
        old=["old-a"],
        events=[Event(106.0, "Pod/old-a", "FailedPreStopHook", "PreStopHook failed", warning=True)],
        scaled=[Scaled(90.0, "web-a", 1), Scaled(101.0, "web-b", 1)],
    )


def test_figures_add_up(small: Report) -> None:
    figures = Figures.of(small)
    assert (figures.requests, figures.lost, figures.closed_without_notice) == (7, 2, 1)
    assert figures.lost_by_kind == {"refused": 1, "reset": 1}
    assert figures.lost_by_client == {"new": 1, "idle": 1}
    assert figures.requests_by_client == {"new": 6, "idle": 1}
    assert figures.responses_by_version == {"v1": 3, "v2": 2}
    assert (figures.seconds_complete, figures.seconds_old_gone) == (5.5, 9.0)
    assert figures.draining_seconds == [3.0]
    assert figures.extra_pods == 1
    assert figures.extra_pod_seconds == 7.0  # the new one from 102, until the old one went at 109
    assert figures.fewest_ready == 1
    assert set(figures.latency) == {"new"}  # the idle client had no response


def test_late_pod_lowers_fewest_ready(small: Report) -> None:
    late = pod("new-b", (102, State.PENDING), (108, State.READY), version="v2")
    assert Figures.of(replace(small, pods=[small.pods[0], late])).fewest_ready == 0


def test_update_that_never_completes_has_no_times(small: Report) -> None:
    stays = pod("old-a", (90, State.READY))
    figures = Figures.of(replace(small, complete=None, problem="stuck", pods=[stays, small.pods[1]]))
    assert (figures.seconds_complete, figures.seconds_old_gone, figures.draining_seconds) == (None, None, [])


def test_pods_are_counted_at_every_change(small: Report) -> None:
    assert pod_counts(small.pods, 100, 110) == [
        (100, 1, 1),
        (102, 2, 1),
        (103, 2, 1),
        (105, 2, 2),
        (106, 2, 1),
        (109, 1, 1),
    ]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1)])
def test_percentiles_are_values_that_were_measured(share: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_single_value_is_every_percentile() -> None:
    assert latency_of([7.0]).p50 == latency_of([7.0]).p99 == 7.0


def test_report_survives_its_json(recorded: Report, small: Report) -> None:
    for report in (recorded, small):
        there = report_json.to_json(report)
        back = report_json.from_json(json.loads(json.dumps(there)))
        assert report_json.to_json(back) == there
        assert Figures.of(back) == Figures.of(report)


def test_another_format_is_refused(small: Report) -> None:
    with pytest.raises(ValueError, match="format is 3, this program reads 1 to 2"):
        report_json.from_json({**report_json.to_json(small), "format": 3})


def test_recorded_run_has_its_figures(recorded: Report) -> None:
    found = json.loads(RECORDED.read_text())
    figures = Figures.of(recorded)
    assert figures.requests == len(found["answers"]["rows"]) + len(found["failures"])
    assert figures.lost == len(found["failures"]) > 0
    assert set(figures.responses_by_version) == {"v2", "v3"}
    assert len(figures.draining_seconds) == 3
    assert 0 < (figures.seconds_complete or 0) <= (figures.seconds_old_gone or 0)


@pytest.mark.parametrize("width", [960, 400])
def test_chart_shows_every_loss_and_every_pod(recorded: Report, width: int) -> None:
    tree = ET.fromstring(chart(Series.of(recorded), width, style=True))
    losses = [e for e in tree.iter(f"{SVG}rect") if e.get("class") == "lost"]
    assert len(losses) == len({int(f.at - recorded.zero) for f in recorded.load.failures})
    titles = " ".join(e.text or "" for e in tree.iter(f"{SVG}title"))
    for one in recorded.pods:
        assert f"{one.name} ready" in titles
    for one in (p for p in recorded.pods if p.name in recorded.old):
        assert f"{one.name} terminating" in titles
    for rect in tree.iter(f"{SVG}rect"):
        for side in ("x", "y", "width", "height"):
            assert float(rect.get(side, "0")) >= 0
        if rect.get("class", "").startswith(("lost", "v", "s")):
            assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width


@pytest.mark.parametrize(
    "times", [(0, 40.6, 46.2), (0, 6.1, 9.3), (0, 45, 45.1), (0, 0.1, 0.2), (50, 51, 51.5)]
)
@pytest.mark.parametrize("width", [960, 340])
def test_label_of_an_event_crosses_no_line(times: tuple[float, ...], width: int) -> None:
    words = ("apply v6", "update complete", "last old pod gone")
    labels = event_labels(list(zip(times, words, strict=True)), Frame(width, 84, -7, 52))
    assert not [one.text for one in labels for other in labels if one is not other and one.collides(other)]
    assert all(label.begin >= 0 and label.end <= width for label in labels)


def test_chart_without_losses_shows_none(small: Report) -> None:
    small.load.failures.clear()
    assert ">none<" in chart(Series.of(small))


def test_every_response_is_in_the_chart(small: Report) -> None:
    titles = re.findall(r"second (-?\d+): (v\d \d+)", chart(Series.of(small)))
    assert titles == [("-4", "v1 1"), ("-3", "v1 1"), ("4", "v1 1"), ("7", "v2 1"), ("8", "v2 1")]


def test_line_of_latency_does_not_cross_seconds_without_responses(small: Report) -> None:
    svg = chart(Series.of(small))
    lines = [
        [float(point.partition(",")[0]) for point in points.split()]
        for points in re.findall(r'class="typical" points="([^"]*)"', svg)
    ]
    assert [len(line) for line in lines] == [2, 1, 2]  # seconds -4 and -3; 4; 7 and 8


@pytest.mark.parametrize("width", [960, 400])
def test_long_name_of_a_pod_begins_within_the_chart(small: Report, width: int) -> None:
    named = replace(small, pods=[replace(one, version="v5-candidate") for one in small.pods])
    svg = chart(Series.of(named), width)
    end = float(re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="end">v5-candidate a<', svg)[0])
    assert end >= 6.6 * len("v5-candidate a")


def test_series_survive_their_json(recorded: Report) -> None:
    once = Series.of(recorded).as_json()
    again = Series.from_json(json.loads(json.dumps(once)))
    assert again.as_json() == once
    assert chart(again) == chart(Series.from_json(once))


def test_page_needs_no_network_and_holds_the_figures(recorded: Report, tmp_path: Path) -> None:
    write_report(tmp_path, recorded)
    html = (tmp_path / "index.html").read_text()
    assert not re.search(r"(src|href)\s*=|@import|url\((?!#)|<script", html)
    figures = Figures.of(recorded)
    assert f"<b>{figures.lost}</b>of {figures.requests:,} requests lost" in html
    for failure in recorded.load.failures:
        assert failure.detail in html
    assert report_json.to_json(report_json.read(tmp_path / "report.json")) == report_json.to_json(recorded)
    ET.parse(tmp_path / "chart.svg")


def test_text_of_a_server_is_never_markup(small: Report) -> None:
    evil = "<script>alert(1)</script>"
    small.load.add(Failure(107, "new", 1, Kind.OTHER, evil, kept=False))
    small.load.add(Response(107, "new", 1, evil, "p"))
    report = replace(small, problem=evil, title=evil)
    assert evil not in page(Collection(evil, [Part(evil, evil, [report])], [Goal(evil, held=False)]))


def test_patterns_have_one_name_on_a_page(small: Report) -> None:
    html = page(Collection("course", [Part("a", "", [small, small]), Part("b", "", [small])]))
    names = re.findall(r'pattern id="([^"]+)"', html)
    assert len(names) == len(set(names)) > 0


def test_overview_has_a_row_for_each_update(small: Report) -> None:
    failed = replace(small, title="v2 → <v3>", complete=None, problem="stuck")
    tree = ET.fromstring(overview([small, failed], style=True))
    texts = [element.text for element in tree.iter(f"{SVG}text")]
    assert {"v1 → v2", "v2 → <v3>", "9 s", "not completed"} <= set(texts)
    assert texts.count("2") == 2  # lost in each


PUBLISHED = Published("somebody's reports", {("v1", "v2"): (29, 25)})


def test_table_has_the_figures_of_the_course_next_to_ours(small: Report) -> None:
    cells = rows_as_cells([row_of(small, PUBLISHED)])
    line = dict(zip(cells[0], cells[1], strict=True))
    assert line["lost"] == "2"
    assert line["course: lost"] == "29"
    assert line["course: s"] == "25"
    other = rows_as_cells([row_of(replace(small, target="v7", title="v1 → v7"), PUBLISHED)])
    assert set(HEADINGS) - set(other[0]) == {"course: lost", "course: s"}


def test_terminal_shows_table_losses_and_goals(small: Report) -> None:
    said = terminal.text([small], [Goal("2 of 7 lost", held=False), Goal("something", held=True)])
    lines = said.splitlines()
    rule = next(at for at, line in enumerate(lines) if set(line) == {"-"})
    assert lines[rule + 1].startswith("v1 → v2  ")
    assert max(map(len, lines[: rule + 2])) == len(lines[rule])
    assert "1 x refused (new): while connecting" in said
    assert "NOT HELD: 2 of 7 lost" in said
    assert "held: something" in said


def test_failed_update_is_reported_with_its_reason(small: Report) -> None:
    failed = replace(small, complete=None, problem="ImagePullBackOff: no such image")
    assert "did not complete. ImagePullBackOff" in terminal.text([failed])
    assert "ImagePullBackOff" in page(Collection("t", [Part("", "", [failed])]))
