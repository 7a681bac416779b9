"""The picture of `throughput`: what each server answers beside stock gthread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from tools.benchmarks.servers import LANE, LEADER, STOCK

OURS, OTHERS = "#0072b2", "#999999"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the ratios of requests a second, a panel for each number of connections, as SVG or PNG."""
    counts = sorted({row["connections"] for row in rows})
    height = 0.4 * len(rows) / len(counts) + 1.2
    figure, axes = plt.subplots(1, len(counts), figsize=(5 * len(counts), height), squeeze=False)
    for axis, count in zip(axes[0], counts, strict=True):
        shown = sorted((row for row in rows if row["connections"] == count), key=lambda row: row["ratio"])
        names = [row["server"] for row in shown]
        ratios = [row["ratio"] for row in shown]
        spread = [
            [ratio.median - ratio.lowest for ratio in ratios],
            [ratio.highest - ratio.median for ratio in ratios],
        ]
        colours = [OURS if name in (LANE.name, LEADER.name) else OTHERS for name in names]
        axis.barh(names, [ratio.median for ratio in ratios], xerr=spread, color=colours, ecolor="#333333")
        axis.axvline(1, color="#333333", linewidth=0.8)
        axis.set_title(f"{count} connections", fontsize=10)
        axis.set_xlabel(f"requests a second, {STOCK.name} = 1")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
