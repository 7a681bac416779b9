"""The chart of one experiment, as SVG: losses, responses, latencies, and each pod's life.

All panels share one time axis, seconds since the update was applied. Nothing is shown by colour alone:
versions differ in lightness, states of pods in their filling, lost requests have their own panel.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import escape

from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.report.series import PodSpans, Series

STYLE = """
:root { --paper: #ffffff; --ink: #1c2733; --soft: #566573; --line: #dde3e8; --shade: #f3f6f8;
  --v0: #93a1ae; --v1: #0b6cb0; --v2: #0f8a6d; --lost: #c2152c; --notice: #9a6700; --good: #17794a; }
@media (prefers-color-scheme: dark) { :root { --paper: #12181e; --ink: #e8edf2; --soft: #a3b0bc;
  --line: #2e3944; --shade: #1a222a; --v0: #6b7986; --v1: #5db4f2; --v2: #4ccfa8; --lost: #ff6b78;
  --notice: #e0ab4a; --good: #5fd39a; } }
.chart text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
.chart .soft { fill: var(--soft); }
.chart .name { font-weight: 600; }
.chart .end { text-anchor: end; }
.chart .middle { text-anchor: middle; }
.chart .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .mark { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.chart .lost { fill: var(--lost); }
.chart .notice { fill: none; stroke: var(--notice); stroke-width: 1.5; }
.chart .lost-count { fill: var(--lost); font-weight: 600; }
.chart .v0 { fill: var(--v0); } .chart .v1 { fill: var(--v1); } .chart .v2 { fill: var(--v2); }
.chart .s0 { stroke: var(--v0); } .chart .s1 { stroke: var(--v1); } .chart .s2 { stroke: var(--v2); }
.chart .typical { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.chart .spread { fill: var(--soft); opacity: .35; }
"""
"""The colours and fonts, light and dark; the page holds it once, a standalone chart carries it."""

GAP = 18
BAR = 14
WIDE = 600  # pixels, from which there is room for explanations
NARROW_LEFT = 76  # pixels, for the names of pods
LETTER = 6.6  # pixels, width of a letter
MINIMUM_STEP = 40  # pixels between labels of the time axis
VERSION_COLOURS = 3


@dataclass(frozen=True)
class Frame:
    """Geometry of the chart: pixels from seconds."""

    width: float
    left: float
    start: float
    end: float

    @property
    def right(self) -> float:
        """The end of the time axis."""
        return self.width - 32

    def x(self, seconds: float) -> float:
        """Return the pixel of a time, given in seconds since the update was applied."""
        seconds = min(max(seconds, self.start), self.end)
        return round(
            self.left + (seconds - self.start) / (self.end - self.start) * (self.right - self.left), 1
        )


def chart(series: Series, width: int = 960, name: str = "chart", style: bool = False) -> str:
    """Return the SVG of an experiment.

    `name` must differ between charts on one page; `style` makes it complete in itself.
    """
    longest = max((len(_pod_label(pod)) for pod in series.pods), default=0)
    left = max(96 if width >= WIDE else NARROW_LEFT, 14 + LETTER * longest)
    frame = Frame(width=width, left=left, start=series.start, end=series.end)
    parts: list[str] = []
    y = 16.0
    labels = event_labels(series.events, frame)
    y = _marks_room(labels, y)
    top = y
    for panel in (_lost, _responses, _latency, _pods):
        drawn, y = panel(series, frame, name, y)
        parts += drawn
        y += GAP
    parts = [*_time_axis(frame, top, y), *_marks(labels, y - GAP), *parts]
    height = y + 14
    parts += [_text(frame.right, y + 10, "seconds since the update was applied", "soft end")]
    label = f"{series.title}: {series.lost} of {series.requests} requests lost"
    return "".join(
        [
            '<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img"',
            f' viewBox="0 0 {width} {height:.0f}"'
            + (f' width="{width}" height="{height:.0f}"' if style else "")
            + f' aria-label="{escape(label)}">',
            f"<style>{STYLE}</style>" if style else "",
            _patterns(name),
            f'<rect width="{width}" height="{height:.0f}" fill="var(--paper)"/>' if style else "",
            *parts,
            "</svg>",
        ]
    )


def _colour(versions: Sequence[str], version: str) -> int:
    return versions.index(version) % VERSION_COLOURS


def _fill(versions: Sequence[str], version: str) -> str:
    """Return the CSS class of a version's columns; responses without a version have a class of their own."""
    return f"v{_colour(versions, version)}" if version else "spread"


def _text(x: float, y: float, text: object, css: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}">{escape(text)}</text>'


def _patterns(name: str) -> str:
    """Return the patterns of pod bars in each version's colour: hatched not ready, striped terminating."""
    made = []
    for colour in range(VERSION_COLOURS):
        made.append(
            f'<pattern id="{name}-hatch{colour}" width="6" height="6" patternUnits="userSpaceOnUse"'
            f' patternTransform="rotate(45)"><rect width="2" height="6" class="v{colour}"/></pattern>'
            f'<pattern id="{name}-stripe{colour}" width="4" height="4" patternUnits="userSpaceOnUse">'
            f'<rect width="4" height="1.6" class="v{colour}"/></pattern>'
        )
    return f"<defs>{''.join(made)}</defs>"


def _time_axis(frame: Frame, top: float, bottom: float) -> Iterator[str]:
    span = frame.end - frame.start
    room = (frame.right - frame.left) / MINIMUM_STEP
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600) if span / step <= room)
    for at in range(math.ceil(frame.start / step) * step, math.floor(frame.end) + 1, step):
        x = frame.x(at)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom - GAP:.1f}"/>'
        yield _text(x, bottom - 4, at, "soft middle")


@dataclass(frozen=True)
class EventLabel:
    """Words at the line of an event: the line, begin and end in pixels, and the row, 0 the uppermost."""

    text: str
    x: float
    begin: float
    end: float
    row: int

    @property
    def left_of_line(self) -> bool:
        """Whether the words end at the line."""
        return self.end == self.x

    def collides(self, other: "EventLabel") -> bool:
        """Return whether these words overlap the other's words, or its line, which begins in its row."""
        if self.row == other.row and self.begin < other.end + 6 and other.begin < self.end + 6:
            return True
        return self.row >= other.row and self.begin < other.x < self.end


def event_labels(events: Sequence[tuple[float, str]], frame: Frame) -> list[EventLabel]:
    """Return the label of each event, in few rows, to the right of its line where that crosses no line."""
    choices = []
    for at, words in events:
        text, x = f"{words} {at:.1f} s" if at else words, frame.x(at)
        width = LETTER * len(text)
        ends = [(x, x + width), (x - width, x)]
        choices.append([EventLabel(text, x, *end, row) for row in range(len(events)) for end in ends])

    def badness(labels: list[EventLabel]) -> tuple[int, int, int, int]:
        return (
            sum(label.begin < 0 or label.end > frame.width for label in labels),
            sum(one.collides(other) for one in labels for other in labels if one is not other),
            max(label.row for label in labels),
            sum(label.left_of_line for label in labels),
        )

    return min(map(list, itertools.product(*choices)), key=badness)


def _marks_room(labels: Sequence[EventLabel], y: float) -> float:
    return y + 15 * max(label.row for label in labels) + 8


def _marks(labels: Sequence[EventLabel], bottom: float) -> Iterator[str]:
    for label in labels:
        x, top = label.x, 4 + 15 * label.row
        yield f'<line class="mark" x1="{x}" x2="{x}" y1="{top}" y2="{bottom:.1f}"/>'
    for label in labels:
        x, css = (label.x - 4, "soft halo end") if label.left_of_line else (label.x + 4, "soft halo")
        yield _text(x, 14 + 15 * label.row, label.text, css)


Drawn = tuple[list[str], float]


def _title(frame: Frame, y: float, name: str, wide: str, short: str) -> list[str]:
    words = wide if frame.width >= WIDE else short
    said = f'<tspan class="soft" dx="8" font-weight="400">{escape(words)}</tspan>' if words else ""
    return [f'<text x="4" y="{y + 10:.1f}" class="name halo">{escape(name)}{said}</text>']


def _lost(series: Series, frame: Frame, _name: str, y: float) -> Drawn:
    """Draw lost requests per second, and the connections closed without notice."""
    drawn = _title(frame, y, "Lost requests", "per second", "per second")
    top, bottom = y + 28, y + 66
    by_second = {second: Counter(kinds) for second, kinds in series.failures}
    most = max((kinds.total() for kinds in by_second.values()), default=0)
    drawn.append(
        f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{bottom:.1f}" y2="{bottom:.1f}"/>'
    )
    for second, kinds in by_second.items():
        x, x2 = frame.x(second), frame.x(second + 1)
        height = max(4.0, (bottom - top) * kinds.total() / most)
        words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        drawn.append(
            f'<rect class="lost" x="{x:.1f}" y="{bottom - height:.1f}" width="{max(3.0, x2 - x - 1):.1f}"'
            f' height="{height:.1f}"><title>second {second}: {escape(words)}</title></rect>'
        )
        if kinds.total() == most or x2 - x > 14:
            drawn.append(_text((x + x2) / 2, bottom - height - 3, kinds.total(), "lost-count middle"))
    if not by_second:
        drawn.append(_text(frame.left + 4, bottom - 6, "none", "soft"))
    for second, count in series.closed:
        x = (frame.x(second) + frame.x(second + 1)) / 2
        drawn.append(
            f'<path class="notice" d="M{x:.1f} {bottom + 3:.1f}l4 4l-4 4l-4 -4z">'
            f"<title>second {second}: {count} idle connections closed without notice</title></path>"
        )
    if series.closed:
        total = sum(count for _, count in series.closed)
        drawn.append(_text(frame.left - 6, bottom + 11, f"{total} ◇", "soft end"))
        words = "◇ idle and closed without notice" if frame.width >= WIDE else "◇ closed without notice"
        drawn.append(_text(frame.right, y + 10, words, "soft halo end"))
        bottom += 12
    return drawn, bottom


def _responses(series: Series, frame: Frame, _name: str, y: float) -> Drawn:
    """Draw responses per second, a column for each second, stacked by version."""
    versions = series.versions
    by_second = {second: Counter(counts) for second, counts in series.responses}
    named = [
        version for version in versions if version and any(counts[version] for counts in by_second.values())
    ]
    drawn = _title(frame, y, "Responses", "per second, by version" if named else "per second", "per second")
    x = frame.right
    for version in reversed(named):
        x -= 7 * len(version) + 22
        drawn.append(
            f'<rect class="v{_colour(versions, version)}" x="{x:.1f}" y="{y + 1:.1f}"'
            ' width="10" height="10"/>'
        )
        drawn.append(_text(x + 14, y + 10, version, "halo"))
    top, bottom = y + 22, y + 142
    most = max((counts.total() for counts in by_second.values()), default=1)
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 5000, 10**9) if most / step <= 4)
    scale = (bottom - top) / (math.ceil(most / step) * step)
    for value in range(0, math.ceil(most / step) * step + 1, step):
        at = bottom - value * scale
        drawn.append(f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        drawn.append(_text(frame.left - 6, at + 4, value, "soft end"))
    for second, counts in by_second.items():
        x, x2 = frame.x(second), frame.x(second + 1)
        base = bottom
        words = ", ".join(f"{version} {counts[version]}".strip() for version in versions if counts[version])
        drawn.append(f"<g><title>second {second}: {escape(words)}</title>")
        for version in versions:
            height = counts[version] * scale
            if height:
                base -= height
                drawn.append(
                    f'<rect class="{_fill(versions, version)}" x="{x:.1f}" y="{base:.1f}"'
                    f' width="{max(0.5, x2 - x - 1):.1f}" height="{height:.1f}"/>'
                )
        drawn.append("</g>")
    return drawn, bottom


def _latency(series: Series, frame: Frame, _name: str, y: float) -> Drawn:
    """Draw the latency of each kind of client: the median as a line, up to the 99th percentile a band."""
    drawn = _title(
        frame,
        y,
        "Latency",
        "per second by client: median, and up to p99; the time that a request takes by design is left out",
        "by client: line median, band up to p99",
    )
    y += 20
    row = 34.0
    for client, latencies in series.latencies:
        bottom = y + row
        scale = _log_scale(y + 2, bottom)
        for value, words in ((1, "1 ms"), (1000, "1 s")):
            at = scale(value)
            drawn.append(
                f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            )
            drawn.append(_text(frame.right + 3, at + 4, words, "soft"))
        drawn.append(_text(frame.left - 6, y + row / 2 + 6, client, "end"))
        for run in _runs(latencies):
            points = [(frame.x(second + 0.5), scale(median), scale(p99)) for second, median, p99 in run]
            upper = " ".join(f"{x:.1f},{p99:.1f}" for x, _, p99 in points)
            lower = " ".join(f"{x:.1f},{p50:.1f}" for x, p50, _ in reversed(points))
            middle = " ".join(f"{x:.1f},{p50:.1f}" for x, p50, _ in points)
            drawn.append(f'<polygon class="spread" points="{upper} {lower}"/>')
            drawn.append(f'<polyline class="typical" points="{middle}"/>')
        y = bottom + 6
    return drawn, y - 6


def _runs(latencies: Sequence[tuple[int, float, float]]) -> Iterator[Sequence[tuple[int, float, float]]]:
    """Return the latencies in runs of consecutive seconds: no line crosses a second without responses."""
    first = 0
    for at in range(1, len(latencies) + 1):
        if at == len(latencies) or latencies[at][0] > latencies[at - 1][0] + 1:
            yield latencies[first:at]
            first = at


def _log_scale(top: float, bottom: float) -> Callable[[float], float]:
    """Return the pixels for a latency from 0.3 ms to 10 s, logarithmically."""
    low, high = math.log10(0.3), math.log10(10_000)

    def scale(ms: float) -> float:
        share = (math.log10(max(ms, 0.3)) - low) / (high - low)
        return round(bottom - min(share, 1.0) * (bottom - top), 1)

    return scale


def _pods(series: Series, frame: Frame, name: str, y: float) -> Drawn:
    """Draw a bar for each pod: pending, not ready, ready, terminating, terminated."""
    drawn = _title(frame, y, "Pods", "", "")
    x = min(frame.left, NARROW_LEFT)
    for state in (State.PENDING, State.NOT_READY, State.READY, State.DRAINING):
        drawn.append(_bar(_filling(state, 1, name), x, x + 16, y - 1))
        drawn.append(_text(x + 20, y + 10, _label(state), "soft halo"))
        x += (34 if frame.width >= WIDE else 29) + 6.4 * len(state)
    y += 20
    for pod in series.pods:
        colour = _colour(series.versions, pod.version)
        drawn.append(_text(frame.left - 6, y + 11, _pod_label(pod), "end"))
        for word, start, stop in pod.spans:
            state = State(word)
            words = f"{pod.name} {_label(state)} {max(start, frame.start):.1f} to {stop:.1f} s"
            drawn.append(_bar(_filling(state, colour, name), frame.x(start), frame.x(stop), y, words))
        y += 18
    return drawn, y


def _pod_label(pod: PodSpans) -> str:
    return f"{pod.version} {pod.name.rpartition('-')[2]}"


def _label(state: State) -> str:
    """Return a pod's state in Kubernetes' word: not every server drains while its pod terminates."""
    return "terminating" if state is State.DRAINING else state


def _filling(state: State, colour: int, name: str) -> str:
    """Return the attributes that show a pod's state in its version's colour."""
    match state:
        case State.READY:
            return f'class="v{colour} s{colour}"'
        case State.DRAINING:
            return f'class="s{colour}" fill="url(#{name}-stripe{colour})"'
        case State.NOT_READY:
            return f'class="s{colour}" fill="url(#{name}-hatch{colour})"'
        case _:
            return f'class="s{colour}" fill="none" stroke-dasharray="2 2"'


def _bar(filling: str, x: float, x2: float, y: float, words: str = "") -> str:
    title = f"<title>{escape(words)}</title>" if words else ""
    return (
        f'<rect {filling} x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{max(1.0, x2 - x - 1):.1f}"'
        f' height="{BAR - 1}">{title}</rect>'
    )
