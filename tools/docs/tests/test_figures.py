"""tools.docs.figures: pages and pictures have the measured figures."""

from __future__ import annotations

import pytest

from tools.docs import figures


def test_pages_and_pictures_have_the_measured_figures() -> None:
    marks = [mark for path in figures.PAGES for mark in figures.MARK.findall(path.read_text())]
    assert len(marks) > 10, "the pages ask for figures"
    assert figures.stale() == []


@pytest.mark.parametrize(
    ("mark", "there"),
    [("lost of v9 → v9", "v1 → v2"), ("beauty of v1 → v2", "requests"), ("lost of rungs", "v1")],
)
def test_mark_without_a_measured_figure_is_an_error(mark: str, there: str) -> None:
    with pytest.raises(figures.FigureError, match=there):
        figures.filled(f"<!-- figure {mark} --><!-- end -->", figures.Kept())


def test_every_mark_is_closed() -> None:
    for path in figures.PAGES:
        text = path.read_text()
        assert text.count("<!-- figure") == text.count("<!-- end -->") == len(figures.MARK.findall(text)), (
            path
        )


def test_pictures_of_the_pages_exist() -> None:
    for name in (*figures.CHARTS.values(), *figures.DRAWN):
        assert (figures.PICTURES / name).is_file()
