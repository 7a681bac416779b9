"""tools.benchmarks.growth: slopes, and their verdicts. No test measures anything."""

from __future__ import annotations

import pytest

from tools.benchmarks.figures import Row, Spread, slope_row
from tools.benchmarks.growth import slope


def test_slope_of_points_on_a_line_is_exact() -> None:
    fit = slope([1, 2, 4, 8], [7, 10, 16, 28])
    assert (fit.per_unit, fit.mean) == pytest.approx((3, 15.25))
    assert fit.error == pytest.approx(0, abs=1e-9)


def test_slope_and_standard_error_follow_the_textbook() -> None:
    """Compared with the textbook's formulas, worked out by hand."""
    fit = slope([0, 1, 2, 3], [0, 2, 1, 3])
    assert fit.per_unit == pytest.approx(0.8)
    assert fit.error == pytest.approx((1.8 / 2 / 5) ** 0.5)


@pytest.mark.parametrize("positions", [[], [1], [1, 1, 1], [1, 2]])
def test_slope_of_too_few_positions_is_no_growth(positions: list[float]) -> None:
    fit = slope(positions, [100.0 * at for at in range(len(positions))])
    assert not fit.grows(0)


def test_slope_of_unequal_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        slope([1, 2], [1])


@pytest.mark.parametrize(("per_unit", "grows"), [(-5, False), (0, False), (1.9, False), (2.1, True)], ids=str)
def test_growth_begins_beyond_a_share_of_the_mean(per_unit: float, grows: bool) -> None:
    positions = [at / 10 - 1 for at in range(21)]  # their mean is 0, so the figures' is 100
    fit = slope(positions, [100 + per_unit * at for at in positions])
    assert fit.mean == pytest.approx(100)
    assert fit.grows(0.02) is grows


def test_noise_without_a_trend_is_no_growth() -> None:
    assert not slope(range(40), [100 + (-1) ** at * 30 for at in range(40)]).grows(0)


def test_row_below_a_curve_has_the_slopes_of_its_columns() -> None:
    rows: list[Row] = [
        {"server": "a", "connections": count, "PSS MB": Spread(40 + 6 * count / 1000, 0, 9e9), "CPU ms": 7}
        for count in (0, 1000, 5000)
    ]
    assert slope_row(rows, "connections", 1000, names={"server": "a"}) == {
        "server": "a",
        "connections": "slope per 1,000",
        "PSS MB": "+6 ± 0",
        "CPU ms": "+0 ± 0",
    }
