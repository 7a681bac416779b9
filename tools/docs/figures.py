"""Figures in the pages: kept as JSON in docs/figures/, put into the text at its marks.

    <!-- figure lost of v1 → v2 -->103<!-- end -->
    <!-- figure table of transitions -->
    ... the table ...
    <!-- end -->

The text between the marks is replaced; a mark for a missing figure is an error. The JSON is created from the
reports of `python -m tools.course course` and `propagation`. The charts of single updates are copied from
them, the other pictures are drawn from the JSON (pictures.py).
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from gunicorn_drain import DrainPolicy
from kubectl_lossless.measure.propagation import Propagation
from kubectl_lossless.measure.report import report_json
from kubectl_lossless.measure.report.figures import Figures, percentile
from kubectl_lossless.measure.report.series import Series
from tools.benchmarks.servers import DRAINED, FLOOR_NAME
from tools.course.published import published
from tools.docs import editions, pictures
from tools.docs.load_counts import table as load_table

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
DRAWN = (
    "transitions.svg",
    "rungs.svg",
    "propagation.svg",
    "stops.svg",
    "throughput.svg",
    *CHARTS.values(),
)
"""Pictures that are drawn from docs/figures."""
WITHOUT_PACE = "without minReadySeconds"
"""End of the title of an update that was measured with minReadySeconds 0."""

Experiment = dict[str, Any]


class FigureError(Exception):
    """A page has a mark for a figure that was not measured; the message names the existing figures."""


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _rung(name: str) -> dict[str, Any]:
    """Return the Deployment of a rung."""
    documents = yaml.safe_load_all((ROOT / f"k8s/flask-deployment-{name}.yaml").read_text())
    found: dict[str, Any] = next(each for each in documents if each["kind"] == "Deployment")
    return found


def stop(rung: str) -> str:
    """Return how the pods of a rung stop, from its manifest."""
    pod = _rung(rung)["spec"]["template"]["spec"]
    container = next(each for each in pod["containers"] if each["name"] == "flask")
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep")
    if sleep:
        return f"preStop sleep {sleep['seconds']} s"
    drain = next(each["value"] for each in container["env"] if each["name"] == "DRAIN")
    if drain == "off":
        return "stop at once"
    return "the drain, and Envoy's" if pod.get("initContainers") else "the drain"


def pace(experiment: Experiment) -> tuple[int, int]:
    """Return the minReadySeconds that an update waits after each new pod, and the number of pods."""
    spec = _rung(experiment["target"])["spec"]
    without_pace = experiment["title"].endswith(WITHOUT_PACE)
    return 0 if without_pace else spec.get("minReadySeconds", 0), spec.get("replicas", 3)


def _pace(experiment: Experiment) -> str:
    seconds, pods = pace(experiment)
    return f"{pods} x {seconds} s" if seconds else "-"


def _termination(figures: Experiment) -> str:
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
    "termination": _termination,
    "extra": lambda f: str(f["extra_pods"]),
    "cost": lambda f: f"{f['extra_pod_seconds']:g}",
    "ready": lambda f: str(f["fewest_ready"]),
}
HEADINGS = {
    "requests": "requests",
    "lost": "lost",
    "closed": "closed without notice",
    "complete": "complete after",
    "gone": "last old pod gone after",
    "termination": "cost: a pod takes to terminate",
    "extra": "pods beyond 3",
    "cost": "extra pod-seconds",
    "ready": "fewest ready",
    "stop": "old pods",
    "pace": "pace, chosen: minReadySeconds",
}
COLUMNS = {
    "transitions": ("stop", "requests", "lost", "termination", "closed"),
    "rungs": ("stop", "requests", "lost", "termination", "pace", "complete", "gone", "cost"),
    "pace": ("requests", "lost", "complete", "gone", "extra", "ready"),
    "long": ("requests", "lost", "termination", "gone"),
}


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table on separate lines; the headings are the first row."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n" + "\n".join(lines) + "\n"


class Kept:
    """Contents of docs/figures."""

    def __init__(self, folder: Path = KEPT) -> None:
        self.parts: dict[str, list[Experiment]] = json.loads((folder / "course.json").read_text())["parts"]
        self.by_title = {each["title"]: each["figures"] for part in self.parts.values() for each in part}
        self.propagation = Propagation.read(folder / "propagation.json")
        self.charts: dict[str, Any] = json.loads((folder / "charts.json").read_text())
        self.throughput: list[dict[str, Any]] = json.loads((folder / "throughput.json").read_text())
        self.load_tools = json.loads((folder / "load-tools.json").read_text())

    def figure(self, what: str, of: str) -> str:
        """Return the text for one mark.

        Raises FigureError.
        """
        if of == "propagation":
            return self._propagation(what)
        if (what, of) == ("table", "load-tools"):
            return table(load_table(self.load_tools))
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
            rows[0].insert(4, "lost in the original course")
        for each in self.parts[part]:
            row = [each["title"], *(self._cell(each, column) for column in columns)]
            if known:
                course = known.get((each["source"], each["target"]))
                row.insert(4, str(course[0]) if course else "")
            rows.append(row)
        return table(rows)

    @staticmethod
    def _cell(experiment: Experiment, column: str) -> str:
        if column == "stop":
            return stop(experiment["source"])
        if column == "pace":
            return _pace(experiment)
        return VALUES[column](experiment["figures"])

    def rows(self, part: str) -> list[pictures.Row]:
        """Return the rows of a part's picture."""
        rows = []
        for each in self.parts[part]:
            figures, (seconds, pods) = each["figures"], pace(each)
            short = each["title"].removesuffix(f" {WITHOUT_PACE}")
            rows.append(
                pictures.Row(
                    title=short,
                    stop=stop(each["source"]) + (", no pace" if short != each["title"] else ""),
                    lost=figures["lost"],
                    termination=(figures["draining_seconds"][0], figures["draining_seconds"][-1]),
                    pace=seconds * pods,
                    complete=figures["seconds_complete"],
                    gone=figures["seconds_old_gone"],
                )
            )
        return rows

    def drawn(self) -> dict[str, str]:
        """Return the pictures that are drawn from the figures, by their names."""
        routes = [
            (route, percentile(times, 0.5), max(times))
            for route in self.propagation.routes()
            if (times := self.propagation.times(route))
        ]
        gone = [each.gone for each in self.propagation.terminations]
        routes.append(("the pod is gone", percentile(gone, 0.5), max(gone)))
        return {
            "transitions.svg": pictures.termination_picture(self.rows("transitions")),
            "rungs.svg": pictures.pace_picture(self.rows("rungs")),
            "propagation.svg": pictures.routes_picture(routes, len(gone)),
            "stops.svg": pictures.stops_picture(
                routes=max(longest for _, _, longest in routes[:-1]),
                stock=self._longest("v2 → v2"),
                sleep=float(stop("v3").split()[2]),
                preset=self._longest("v3 → v3"),
                minimum=DrainPolicy().minimum,
                drain=self._longest("v5 → v5"),
            ),
            "throughput.svg": pictures.ratios_picture(self.throughput, DRAINED),
        } | {
            name: pictures.rollout_picture(Series.from_json(self.charts[title]), self._description(title))
            for title, name in CHARTS.items()
        }

    def _longest(self, title: str) -> float:
        seconds: float = self.by_title[title]["draining_seconds"][-1]
        return seconds

    def _description(self, title: str) -> str:
        """Return the text alternative of the chart of one update."""
        figures = self.by_title[title]
        return (
            "Over the seconds since the update was applied: lost requests, responses by version, latency "
            f"by kind of client, and the life of each pod. {figures['lost']} of {figures['requests']:,} "
            f"requests were lost; old pods took {_termination(figures)} to terminate; never fewer than "
            f"{figures['fewest_ready']} pods were ready."
        )

    def _propagation(self, what: str) -> str:
        if what == "table":
            return table(self.propagation.table())
        if what == "DRAIN_MIN":
            return f"{self.propagation.drain_min} s"
        raise FigureError(f"{what!r} is no figure of propagation; there is: table, DRAIN_MIN")


