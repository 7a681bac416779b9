"""The two pages of `make demo`: an update turns the page without the drain red, and the other one not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.browser.conftest import Open
from tests.ports import port_of, reservation
from tools.demo.__main__ import Deployment


@pytest.mark.long
@pytest.mark.slow
def test_only_the_page_without_the_drain_turns_red(tab: Open) -> None:
    with (
        reservation() as off,
        reservation() as on,
        Deployment("off", port_of(off)) as without_drain,
        Deployment("on", port_of(on)) as with_drain,
        ThreadPoolExecutor(2) as pool,
    ):
        both = (without_drain, with_drain)
        pages = [tab(deployment.port).open() for deployment in both]
        for page in pages:
            page.wait_for_version("v1")
            page.wait_for_streams()
        # Not earlier, however long the pages took: a page counts the losses that it sees.
        list(pool.map(Deployment.update, both))
        for page in pages:
            page.wait_for_version("v2")
            page.pause()
        red, green = pages
        assert red.number("failed") > 0, red.summary()
        assert green.number("failed") == 0, green.summary()
