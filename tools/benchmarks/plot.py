"""The picture of `throughput`: requests a second, Gunicorn's gthread with the same application being 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from tools.benchmarks.servers import FLOOR_NAME, LANE_NAME, LEADER_NAME, STOCK_NAME

OURS, OTHERS = "#0072b2", "#999999"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw ratios of requests a second: a row for each application, a column for each number of connections.

    The floor is left out: it is no server. `path` ends in .svg or .png.
    """
    applications = list(dict.fromkeys(row["application"] for row in rows))
    counts = sorted({row["connections"] for row in rows})
    servers = len({row["server"] for row in rows}) - 1
    figure, axes = plt.subplots(
        len(applications),
        len(counts),
        figsize=(5 * len(counts), (0.3 * servers + 1) * len(applications)),
        squeeze=False,
    )
    for line, application in zip(axes, applications, strict=True):
        for axis, count in zip(line, counts, strict=True):
            shown = [
                row
                for row in rows
                if (row["application"], row["connections"]) == (application, count)
                and row["server"] != FLOOR_NAME
            ]
            _panel(axis, sorted(shown, key=lambda row: row["ratio"]))
            axis.set_title(f"{application}, {count} connections", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel(f"requests a second, {STOCK_NAME} = 1")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _panel(axis: Any, rows: list[dict[str, Any]]) -> None:
    names = [row["server"] for row in rows]
    ratios = [row["ratio"] for row in rows]
    spread = [
        [ratio.median - ratio.lowest for ratio in ratios],
        [ratio.highest - ratio.median for ratio in ratios],
    ]
    colours = [OURS if name in (LANE_NAME, LEADER_NAME) else OTHERS for name in names]
    axis.barh(names, [ratio.median for ratio in ratios], xerr=spread, color=colours, ecolor="#333333")
    axis.axvline(1, color="#333333", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
