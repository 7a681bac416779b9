"""Pictures that are drawn from measured figures, with their text alternatives.

A picture has a title and a description for readers who cannot see it, and its own light and dark colors. No
color is the only sign: lost requests and times have separate panels, and parts of a bar differ in filling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from kubectl_lossless.measure.report.chart import STYLE, chart
from kubectl_lossless.measure.report.page import NARROW
from kubectl_lossless.measure.report.series import Series

WIDTH = 480
"""Width of a picture in pixels; a telephone of 360 pixels shows the letters at 11 pixels."""
SIZE = 15
"""Size of the letters, in pixels."""
LEFT = 8
TOP = 44
ROW, BAR = 54, 16
"""Height of a row, its words and its bar, and of the bar alone, in pixels."""
LOST_PANEL = 140
"""Width of the panel of lost requests, in pixels."""
TEXT_ROOM = 112
"""Room for the figure to the right of the longest bar, in pixels."""
OUTER = re.compile(r"<svg [^>]*>")


@dataclass(frozen=True)
class Row:
    """One update. Times are in seconds.

    `stop`: how the old pods stop. `termination`: the shortest and the longest time from a pod's deletion
    until it is gone. `pace`: the sum of minReadySeconds that the update waits. `complete`: until the last
    new pod is available. `gone`: until the last old pod is gone.
    """

    title: str
    stop: str
    lost: int
    termination: tuple[float, float]
    pace: float = 0.0
    complete: float = 0.0
    gone: float = 0.0


def _text(x: float, y: float, text: str, css: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}">{text if "<" in text else escape(text)}</text>'


def _bar(x: float, y: float, width: float, filling: str) -> str:
    return f'<rect {filling} x="{x:.1f}" y="{y + 0.5:.1f}" width="{max(width, 0):.1f}" height="{BAR - 1}"/>'


def _svg(height: float, title: str, description: str, parts: Sequence[str]) -> str:
    patterns = (
        '<defs><pattern id="stripe" width="4" height="4" patternUnits="userSpaceOnUse">'
        '<rect width="4" height="1.6" class="v1"/></pattern>'
        '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)">'
        '<rect width="1.6" height="6" class="v0"/></pattern>'
        '<pattern id="refuse" width="5" height="5" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)">'
        '<rect width="2.5" height="5" class="lost"/></pattern></defs>'
    )
    return with_alternative(
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height:.0f}"'
        f' width="{WIDTH}" height="{height:.0f}">'
        f"<style>{STYLE}.chart text {{ font-size: {SIZE}px; }}</style>{patterns}"
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="var(--paper)"/>{"".join(parts)}</svg>\n',
        title,
        description,
    )


def with_alternative(svg: str, title: str, description: str) -> str:
    """Return a picture with this title and description in place of its former ones."""
    svg = re.sub(r"<(title|desc) id=.*?</\1>", "", svg, flags=re.DOTALL)
    outer = OUTER.search(svg)
    if outer is None:
        raise ValueError("no <svg> element")
    opening = re.sub(r' (aria-label|aria-labelledby|role)="[^"]*"', "", outer[0])
    opening = opening.replace("<svg ", '<svg role="img" aria-labelledby="title desc" ', 1)
    words = f'<title id="title">{escape(title)}</title><desc id="desc">{escape(description)}</desc>'
    return svg[: outer.start()] + opening + words + svg[outer.end() :]


def _range(times: tuple[float, float]) -> str:
    low, high = f"{times[0]:.1f}", f"{times[1]:.1f}"
    return low if low == high else f"{low}-{high}"


def _row(at: int, top: float = TOP) -> tuple[float, float]:
    """Return the baseline of a row's words, and the top of its bars."""
    y = top + ROW * at
    return y + SIZE, y + SIZE + 7


def _words(strong: str, soft: str) -> str:
    return (
        f'<tspan class="name">{escape(strong)}</tspan>'
        f'<tspan class="soft" xml:space="preserve">  {escape(soft)}</tspan>'
    )


