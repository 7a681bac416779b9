"""A headless Chromium for these tests, and tabs that are closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.watched import Watched, chromium
from tests.process.service import Service

Open = Callable[..., Watched]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def service(browser: Browser) -> Iterator[Service]:
    """Start a service that no test stops, if there is a browser for its page."""
    with Service(APP_VERSION="v5", SLEEP_LIMIT=7) as service:
        yield service.ready()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Open]:
    """Yield a function that opens the page of the service at a port; close its tabs after the test."""
    tabs: list[Watched] = []

    def opened(port: int, query: str = "", **options: Any) -> Watched:
        tabs.append(Watched(browser, f"http://127.0.0.1:{port}", query, **options))
        return tabs[-1]

    yield opened
    for each in tabs:
        each.close()
