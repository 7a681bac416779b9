"""tools.docs.pictures: each picture shows its figures, to readers with and without sight and color."""

from __future__ import annotations

import re

import pytest

from tools.docs import figures
from tools.docs.pictures import (
    Row,
    pace_picture,
    ratios_picture,
    routes_picture,
    stops_picture,
    termination_picture,
    with_alternative,
)

ROWS = (
    Row("v1 → v2", "stop at once", 7, (3.0, 3.2), 0, 6.1, 9.3),
    Row("v4 → v5", "preStop sleep 20 s", 0, (22.5, 23.2), 30, 36.0, 59.2),
)


def widths(svg: str, css: str) -> list[float]:
    return [float(width) for width in re.findall(rf'<rect class="{css}"[^>]* width="([\d.]+)"', svg)]


def test_termination_picture_draws_time_to_terminate_and_not_duration_of_update() -> None:
    svg = termination_picture(ROWS)
    short, long = widths(svg, "v1")[-2:]
    assert short / long == pytest.approx(3.2 / 23.2, rel=0.01)
    assert "59" not in re.sub(r'="[^"]*"', "", svg.partition("</style>")[2])
    assert "v1 → v2 (old pods: stop at once): 7 lost, a pod takes 3.0-3.2 s to terminate" in svg


def test_pace_picture_separates_pace_from_leave() -> None:
    svg = pace_picture(ROWS)
    description = svg.partition("<desc")[2].partition("</desc>")[0]
    assert "v4 → v5: 0 lost, 6.0 s replacing pods, 30 s of chosen pace, 23.2 s until" in description
    pause = re.findall(r'url\(#hatch\)" x="[^"]*" y="[^"]*" width="([\d.]+)"', svg)
    stripe = re.findall(r'url\(#stripe\)" x="[^"]*" y="[^"]*" width="([\d.]+)"', svg)
    assert float(pause[-1]) / float(stripe[-1]) == pytest.approx(30 / 23.2, rel=0.01)


def test_routes_picture_names_median_and_longest() -> None:
    assert "NodePort: median 0.10 s, longest 0.60 s" in routes_picture([("NodePort", 0.1, 0.6)], 6)


def test_stops_picture_draws_the_time_for_which_a_pod_serves() -> None:
    svg = stops_picture(routes=0.6, stock=3.1, sleep=20.0, preset=24.0, minimum=5.0, drain=6.9)
    sleep, drain = widths(svg, "v1")[-2:]
    assert drain / sleep == pytest.approx(5 / 20, rel=0.01)
    assert "With preStop the pod serves for 20 s and is gone after 24.0 s." in svg


RATIOS = [
    {"application": "Flask", "server": server, "connections": connections, "ratio": ratio}
    for server, connections, ratio in (
        ("gthread", 8, [1.0, 1.0, 1.0]),
        ("gthread", 64, [1.0, 1.0, 1.0]),
        ("leader", 8, [2.0, 1.5, 2.5]),
        ("leader", 64, [1.6, 1.4, 1.9]),
    )
]


def test_ratios_picture_draws_median_and_range_of_each_number_of_connections() -> None:
    svg = ratios_picture(RATIOS, ["leader"])
    assert "Flask: leader 2.00 and 1.60, gthread 1.00 and 1.00." in svg
    _, leader, gthread = widths(svg, "v1")
    assert leader / gthread == pytest.approx(2.0, rel=0.01)
    lines = [(float(low), float(high)) for low, high in re.findall(r'"1.5" x1="([\d.]+)" x2="([\d.]+)"', svg)]
    low, high = lines[0]
    assert (high - low) / gthread == pytest.approx(2.5 - 1.5, rel=0.01)


def test_only_servers_with_the_drain_are_bold() -> None:
    svg = ratios_picture(RATIOS, ["leader"])
    assert re.findall(r'class="([^"]*)">(?:leader|gthread)<', svg) == ["name", ""]


PHONE = 360
"""Width of a telephone's page, in pixels."""


@pytest.mark.parametrize("name", figures.DRAWN)
def test_letters_of_a_picture_are_legible_on_a_phone(name: str) -> None:
    svg = (figures.PICTURES / name).read_text()
    width = float(re.findall(r'viewBox="0 0 (\d+)', svg)[0])
    letters = float(re.findall(r"\.chart text \{[^}]*font(?:-size)?: (\d+)px", svg)[-1])
    assert letters * PHONE / width >= 10


def test_new_text_alternative_replaces_the_old_one() -> None:
    once = with_alternative('<svg class="a" aria-label="old" role="img"><g/></svg>', "A & B", "first")
    twice = with_alternative(once, "C", "second")
    assert 'aria-label="old"' not in once
    assert "A &amp; B" in once
    assert "first" not in twice
    assert twice.count("<title") == twice.count("<desc") == 1
    with pytest.raises(ValueError, match="no <svg>"):
        with_alternative("<html></html>", "A", "B")


@pytest.mark.parametrize(
    ("rung", "how"),
    [
        ("v1", "stop at once"),
        ("v4", "preStop sleep 20 s"),
        ("v5", "the drain"),
        ("v6", "the drain, and Envoy's"),
    ],
)
def test_stop_of_a_rung_is_read_from_its_manifest(rung: str, how: str) -> None:
    assert figures.stop(rung) == how


def test_pace_of_an_update_is_read_from_the_manifest_of_its_target() -> None:
    assert figures.pace({"target": "v3", "title": "v3 → v3"}) == (0, 3)
    assert figures.pace({"target": "v5", "title": "v5 → v5"}) == (10, 3)
    assert figures.pace({"target": "v5", "title": f"v5 → v5 {figures.WITHOUT_PACE}"}) == (0, 3)
