"""Slopes of figures that are measured several times, and the verdict whether a figure grows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 2.0
"""Number of standard errors that a slope must exceed its limit by, so that noise alone is no growth."""


class Slope(NamedTuple):
    """Straight line through points, by least squares."""

    per_unit: float
    """Change of the figure for one unit of the other axis; 0 with fewer than two different positions."""
    error: float
    """Standard error of `per_unit`; infinite with fewer than three points, which say nothing about noise."""
    mean: float
    """Mean of the figure; 0 without points."""

    def __str__(self) -> str:
        return f"{self.per_unit:+.3g} ± {self.error:.2g}"

    def grows(self, share: float) -> bool:
        """Return whether the figure certainly grows by more than `share` of its mean for one unit."""
        return self.per_unit - CONFIDENCE * self.error > share * self.mean


def slope(positions: Sequence[float], figures: Sequence[float]) -> Slope:
    """Fit a straight line. Raises ValueError if the numbers of positions and figures differ."""
    points = list(zip(positions, figures, strict=True))
    mean = statistics.fmean(figures) if points else 0.0
    if len(set(positions)) < 2:
        return Slope(0.0, math.inf, mean)
    per_unit, at_zero = statistics.linear_regression(positions, figures)
    if len(points) < 3:
        return Slope(per_unit, math.inf, mean)
    residuals = sum((figure - at_zero - per_unit * at) ** 2 for at, figure in points)
    width = statistics.pvariance(positions) * len(points)
    return Slope(per_unit, math.sqrt(residuals / (len(points) - 2) / width), mean)
