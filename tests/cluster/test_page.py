"""The page in a browser during a rolling update."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.watched import STREAMS, Watched, chromium
from tests.cluster.conftest import ROLLED_OUT, Deploy
from tools.course.stage import Rung, Stage

RATE = 20
"""Requests per second that the page sends."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def rung(name: str, version: str = "") -> Rung:
    return Rung(name, version=version or name)


class Update:
    """Update with the page open, until the new pods have all of its requests and streams."""

    def __init__(self, stage: Stage, deployed: Deploy, browser: Browser) -> None:
        self._stage, self._deployed, self._browser = stage, deployed, browser
        self._tabs: list[Watched] = []

    def __call__(self, source: Rung, target: Rung) -> Watched:
        assert source.version
        watched = Watched(self._browser, self._deployed(source), f"?path=/api&rate={RATE}").open()
        self._tabs.append(watched)
        watched.wait_for_version(source.version)
        self.roll(watched, target)
        return watched

    def roll(self, watched: Watched, target: Rung) -> None:
        assert target.version
        self._stage.apply(target)
        self._stage.wait_until_settled(ROLLED_OUT)
        watched.wait_for_version(target.version)
        watched.wait_for_streams()

    def close(self) -> None:
        for tab in self._tabs:
            tab.close()


@pytest.fixture
def update(stage: Stage, deployed: Deploy, browser: Browser) -> Iterator[Update]:
    update = Update(stage, deployed, browser)
    yield update
    update.close()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(rung("v5"), rung("v6"), marks=pytest.mark.matrix),
        (rung("v7"), rung("v7", "v7-new")),
    ],
    ids=lambda each: each.version,
)
def test_page_stays_green_in_an_update(update: Update, source: Rung, target: Rung) -> None:
    watched = update(source, target)
    assert watched.number("failed") == watched.squares("lost") == 0, watched.summary()
    for name in STREAMS:
        account = watched.account(name)
        assert account["notified"] >= 1, watched.summary()
        assert account == {"lost": 0, "repeated": 0, "notified": account["notified"], "aborted": 0}, (
            watched.summary()
        )
    assert watched.page.inner_text("#verdict") == "✓ Nothing is lost"


@pytest.mark.matrix
def test_page_turns_red_without_the_drain(update: Update) -> None:
    old, new = rung("v2"), rung("v2", "v2-new")
    watched = update(old, new)
    for name in STREAMS:
        assert watched.account(name)["aborted"] >= 1, watched.summary()
    assert watched.page.inner_text("#verdict").startswith("✗"), watched.summary()
    # Not every update shows a loss: the browser repeats requests that fail on a reused connection.
    for target in (old, new, old, new):
        if watched.squares("lost"):
            break
        update.roll(watched, target)
    assert watched.number("failed") == watched.squares("lost") > 0, watched.summary()
