"""The figures in the pages: kept as JSON in docs/figures/, put into the text where it asks for them.

    <!-- figure lost of v1 → v2 -->103<!-- end -->
    <!-- figure table of transitions -->
    ... the table ...
    <!-- end -->

What stands between the marks is replaced; a mark that asks for what is not there is an error. The JSON is
made of the reports of `python -m tools.course course` and `propagation`, the pictures are copied from them.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kubectl_lossless.measure.propagation import Propagation
from kubectl_lossless.measure.report import Report
from kubectl_lossless.measure.report.figures import Figures
from tools.course.published import published

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KEPT = ROOT / "docs" / "figures"
PICTURES = ROOT / "docs" / "pictures"
MARK = re.compile(r"(<!-- figure (\S+) of ([^>]*?) -->)(.*?)(<!-- end -->)", re.DOTALL)

CHARTS = {
    "v1 → v2": "v1-v2.svg",
    "v5 → v6": "v5-v6.svg",
    "v5 → v5, Recreate": "recreate.svg",
    "v5 → v5, 1/0": "surge-1-unavailable-0.svg",
    "v5 → v5, 0/1": "surge-0-unavailable-1.svg",
    "v5 → v5, 1/1": "surge-1-unavailable-1.svg",
}
"""Experiments whose chart a page shows, and the picture's name."""
OVERVIEWS = {"transitions": "transitions.svg", "rungs": "rungs.svg"}

Experiment = dict[str, Any]


class FigureError(Exception):
    """A page asks for what was not measured; the message says what there is."""


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _leave(figures: Experiment) -> str:
    times = figures["draining_seconds"]
    if not times:
        return "-"
    low, high = f"{times[0]:.1f}", f"{times[-1]:.1f}"
    return f"{low} s" if low == high else f"{low}-{high} s"


VALUES: dict[str, Callable[[Experiment], str]] = {
    "requests": lambda f: f"{f['requests']:,}",
    "lost": lambda f: f"**{f['lost']:,}**" if f["lost"] else "0",
    "closed": lambda f: str(f["closed_without_notice"]),
    "complete": lambda f: _seconds(f["seconds_complete"]),
    "gone": lambda f: _seconds(f["seconds_old_gone"]),
    "leave": _leave,
    "extra": lambda f: str(f["extra_pods"]),
    "cost": lambda f: f"{f['extra_pod_seconds']:g}",
    "ready": lambda f: str(f["fewest_ready"]),
}
HEADINGS = {
    "requests": "requests",
    "lost": "lost",
    "closed": "closed without notice",
    "complete": "complete",
    "gone": "last old pod gone",
    "leave": "an old pod's leave",
    "extra": "pods beyond 3",
    "cost": "extra pod-seconds",
    "ready": "fewest ready",
}
COLUMNS = {
    "transitions": ("requests", "lost", "gone", "leave", "closed"),
    "rungs": ("requests", "lost", "complete", "gone", "leave", "cost"),
    "pace": ("requests", "lost", "gone", "extra", "ready"),
    "long": ("requests", "lost", "gone", "leave"),
}


def table(rows: list[list[str]]) -> str:
    """A Markdown table, the headings first; on lines of its own."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n" + "\n".join(lines) + "\n"


class Kept:
    """What docs/figures has."""

    def __init__(self, folder: Path = KEPT) -> None:
        self.parts: dict[str, list[Experiment]] = json.loads((folder / "course.json").read_text())["parts"]
        self.by_title = {each["title"]: each["figures"] for part in self.parts.values() for each in part}
        self.propagation = Propagation.read(folder / "propagation.json")

    def figure(self, what: str, of: str) -> str:
        """The text for one mark.

        Raises FigureError.
        """
        if of == "propagation":
            return self._propagation(what)
        if what == "table" and of in self.parts:
            return self._table(of)
        if of not in self.by_title:
            there = ", ".join([*self.by_title, *self.parts])
            raise FigureError(f"nothing was measured of {of!r}; there is: {there}")
        if what not in VALUES:
            raise FigureError(f"{what!r} is no figure; there is: {', '.join(VALUES)}")
        return VALUES[what](self.by_title[of])

    def _table(self, part: str) -> str:
        known = published().updates if part == "transitions" else {}
        columns = COLUMNS[part]
        rows = [["update", *(HEADINGS[column] for column in columns)]]
        if known:
            rows[0].insert(3, "the course lost")
        for each in self.parts[part]:
            row = [each["title"], *(VALUES[column](each["figures"]) for column in columns)]
            if known:
                course = known.get((each["source"], each["target"]))
                row.insert(3, str(course[0]) if course else "")
            rows.append(row)
        return table(rows)

    def _propagation(self, what: str) -> str:
        if what == "table":
            return table(self.propagation.table())
        if what == "DRAIN_MIN":
            return f"{self.propagation.drain_min} s"
        raise FigureError(f"{what!r} is no figure of propagation; there is: table, DRAIN_MIN")


def filled(text: str, kept: Kept) -> str:
    """A page's text with the present figures between its marks.

    Raises FigureError.
    """
    return MARK.sub(lambda mark: f"{mark[1]}{kept.figure(mark[2], mark[3])}{mark[5]}", text)


def stale(pages: Iterable[Path] = PAGES) -> list[Path]:
    """The pages whose text differs from what was measured."""
    kept = Kept()
    return [page for page in pages if filled(page.read_text(), kept) != page.read_text()]


def fill(pages: Iterable[Path] = PAGES) -> None:
    """Put the present figures into the pages."""
    kept = Kept()
    for page in pages:
        page.write_text(filled(page.read_text(), kept))


def keep(courses: Iterable[Path], propagation: Path | None) -> None:
    """Make docs/figures and docs/pictures of report folders; what they do not have stays as it is."""
    course = KEPT / "course.json"
    found: dict[str, Any] = {"kubernetes": "", "parts": {}}
    if course.exists():
        found = json.loads(course.read_text())
    KEPT.mkdir(exist_ok=True)
    for folder in courses:
        parts: dict[str, list[Experiment]] = {}
        for path in sorted(folder.glob("*/report.json")):
            report = Report.read(path)
            part = path.parent.name.partition("-")[0]
            parts.setdefault(part, []).append(
                {
                    "title": report.title,
                    "source": report.source,
                    "target": report.target,
                    "figures": asdict(Figures.of(report)),
                }
            )
            found["kubernetes"] = report.kubernetes
            if report.title in CHARTS:
                shutil.copy(path.parent / "chart.svg", PICTURES / CHARTS[report.title])
        found["parts"] |= parts
        for part in parts.keys() & OVERVIEWS.keys():
            shutil.copy(folder / f"{part}.svg", PICTURES / OVERVIEWS[part])
    course.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    if propagation:
        shutil.copy(propagation / "propagation.json", KEPT)
        shutil.copy(propagation / "propagation.svg", PICTURES)
