"""Rows of the tables, and figures of several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tools.benchmarks.growth import slope

Row = dict[str, Any]


class Spread(NamedTuple):
    """Figures of several rounds."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lowest:.2f}-{self.highest:.2f})"


def spread(values: Iterable[float]) -> Spread:
    """Return median, lowest and highest value. Raises statistics.StatisticsError without values."""
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found))


def slope_row(rows: Sequence[Row], over: str, unit: float = 1, *, names: Mapping[str, Any]) -> Row:
    """Return the row of slopes below a curve: the change of each column's median for `unit` of `over`.

    `names` are the columns that name the curve; the other columns hold spreads or numbers.
    """
    positions = [row[over] / unit for row in rows]
    slopes: Row = {}
    for column in rows[0]:
        if column in names:
            slopes[column] = names[column]
        elif column == over:
            slopes[column] = f"slope per {unit:,g}"
        else:
            fit = slope(positions, [_number(row[column]) for row in rows])
            slopes[column] = str(fit)
    return slopes


def _number(figure: Spread | float) -> float:
    return figure.median if isinstance(figure, Spread) else figure
