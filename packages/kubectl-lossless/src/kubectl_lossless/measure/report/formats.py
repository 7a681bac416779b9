"""The result of one measurement for terminals, programs, pipelines and pull requests."""

from __future__ import annotations

import json
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from typing import Any

from kubectl_lossless.measure.report.compare import Goal
from kubectl_lossless.measure.report.figures import Figures
from kubectl_lossless.measure.report.model import Report
from kubectl_lossless.measure.verdict import Group, Verdict

SCHEMA = 1
"""Version of the JSON object; it changes when a reader of this shape would fail."""

FORMATS = ("text", "json", "junit", "markdown")
WIDTH = 100  # characters of a line for people


@dataclass(frozen=True)
class Summary:
    """A measurement and its result."""

    report: Report
    context: str
    namespace: str
    workload: str
    max_lost: int
    held: bool

    @property
    def verdict(self) -> Verdict:
        """The report's; an empty one where it has none."""
        load = self.report.load
        return self.report.verdict or Verdict(f"{load.lost} lost", load.requests, load.lost, 0)

    @property
    def goal(self) -> Goal:
        """The goal, and whether it was reached."""
        load = self.report.load
        allowed = f"at most {self.max_lost:,} may be" if self.max_lost else "none may be"
        sentence = f"{load.lost:,} of {load.requests:,} requests lost; {allowed}"
        if self.report.problem:
            sentence += f". {self.report.problem.splitlines()[0]}"
        return Goal(sentence, self.held)

    def text_of(self, name: str) -> str:
        """Return it in one of `FORMATS`."""
        makers = {"text": self.text, "json": self.json, "junit": self.junit, "markdown": self.markdown}
        return makers[name]()

    def files(self) -> dict[str, str]:
        """Return the files that accompany the page, by name."""
        return {
            "verdict.json": self.json() + "\n",
            "junit.xml": self.junit() + "\n",
            "summary.md": self.markdown() + "\n",
        }

    def text(self) -> str:
        """Return it for a terminal."""
        figures = Figures.of(self.report)
        lines = [self.report.title, *self._times(figures), "", _wrapped(self.verdict.headline)]
        for group in self.verdict.groups:
            lines += [
                "",
                _wrapped(_what(group, self.verdict.lost), "  ", "    "),
                _wrapped(_why(group), "    ", "    "),
            ]
            if group.do:
                lines.append(_wrapped(f"-> {group.do}", "    ", "       "))
        for note in self.verdict.notes:
            lines += ["", _wrapped(note)]
        if self.report.problem:
            lines += ["", *(_wrapped(line) for line in self.report.problem.splitlines())]
        lines += ["", f"{'held' if self.held else 'NOT HELD'}: {self.goal.sentence}"]
        return "\n".join(lines)

    def _times(self, figures: Figures) -> list[str]:
        if figures.seconds_complete is None:
            return ["the rollout did not complete"]
        gone = (
            f", the last old pod gone after {figures.seconds_old_gone:.1f} s"
            if figures.seconds_old_gone
            else ""
        )
        least = f"; never fewer than {figures.fewest_ready} ready" if figures.pods_seen else ""
        return [f"complete after {figures.seconds_complete:.1f} s{gone}{least}"]

    def json(self) -> str:
        """Return it as one JSON object."""
        report = self.report
        figures = Figures.of(report)
        found: dict[str, Any] = {
            "schemaVersion": SCHEMA,
            "context": self.context,
            "namespace": self.namespace,
            "workload": self.workload,
            "title": report.title,
            "held": self.held,
            "maxLost": self.max_lost,
            "problem": report.problem,
            "kubernetes": report.kubernetes,
            "urls": report.load.url.split(", "),
            "requests": report.load.requests,
            "lost": report.load.lost,
            "explained": self.verdict.explained,
            "secondsComplete": figures.seconds_complete,
            "secondsOldGone": figures.seconds_old_gone,
            "headline": self.verdict.headline,
            "groups": [asdict(group) for group in self.verdict.groups],
            "notes": self.verdict.notes,
        }
        return json.dumps(found, indent=2, ensure_ascii=False)

    def junit(self) -> str:
        """Return it as JUnit XML: one test for the rollout, one for the requests."""
        figures = Figures.of(self.report)
        problem, lost = self.report.problem, self.report.load.lost
        too_many = lost > self.max_lost
        time = f"{figures.seconds_old_gone or figures.seconds_complete or 0:.1f}"
        failures = str(bool(problem) + too_many)
        suites = ET.Element("testsuites", tests="2", failures=failures)
        suite = ET.SubElement(
            suites,
            "testsuite",
            name=f"lossless {self.namespace}/{self.workload}",
            tests="2",
            failures=failures,
            time=time,
        )
        rollout = ET.SubElement(
            suite, "testcase", classname=self.workload, name="the rollout completes", time=time
        )
        if problem:
            ET.SubElement(rollout, "failure", message=clean(problem.splitlines()[0])).text = clean(problem)
        requests = ET.SubElement(
            suite,
            "testcase",
            classname=self.workload,
            name=f"at most {self.max_lost} requests are lost",
            time=time,
        )
        if too_many:
            ET.SubElement(requests, "failure", message=clean(self.verdict.headline)).text = clean(self.text())
        ET.indent(suites)
        return ET.tostring(suites, encoding="unicode", xml_declaration=False)

    def markdown(self) -> str:
        """Return it for a pull request or a pipeline's summary."""
        lines = [
            f"### {'✅' if self.held else '❌'} {_cell(self.report.title)}",
            "",
            f"**{_cell(self.verdict.headline)}** "
            f"{' '.join(self._times(Figures.of(self.report))).capitalize()}.",
        ]
        if self.report.problem:
            lines += ["", _cell(self.report.problem)]
        if self.verdict.groups:
            lines += ["", "| lost | how | when | why | what to change |", "|---:|---|---|---|---|"]
            for group in self.verdict.groups:
                cells = (str(group.count), group.kinds, group.when, _why(group), group.do)
                lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
        for note in self.verdict.notes:
            lines += ["", _cell(note)]
        return "\n".join(lines)


def _what(group: Group, lost: int) -> str:
    at = f"{group.first:.1f} s" if group.first == group.last else f"{group.first:.1f} to {group.last:.1f} s"
    when = group.when or f"{at} after the rollout began"
    return f"{group.count:,} of {lost:,}: {group.kinds}, {when}"


def _why(group: Group) -> str:
    why = group.why[:1].upper() + group.why[1:]
    return f"{why} [{group.check}]" if group.check else f"{why}{'' if group.explained else '. Unexplained'}"


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _cell(text: str) -> str:
    """Return text that is no markup in Markdown."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return "".join(each for each in text if each in "\t\n" or ord(each) >= 32)
