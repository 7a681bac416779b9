"""Picture of a pod's termination: when each route to the service had been updated."""

from markupsafe import escape

from kubectl_lossless.measure.propagation import ENDPOINTS, Propagation
from kubectl_lossless.measure.report.chart import STYLE
from kubectl_lossless.measure.report.figures import percentile

ROW = 30
BAR = 14
TOP = 40
LEFT = 210
WIDTH = 960


def timeline(found: Propagation) -> str:
    """Return a standalone SVG: a bar up to the median of each row, a line on to the longest."""
    gone = [each.gone for each in found.terminations]
    end = max(gone) * 1.02
    per_second = (WIDTH - LEFT - 90) / end
    words = dict.fromkeys(found.routes(), "still gets new connections")
    words[ENDPOINTS] = "ready"
    rows = [(route, words[route], found.times(route), "v1") for route in found.routes()]
    rows.append(("the pod", "serves, announces closes, stops when quiet", gone, "v0"))
    height = TOP + ROW * len(rows) + 28
    drawn = [
        f'<text x="{LEFT}" y="16" class="name">seconds after the pod was marked for deletion'
        f'<tspan class="soft" font-weight="400"> (bar: median of {len(gone)} pods, line: the longest)'
        "</tspan></text>"
    ]
    step = max(1, round(end / 10))
    for second in range(0, int(end) + 1, step):
        x = LEFT + second * per_second
        drawn += [
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{height - 24}"/>',
            f'<text class="soft middle" x="{x:.1f}" y="{height - 8}">{second}</text>',
        ]
    for at, (name, label, times, css) in enumerate(rows):
        y = TOP + ROW * at
        median, longest = percentile(times, 0.5), max(times)
        x = LEFT + longest * per_second
        inside = longest * per_second > WIDTH / 2
        drawn += [
            f'<text class="end" x="{LEFT - 10}" y="{y + BAR - 3}">{escape(name)}</text>',
            f'<rect class="{css}" x="{LEFT}" y="{y}" width="{max(1.5, median * per_second):.1f}"'
            f' height="{BAR}"/>',
            f'<line class="typical" x1="{LEFT + median * per_second:.1f}" x2="{x:.1f}"'
            f' y1="{y + BAR / 2}" y2="{y + BAR / 2}"/>',
            f'<text x="{LEFT + 8 if inside else x + 8:.1f}" y="{y + BAR - 3}">'
            f'{escape(label)} <tspan class="soft">{median:.2f} s, at most {longest:.2f} s</tspan></text>',
        ]
    return "".join(
        [
            '<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            ' aria-label="How long each route to the service leads to a pod that terminations">',
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="var(--paper)"/>',
            *drawn,
            "</svg>\n",
        ]
    )
