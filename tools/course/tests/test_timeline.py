"""Report of the time for which routes to a service lead to a terminating pod."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from kubectl_lossless.measure.propagation import ENDPOINTS, Propagation, Termination
from kubectl_lossless.measure.report.timeline import timeline

FOUND = Propagation(
    rung="v5",
    kubernetes="v1.35.4",
    terminations=[
        Termination("a", {ENDPOINTS: 0.01, "NodePort, 10.0.0.1": 0.2}, 6.3),
        Termination("b", {ENDPOINTS: 0.03, "NodePort, 10.0.0.1": 1.6}, 6.5),
        Termination("c", {ENDPOINTS: 0.02, "NodePort, 10.0.0.1": 0.0}, 6.4),
    ],
    requests=3000,
    lost={},
)


def test_table_and_drain_min_follow_from_the_measured_times() -> None:
    assert FOUND.table() == [
        ["route", "median, s", "longest, s"],
        ["EndpointSlice", "0.02", "0.03"],
        ["NodePort, 10.0.0.1", "0.20", "1.60"],
        ["the pod is gone", "6.40", "6.50"],
    ]
    assert FOUND.drain_min == 4  # 2 x 1.6 s, whole seconds


def test_propagation_is_kept_as_json(tmp_path: Path) -> None:
    path = tmp_path / "propagation.json"
    path.write_text(FOUND.to_json())
    assert Propagation.read(path) == FOUND
    path.write_text('{"rung": "v5"}')
    with pytest.raises(KeyError):
        Propagation.read(path)


def test_picture_has_the_figures() -> None:
    text = "".join(ElementTree.fromstring(timeline(FOUND)).itertext())
    assert "0.20 s, at most 1.60 s" in text
    assert "6.40 s, at most 6.50 s" in text
