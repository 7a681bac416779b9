"""The result of a measurement in every format."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from kubectl_lossless.measure.judge import Cause
from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Failure, Response, Result
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report.formats import FORMATS, SCHEMA, Summary
from kubectl_lossless.measure.report.model import Report
from kubectl_lossless.measure.report.page import Collection, Part, page
from kubectl_lossless.measure.verdict import Group, Verdict

GROUP = Group(
    cause=Cause.DRAIN,
    count=2,
    how={"connection refused": 1, "status 502 by <edge|1>": 1},
    pods=["web-a"],
    first=6.1,
    last=6.9,
    when="0.1-0.9 s after SIGTERM of web-a",
    why="the server stops",
    do="spec.x: 1",
    check="drain",
)
UNEXPLAINED = Group(Cause.UNEXPLAINED, 1, {"timeout": 1}, [], 9.0, 9.0, "", "no pod was terminating then")


def summary(lost: int, max_lost: int = 0, problem: str | None = None) -> Summary:
    load = Result("http://shop/, https://shop/b", {"new": 1}, started=95, steady=96, ended=115, cpu=0.1)
    load.responses = [Response(95 + number / 10, "new", 2.0, "", "") for number in range(97)]
    load.failures = [Failure(106, "new", 1.0, Kind.REFUSED, "", kept=False)] * lost
    groups = [GROUP, UNEXPLAINED] if lost else []
    verdict = Verdict(
        f"{lost} of {97 + lost} requests lost.", 97 + lost, lost, 2 if lost else 0, groups, ["A note."]
    )
    old = Pod("web-a", "old", "1", states=[(90, State.READY), (106, State.DRAINING), (109, State.GONE)])
    report = Report(
        title="deploy/web: rollout restart",
        source="old",
        target="new",
        zero=100.0,
        complete=None if problem else 105.5,
        problem=problem,
        where="outside the cluster",
        kubernetes="v1.35.4",
        load=load,
        pods=[old],
        old=["web-a"],
        verdict=verdict,
    )
    return Summary(report, "kind", "shop", "deploy/web", max_lost, held=not problem and lost <= max_lost)


def test_text_names_each_group_its_cause_and_its_line() -> None:
    said = summary(3).text()
    assert (
        "  2 of 3: 1 connection refused, 1 status 502 by <edge|1>, 0.1-0.9 s after SIGTERM of web-a\n" in said
    )
    assert "    The server stops [drain]\n    -> spec.x: 1\n" in said
    assert "  1 of 3: timeout, 9.0 s after the rollout began\n" in said
    assert "Unexplained" in said
    assert said.endswith("NOT HELD: 3 of 100 requests lost; none may be")
    assert max(map(len, said.splitlines())) <= 100


def test_json_has_a_schema_version_and_the_figures_of_the_text() -> None:
    found = json.loads(summary(3, max_lost=5).json())
    assert found["schemaVersion"] == SCHEMA == 1
    assert (found["held"], found["lost"], found["requests"], found["explained"]) == (True, 3, 100, 2)
    assert [group["cause"] for group in found["groups"]] == ["drain", "unexplained"]
    assert found["urls"] == ["http://shop/", "https://shop/b"]
    assert found["secondsComplete"] == 5.5


@pytest.mark.parametrize(
    ("lost", "problem", "failed"),
    [(0, None, 0), (3, None, 1), (0, "stuck: \x00 <x>\nmore", 1), (3, "stuck", 2)],
)
def test_junit_has_a_test_for_the_rollout_and_one_for_the_requests(
    lost: int, problem: str | None, failed: int
) -> None:
    root = ET.fromstring(summary(lost, problem=problem).junit())
    assert (root.get("tests"), root.get("failures")) == ("2", str(failed))
    assert len(list(root.iter("testcase"))) == 2
    assert len(list(root.iter("failure"))) == failed


def test_markdown_is_a_table_whose_cells_are_no_markup() -> None:
    said = summary(3).markdown()
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert "by \\<edge\\|1\\>" in said
    assert said.startswith("### ❌ deploy/web: rollout restart")
    assert summary(0).markdown().startswith("### ✅")


def test_every_format_can_be_written() -> None:
    assert all(summary(3).text_of(name) for name in FORMATS)
    assert set(summary(3).files()) == {"verdict.json", "junit.xml", "summary.md"}


def test_page_begins_with_the_verdict() -> None:
    report = summary(3).report
    html = page(Collection(report.title, [Part("", "", [report])]))
    assert html.index("3 of 100 requests lost.") < html.index("<svg")
    assert "The server stops." in html
    assert "&lt;edge|1&gt;" in html
    assert "Unexplained." in html
    assert "the rollout begins" in html


def test_page_has_a_line_for_each_change() -> None:
    report = summary(3).report
    assert report.verdict is not None
    twice = replace(GROUP, do='spec.x: "a; b"; spec.y: 2')
    report = replace(report, verdict=replace(report.verdict, groups=[twice]))
    text = page(Collection(report.title, [Part("", "", [report])]))
    assert "→&nbsp;<code>spec.x: &#34;a; b&#34;;\nspec.y: 2</code>" in text


def test_page_without_a_verdict_has_none() -> None:
    report = replace(summary(0).report, verdict=None)
    assert 'class="verdict' not in page(Collection(report.title, [Part("", "", [report])]))


def test_rollout_whose_pods_were_not_seen_has_a_page() -> None:
    report = replace(summary(3).report, pods=[], old=[])
    assert "requests lost" in page(Collection(report.title, [Part("", "", [report])]))
    assert "ready" not in Summary(report, "kind", "shop", "deploy/web", 0, held=False).text().splitlines()[1]
