"""The course on one picture: for each update its losses, and how long it and its old pods took."""

from collections.abc import Sequence

from markupsafe import escape

from kubectl_lossless.measure.report.chart import STYLE
from kubectl_lossless.measure.report.figures import Figures
from kubectl_lossless.measure.report.model import Report

ROW = 26
BAR = 12
TOP = 34
LOST_WIDTH = 0.26
"""The share of the room that the column of lost requests has; the rest is time."""


def overview(reports: Sequence[Report], width: int = 960, name: str = "overview", style: bool = False) -> str:
    """Return the SVG of several reports, a row each.

    `name` must differ between pictures on one page; `style` makes it complete in itself.
    """
    rows = [(report.title, Figures.of(report)) for report in reports]
    left = 8 + 7.2 * max(len(title) for title, _ in rows)
    room = width - left - 16
    time_left = left + room * LOST_WIDTH + 24
    most_lost = max(1, *(figures.lost for _, figures in rows))
    longest = max(1.0, *(_end(figures) for _, figures in rows))
    per_lost = (room * LOST_WIDTH - 40) / most_lost
    per_second = (width - 56 - time_left) / longest
    height = TOP + ROW * len(rows) + 6
    drawn = [
        f'<text x="{left:.0f}" y="14" class="name">lost requests</text>',
        f'<text x="{time_left:.0f}" y="14" class="name">seconds until the update is complete'
        '<tspan class="soft" font-weight="400"> and the last old pod is gone</tspan></text>',
    ]
    for at, (title, figures) in enumerate(rows):
        y = TOP + ROW * at
        base = y + BAR - 2
        css = "lost-count" if figures.lost else "soft"
        lost = figures.lost * per_lost
        drawn += [
            f'<text x="{left - 10:.1f}" y="{base}" class="end">{escape(title)}</text>',
            f'<rect class="lost" x="{left:.1f}" y="{y}" width="{lost:.1f}" height="{BAR}"/>' if lost else "",
            f'<text x="{left + lost + 5:.1f}" y="{base}" class="{css}">{figures.lost}</text>',
        ]
        if figures.seconds_complete is None:
            drawn.append(f'<text x="{time_left:.1f}" y="{base}" class="lost-count">not completed</text>')
            continue
        complete = figures.seconds_complete * per_second
        rest = max(0.0, _end(figures) * per_second - complete)
        drawn += [
            f'<rect class="v1" x="{time_left:.1f}" y="{y}" width="{complete:.1f}" height="{BAR}"/>',
            f'<rect class="s1" fill="url(#{name}-stripe)" x="{time_left + complete:.1f}" y="{y + 0.5}"'
            f' width="{rest:.1f}" height="{BAR - 1}"/>',
            f'<text x="{time_left + complete + rest + 6:.1f}" y="{base}">{_end(figures):.0f} s</text>',
        ]
    return "".join(
        [
            '<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img"',
            f' viewBox="0 0 {width} {height}"',
            f' width="{width}" height="{height}"' if style else "",
            ' aria-label="Lost requests and duration of each update">',
            f"<style>{STYLE}</style>" if style else "",
            f'<defs><pattern id="{name}-stripe" width="4" height="4" patternUnits="userSpaceOnUse">'
            '<rect width="4" height="1.6" class="v1"/></pattern></defs>',
            f'<rect width="{width}" height="{height}" fill="var(--paper)"/>' if style else "",
            *drawn,
            "</svg>",
        ]
    )


def _end(figures: Figures) -> float:
    return max(figures.seconds_complete or 0.0, figures.seconds_old_gone or 0.0)