def filled(text: str, kept: Kept, page: Path = ROOT / "README.md") -> str:
    """Return a page's text with the present figures between its marks, in the page's language.

    Raises FigureError.
    """
    return MARK.sub(
        lambda mark: f"{mark[1]}{editions.translated(page, kept.figure(mark[2], mark[3]))}{mark[5]}", text
    )


def _wanted(pages: Iterable[Path]) -> dict[Path, str]:
    """Return pages and pictures as they should be."""
    kept = Kept()
    texts = {page: filled(page.read_text(), kept, page) for page in pages}
    for edition in editions.EDITIONS.keys() & texts.keys():
        texts[edition] = editions.filled(texts[edition], editions.EDITIONS[edition].read_text())
    return texts | {PICTURES / name: svg for name, svg in kept.drawn().items()}


def stale(pages: Iterable[Path] = PAGES) -> list[Path]:
    """Return the pages and pictures that differ from the measured figures."""
    return [path for path, text in _wanted(pages).items() if not path.exists() or path.read_text() != text]


def fill(pages: Iterable[Path] = PAGES) -> None:
    """Put the present figures into the pages, and draw the pictures."""
    for path, text in _wanted(pages).items():
        path.write_text(text)


def keep(courses: Iterable[Path], propagation: Path | None, bench: Path | None) -> None:
    """Take the figures of report folders, and of the benchmarks' JSON, into docs/figures; the others stay."""
    course, charts = KEPT / "course.json", KEPT / "charts.json"
    found: dict[str, Any] = json.loads(course.read_text())
    drawn: dict[str, Any] = json.loads(charts.read_text())
    for folder in courses:
        parts: dict[str, list[Experiment]] = {}
        for path in sorted(folder.glob("*/report.json")):
            report = report_json.read(path)
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
                drawn[report.title] = Series.of(report).as_json()
        found["parts"] |= parts
    course.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    lines = (f" {_line(title)}: {_line(series)}" for title, series in drawn.items())
    charts.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    if propagation:
        shutil.copy(propagation / "propagation.json", KEPT)
    if bench:
        columns = ("application", "server", "connections", "ratio")
        rows = json.loads(bench.read_text())["throughput"]
        kept = [{name: row[name] for name in columns} for row in rows if row["server"] != FLOOR_NAME]
        (KEPT / "throughput.json").write_text("[\n" + ",\n".join(f" {_line(row)}" for row in kept) + "\n]\n")


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