def _names(rows: Sequence[Row], top: float = TOP) -> list[str]:
    """Draw the words above the bars: the update, and how its old pods stop."""
    return [_text(LEFT, _row(at, top)[0], _words(row.title, row.stop)) for at, row in enumerate(rows)]


def _lost(rows: Sequence[Row], top: float = TOP) -> list[str]:
    scale = (LOST_PANEL - 56) / max(1, *(row.lost for row in rows))
    parts = [_text(LEFT, 18, "Requests lost", "name")]
    for at, row in enumerate(rows):
        (_, y), width = _row(at, top), row.lost * scale
        if row.lost:
            parts.append(_bar(LEFT, y, width, 'class="lost"'))
        x = LEFT + (width + 6 if row.lost else 0)
        parts.append(_text(x, y + BAR - 2, f"{row.lost}", "lost-count" if row.lost else "name"))
    return parts


def termination_picture(rows: Sequence[Row]) -> str:
    """Draw for each update the requests that it lost and the time that an old pod takes to terminate."""
    left = LEFT + LOST_PANEL
    scale = (WIDTH - left - TEXT_ROOM) / max(row.termination[1] for row in rows)
    parts = [
        *_names(rows),
        *_lost(rows),
        _text(left, 18, "Cost: time a pod takes to terminate", "name"),
    ]
    for at, row in enumerate(rows):
        (_, y), width = _row(at), row.termination[1] * scale
        parts.append(_bar(left, y, width, 'class="v1"'))
        parts.append(_text(left + width + 6, y + BAR - 2, f"{_range(row.termination)} s", "name"))
    said = "; ".join(
        f"{row.title} (old pods: {row.stop}): {row.lost} lost, "
        f"a pod takes {_range(row.termination)} s to terminate"
        for row in rows
    )
    return _svg(
        TOP + ROW * len(rows) + 4,
        "Requests lost in each update, and the time that one pod takes to terminate",
        f"A bar chart. {said}.",
        parts,
    )


def pace_picture(rows: Sequence[Row]) -> str:
    """Draw for each update the lost requests, and its time: replacing pods, pace, and the last pod's end."""
    left, top = LEFT + LOST_PANEL, TOP + 44.0
    scale = (WIDTH - left - 52) / max(row.gone for row in rows)
    solid, pause, stripe = (
        'class="v1"',
        'class="s0" fill="url(#hatch)"',
        'class="s1" fill="url(#stripe)"',
    )
    parts = [*_names(rows, top), *_lost(rows, top)]
    for at, (filling, words) in enumerate(
        (
            (solid, "replacing pods"),
            (pause, "pace: minReadySeconds"),
            (stripe, "cost: the last old pod terminates"),
        )
    ):
        parts += [_bar(left, 5 + 22 * at, 16, filling), _text(left + 22, 18 + 22 * at, words)]
    for at, row in enumerate(rows):
        (_, y), at_x = _row(at, top), float(left)
        end = max(row.gone, row.complete)
        for seconds, filling in (
            (row.complete - row.pace, solid),
            (row.pace, pause),
            (end - row.complete, stripe),
        ):
            if seconds > 0:
                parts.append(_bar(at_x, y, seconds * scale, filling))
            at_x += seconds * scale
        parts.append(_text(at_x + 6, y + BAR - 2, f"{end:.0f} s", "name"))
    said = "; ".join(
        f"{row.title}: {row.lost} lost, {row.complete - row.pace:.1f} s replacing pods, {row.pace:.0f} s of "
        f"chosen pace, {max(0.0, row.gone - row.complete):.1f} s until the last old pod is gone"
        for row in rows
    )
    return _svg(
        top + ROW * len(rows) + 4,
        "Requests lost by each rung rolled onto itself, and where the update's time goes",
        f"A stacked bar chart. {said}.",
        parts,
    )


