"""The figures in the pages are those that were measured."""

from __future__ import annotations

import pytest

from tools.docs import figures


def test_the_pages_say_what_was_measured() -> None:
    marks = [mark for path in figures.PAGES for mark in figures.MARK.findall(path.read_text())]
    assert len(marks) > 10, "the pages ask for figures"
    assert figures.stale() == []


@pytest.mark.parametrize(
    ("mark", "there"),
    [("lost of v9 → v9", "v1 → v2"), ("beauty of v1 → v2", "requests"), ("lost of rungs", "v1")],
)
def test_a_mark_for_what_was_not_measured_is_an_error(mark: str, there: str) -> None:
    with pytest.raises(figures.FigureError, match=there):
        figures.filled(f"<!-- figure {mark} --><!-- end -->", figures.Kept())


def test_no_mark_is_left_open() -> None:
    for path in figures.PAGES:
        text = path.read_text()
        assert text.count("<!-- figure") == text.count("<!-- end -->") == len(figures.MARK.findall(text)), (
            path
        )


def test_the_pictures_that_pages_show_are_there() -> None:
    for name in (*figures.CHARTS.values(), *figures.DRAWN):
        assert (figures.PICTURES / name).is_file()
