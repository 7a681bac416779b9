"""The page: one HTML file that opens without network, for one experiment or a course of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from kubectl_lossless.measure.report import report_json
from kubectl_lossless.measure.report.chart import STYLE, chart
from kubectl_lossless.measure.report.compare import Goal, Published, Row, row_of, rows_as_cells
from kubectl_lossless.measure.report.figures import Figures
from kubectl_lossless.measure.report.model import Report
from kubectl_lossless.measure.report.overview import overview
from kubectl_lossless.measure.report.series import Series

WIDE, NARROW = 960, 400  # pixels; the page shows whichever fits


@dataclass(frozen=True)
class Section:
    """One experiment on the page."""

    report: Report
    figures: Figures
    wide: Markup
    narrow: Markup
    losses: list[tuple[int, str, str, str]]
    """(how many, kind, client, detail), the most first."""


@dataclass(frozen=True)
class Part:
    """Some experiments under one heading, with a sentence on their result."""

    title: str
    introduction: str
    reports: Sequence[Report]
    name: str = ""


@dataclass(frozen=True)
class Collection:
    """Content of a course's page."""

    title: str
    parts: Sequence[Part]
    goals: Sequence[Goal] = field(default_factory=list)
    known: Published = field(default_factory=Published)


def section(report: Report, name: str) -> Section:
    """Return the values that the page shows of an experiment; `name` is unique on the page."""
    series = Series.of(report)
    groups = Counter((str(f.kind), f.client, f.detail) for f in report.load.failures)
    return Section(
        report=report,
        figures=Figures.of(report),
        # The chart escapes its texts.
        wide=Markup(chart(series, WIDE, f"{name}w")),  # noqa: S704
        narrow=Markup(chart(series, NARROW, f"{name}n")),  # noqa: S704
        losses=[(count, *group) for group, count in groups.most_common()],
    )


def page(course: Collection) -> str:
    """Return the HTML of a course; a single experiment is a course of one part with one experiment."""
    # Imported here: completion starts the program for each TAB, and needs no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("kubectl_lossless.measure.report", "."),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = course.known
    parts = []
    for number, part in enumerate(course.parts):
        rows: list[Row] = [row_of(report, known) for report in part.reports]
        sections = [section(report, f"c{number}-{at}") for at, report in enumerate(part.reports)]
        # Escaped where it is drawn, like the charts.
        picture = Markup(overview(part.reports, WIDE, f"o{number}"))  # noqa: S704
        parts.append({"part": part, "table": rows_as_cells(rows), "sections": sections, "overview": picture})
    return environment.get_template("page.html.j2").render(
        course=course,
        parts=parts,
        chart_style=Markup(STYLE),  # noqa: S704 - our own constant
        source=known.source,
        one=sum(len(part.reports) for part in course.parts) == 1,
    )


def write_report(folder: Path, report: Report, goal: Goal | None = None) -> None:
    """Write report.json, index.html and chart.svg of one experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    report_json.write(report, folder / "report.json")
    (folder / "chart.svg").write_text(chart(Series.of(report), WIDE, style=True))
    (folder / "index.html").write_text(
        page(Collection(report.title, [Part("", "", [report])], [goal] if goal else []))
    )


def write_collection(folder: Path, course: Collection) -> None:
    """Write index.html, and for each part its overview, NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(course))
    for part in course.parts:
        (folder / f"{part.name}.svg").write_text(overview(part.reports, WIDE, style=True))