def routes_picture(rows: Sequence[tuple[str, float, float]], pods: int) -> str:
    """Draw for how long each route leads to a terminating pod: name, median and longest time in seconds."""
    scale = (WIDTH - LEFT - 16) / max(longest for _, _, longest in rows)
    parts = [
        _text(LEFT, 18, "Seconds after the pod was marked for deletion", "name"),
        _text(LEFT, 40, f"bar: median of {pods} pods, line: the longest", "soft"),
    ]
    for at, (name, median, longest) in enumerate(rows):
        (words, y), end = _row(at, TOP + 12), LEFT + longest * scale
        middle = y + BAR / 2
        parts += [
            _text(LEFT, words, _words(name, f"{median:.2f} s, at most {longest:.2f} s")),
            f'<line stroke="var(--ink)" x1="{LEFT}" x2="{end:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<line stroke="var(--ink)" x1="{end:.1f}" x2="{end:.1f}" y1="{y + 2}" y2="{y + BAR - 2}"/>',
            _bar(LEFT, y, max(1.5, median * scale), 'class="v1"'),
        ]
    said = "; ".join(
        f"{name}: median {median:.2f} s, longest {longest:.2f} s" for name, median, longest in rows
    )
    return _svg(
        TOP + 16 + ROW * len(rows),
        "Time for which each route still leads to a terminating pod",
        f"A bar chart. {said}.",
        parts,
    )


def rollout_picture(series: Series, description: str) -> str:
    """Draw one update over its seconds: losses, responses, latencies, and each pod's life."""
    return with_alternative(chart(series, NARROW, style=True) + "\n", series.title, description)


def ratios_picture(rows: Iterable[Mapping[str, Any]], drained: Sequence[str]) -> str:
    """Draw for each application the ratios of its servers: a bar for each number of connections.

    A row has application, server, connections and ratio: median, lowest and highest. `drained` names the
    servers with the drain.
    """
    ratios: dict[str, dict[str, dict[int, Sequence[float]]]] = {}
    for row in rows:
        servers = ratios.setdefault(row["application"], {})
        servers.setdefault(row["server"], {})[row["connections"]] = row["ratio"]
    counts = sorted({count for servers in ratios.values() for each in servers.values() for count in each})
    fillings = dict(zip(counts, ('class="v1"', 'class="s1" fill="url(#stripe)"'), strict=True))
    parts = [_text(LEFT, 18, "Requests per second; gthread is 1", "name")]
    for at, (count, filling) in enumerate(fillings.items()):
        x = LEFT + 180 * at
        parts += [_bar(x, 30, 16, filling), _text(x + 22, 43, f"{count} connections")]
    parts.append(_text(LEFT, 66, "line: lowest to highest round; bold: with the drain", "soft"))
    y, said = 68.0, []
    for application, servers in ratios.items():
        parts.append(_text(LEFT, y + 32, application, "name"))
        drawn, y, words = _ratios(servers, fillings, drained, y + 44)
        parts += drawn
        said.append(f"{application}: {words}")
    return _svg(
        y,
        "Requests per second of each server with each application, compared with Gunicorn's gthread",
        f"Bar charts, the ratios with {' and '.join(map(str, counts))} connections. {'. '.join(said)}.",
        parts,
    )


