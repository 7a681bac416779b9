"""gunicorn_drain.shared: every index into the page is checked."""

from __future__ import annotations

from typing import Any

import pytest

from gunicorn_drain.shared import PART, SLOTS, STREAM_KINDS_MAX, SharedPage, StreamCounter


@pytest.mark.parametrize("number", [-1, SLOTS, SLOTS + 1000, True, 0.0, "0"])
def test_slot_outside_the_page_is_refused(number: Any) -> None:
    with pytest.raises(ValueError, match=f"slot is .*; allowed are whole numbers from 0 to {SLOTS - 1}"):
        SharedPage().slot(number)


def test_slot_ends_where_the_next_one_begins() -> None:
    page = SharedPage()
    first, second = page.slot(0), page.slot(1)
    first[PART - 1] = 7
    with pytest.raises(IndexError):
        first[PART] = 1
    assert not any(second)
    assert not any(page.master)
    assert len(page.slot(SLOTS - 1)) == PART


@pytest.mark.parametrize("kind", ["websockets", "", 0, None])
def test_undeclared_kind_of_stream_is_refused(kind: Any) -> None:
    page = SharedPage()
    page.declare_streams("events", "websocket")
    with pytest.raises(ValueError, match=r"kind is .*; allowed is one of events, websocket"):
        page.stream_cell(kind, StreamCounter.OPEN)
    with pytest.raises(ValueError, match="kind is"):
        page.streams(StreamCounter.OPEN, kind)


@pytest.mark.parametrize("counter", [len(StreamCounter), -1, "open"])
def test_unknown_counter_of_streams_is_refused(counter: Any) -> None:
    page = SharedPage()
    page.declare_streams("events")
    with pytest.raises(ValueError, match="is not a valid StreamCounter"):
        page.stream_cell("events", counter)
    with pytest.raises(ValueError, match="is not a valid StreamCounter"):
        page.streams(counter)


def test_counters_of_all_kinds_lie_within_a_slot() -> None:
    page = SharedPage()
    names = [f"kind{number}" for number in range(STREAM_KINDS_MAX)]
    page.declare_streams(*names)
    page.declare_streams(*names)  # again, as a second application of the process does
    cells = [page.stream_cell(name, counter) for name in names for counter in StreamCounter]
    assert len(set(cells)) == len(cells)
    assert max(cells) < PART
    with pytest.raises(ValueError, match=f"allowed are at most {STREAM_KINDS_MAX}"):
        page.declare_streams("one more")
