"""The report in a terminal."""

from collections.abc import Sequence

from kubectl_lossless.measure.report.compare import Goal, Published, row_of, rows_as_cells
from kubectl_lossless.measure.report.model import Report

HEADING_WIDTH = 10


def table(cells: Sequence[Sequence[str]]) -> str:
    """Return cells in columns, the first left-aligned; long headings are broken into lines of words."""
    headings = [_broken(text) for text in cells[0]]
    depth = max(len(lines) for lines in headings)
    top = [[([""] * (depth - len(lines)) + lines)[at] for lines in headings] for at in range(depth)]
    lines = [*top, *cells[1:]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(cells[0]))]
    drawn = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    drawn.insert(depth, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(drawn)


def _broken(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > HEADING_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def text(reports: Sequence[Report], goals: Sequence[Goal] = (), known: Published | None = None) -> str:
    """Return the table, the losses, and the goals; `known` are figures to compare with."""
    known = known or Published()
    parts = [table(rows_as_cells([row_of(report, known) for report in reports]))]
    if "course: lost" in rows_as_cells([row_of(report, known) for report in reports])[0]:
        parts.append(f"course: {known.source}")
    for report in reports:
        if report.problem:
            parts.append(f"{report.title} did not complete. {report.problem}")
        if report.load.failures:
            parts.append(f"{report.title}: {report.load.summary()}")
    parts += [f"{'held' if goal.held else 'NOT HELD'}: {goal.sentence}" for goal in goals]
    return "\n\n".join(parts)
