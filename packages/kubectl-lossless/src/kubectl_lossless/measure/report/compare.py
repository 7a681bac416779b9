"""The table: the figures of each update, compared with published ones where there are any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_lossless.measure.report.figures import Figures
from kubectl_lossless.measure.report.model import Report


@dataclass(frozen=True)
class Published:
    """Figures of somebody else to compare with, and where they are from."""

    source: str = ""
    updates: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """(from, to): requests lost, seconds."""


@dataclass(frozen=True)
class Goal:
    """Something the experiment must show, and whether it did."""

    sentence: str
    held: bool


@dataclass(frozen=True)
class Row:
    """One update in the table."""

    title: str
    figures: Figures
    course: tuple[int, float] | None
    problem: bool


HEADINGS = (
    "update",
    "requests",
    "lost",
    "course: lost",
    "closed without notice",
    "complete, s",
    "course: s",
    "last old pod gone, s",
    "an old pod's termination, s",
    "extra pods",
    "extra pod-seconds",
    "fewest ready",
)


def row_of(report: Report, known: Published) -> Row:
    """Return the row of a report."""
    plain = report.title == f"{report.source} → {report.target}"
    course = known.updates.get((report.source, report.target)) if plain else None
    return Row(report.title, Figures.of(report), course, report.problem is not None)


def rows_as_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table's cells, the headings first, without columns that are empty in every row."""
    cells = [list(HEADINGS)]
    for row in rows:
        figures = row.figures
        draining = figures.draining_seconds
        leave = f"{draining[0]:.1f}-{draining[-1]:.1f}" if draining else "-"
        cells.append(
            [
                row.title,
                f"{figures.requests:,}",
                str(figures.lost),
                str(row.course[0]) if row.course else "",
                str(figures.closed_without_notice),
                "failed" if row.problem else _seconds(figures.seconds_complete),
                f"{row.course[1]:g}" if row.course else "",
                _seconds(figures.seconds_old_gone),
                leave,
                f"+{figures.extra_pods}",
                f"{figures.extra_pod_seconds:.0f}",
                str(figures.fewest_ready),
            ]
        )
    used = [column for column in range(len(HEADINGS)) if any(line[column] for line in cells[1:])]
    return [[line[column] for column in used] for line in cells]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