def _ratios(
    servers: Mapping[str, Mapping[int, Sequence[float]]],
    fillings: Mapping[int, str],
    drained: Sequence[str],
    top: float,
) -> tuple[list[str], float, str]:
    """Draw an application's servers below `top`; return the parts, their end, and the figures in words."""
    left, height, y = LEFT + 132, 13, top
    highest = max(high for ratios in servers.values() for _, _, high in ratios.values())
    scale = (WIDTH - left - TEXT_ROOM) / highest
    one = f"{left + scale:.1f}"
    parts, said = [], []
    # The fastest with the fewest connections first.
    for server, ratios in sorted(servers.items(), key=lambda item: -item[1][min(fillings)][0]):
        medians = [f"{ratios[count][0]:.2f}" for count in fillings]
        said.append(f"{server} {' and '.join(medians)}")
        parts.append(_text(LEFT, y + height + 5, server, "name" if server in drained else ""))
        parts.append(_text(WIDTH - LEFT, y + height + 5, " · ".join(medians), "end"))
        for count, filling in fillings.items():
            median, low, high = (left + ratio * scale for ratio in ratios[count])
            middle = y + height / 2
            parts += [
                f'<rect {filling} x="{left}" y="{y + 0.5}" width="{median - left:.1f}"'
                f' height="{height - 2}"/>',
                f'<line stroke="var(--ink)" stroke-width="1.5" x1="{low:.1f}" x2="{high:.1f}"'
                f' y1="{middle}" y2="{middle}"/>',
            ]
            y += height
        y += 6
    parts.append(
        f'<line stroke="var(--ink)" stroke-dasharray="3 3" x1="{one}" x2="{one}" y1="{top - 4}" y2="{y}"/>'
    )
    return parts, y, ", ".join(said)


def _lane(
    at: int,
    name: str,
    words: str,
    segments: Sequence[tuple[float, float, str]],
    scale: float,
) -> list[str]:
    """Draw one way to stop: its words, and segments (begin, end, filling) in seconds from the deletion."""
    baseline, y = _row(at)
    return [
        _text(LEFT, baseline, _words(name, words)),
        *(_bar(LEFT + begin * scale, y, (end - begin) * scale, filling) for begin, end, filling in segments),
    ]


def stops_picture(  # noqa: PLR0913 - all named
    *, routes: float, stock: float, sleep: float, preset: float, minimum: float, drain: float
) -> str:
    """Draw the three ways to stop on one time axis.

    All values are seconds after the pod's deletion: until the last route has changed, until a pod that stops
    at once is gone, until preStop ends and its pod is gone, and until a drain may end and its pod is gone.
    """
    scale = (WIDTH - 2 * LEFT) / max(stock, preset, drain)
    solid, stripe = 'class="v1"', 'class="s1" fill="url(#stripe)"'
    refuses = 'stroke="var(--lost)" fill="url(#refuse)"'
    lanes = [
        _lane(0, "Stock Gunicorn", f"{stock:.1f} s; refuses new connections", [(0, stock, refuses)], scale),
        _lane(
            1,
            f"preStop sleep {sleep:.0f} s",
            f"{preset:.1f} s; serves, then stops",
            [(0, sleep, solid), (sleep, preset, stripe)],
            scale,
        ),
        _lane(
            2,
            "The drain",
            f"{drain:.1f} s; serves and announces, then stops",
            [(0, minimum, solid), (minimum, drain, stripe)],
            scale,
        ),
    ]
    x, bottom = LEFT + routes * scale, TOP + ROW * len(lanes)
    marked = [_row(at)[1] for at in range(len(lanes))]
    parts = [
        _text(LEFT, 18, "Seconds after the pod is deleted", "name"),
        *(part for lane in lanes for part in lane),
        *(
            f'<line stroke="var(--ink)" stroke-width="2" x1="{x:.1f}" x2="{x:.1f}"'
            f' y1="{y - 3:.1f}" y2="{y + BAR + 3:.1f}"/>'
            for y in (*marked, bottom + 4)
        ),
        _text(x + 8, bottom + BAR + 1, f"from here on no route leads to the pod ({routes:.1f} s)", "soft"),
    ]
    return _svg(
        bottom + 28,
        "Three ways to stop a pod: stock Gunicorn, preStop and the drain",
        f"A timeline from the pod's deletion. Routes lead to the pod for up to {routes:.1f} s. Stock "
        f"Gunicorn closes its listener at once and is gone after {stock:.1f} s. With preStop the pod serves "
        f"for {sleep:.0f} s and is gone after {preset:.1f} s. With the drain it serves and announces closes "
        f"for {minimum:.0f} s at least, and is gone after {drain:.1f} s.",
        parts,
    )
