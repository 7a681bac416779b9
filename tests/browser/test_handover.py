"""The page during the replacement of one instance by another, as in a rolling update."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.watched import STREAMS, Watched
from tests.process.delay import DelayProxy
from tests.process.service import Service
from tests.process.takeover import DRAIN, STOP_AT_ONCE, two_instances


@contextmanager
def handed_over(tab: Open, **settings: Any) -> Iterator[Watched]:
    """Open the page at an instance of v5; yield it once v6 has all of its requests and streams."""
    with two_instances(**settings) as takeover:
        watched = tab(takeover.port).open()
        watched.wait_for_version("v5")
        watched.wait_for_streams()
        takeover.hand_over()
        watched.wait_for_version("v6")
        watched.wait_for_streams()
        watched.pause()
        yield watched


@pytest.mark.long
def test_page_loses_nothing_in_a_handover(browser: object, tab: Open) -> None:
    with handed_over(tab, **DRAIN) as watched:
        assert watched.number("failed") == watched.squares("lost") == 0, watched.summary()
        for name in STREAMS:
            assert watched.account(name) == {"lost": 0, "repeated": 0, "notified": 1, "aborted": 0}, (
                watched.summary()
            )
        assert set(watched.versions()) == {"v5", "v6"}
        assert (watched.squares("v0"), watched.squares("v1")) == tuple(watched.versions().values())
        assert watched.page.inner_text("#verdict") == "✓ Nothing is lost (requests are paused)"
        assert watched.complaints == [], watched.summary()


def test_page_turns_red_without_the_drain(browser: object, tab: Open) -> None:
    """Show that the same page detects a loss: the positive control of the test above."""
    with handed_over(tab, **STOP_AT_ONCE) as watched:
        assert watched.number("failed") > 0
        assert watched.squares("lost") == watched.number("failed")
        for name in STREAMS:
            account = watched.account(name)
            assert (account["notified"], account["aborted"]) == (0, 1), watched.summary()
            # Aborted, but without a loss: the successor replays the numbers of the meantime.
            assert (account["lost"], account["repeated"]) == (0, 0), watched.summary()
        verdict = watched.page.inner_text("#verdict")
        assert verdict.startswith("✗")
        assert "aborted" in verdict
        assert watched.page.title().startswith("✗")
        assert watched.page.is_visible("#failure")


@pytest.mark.long
def test_streams_that_reconnect_after_stream_replay_count_the_lost_events(browser: object, tab: Open) -> None:
    settings: dict[str, Any] = {"STREAM_REPLAY": 2, "DRAIN": "off", "GRACEFUL_TIMEOUT": 0}
    with (
        Service(APP_VERSION="v5", **settings) as before,
        Service(APP_VERSION="v6", **settings) as after,
        DelayProxy(before.ready().port, 0.0) as proxy,
    ):
        watched = tab(proxy.port).open()
        watched.wait_for_streams()
        proxy.target = 1  # a port without a listener
        before.signal(signal.SIGQUIT)
        before.wait()
        for name in STREAMS:
            watched.wait(f"() => document.querySelector('#{name} [data-field=state]').textContent !== 'live'")
        last = [int(watched.stream(name, "last")) for name in STREAMS]
        watched.wait("until => Date.now() > until", 1000 * (max(last) + 9))
        proxy.target = after.ready().port
        watched.wait_for_version("v6")
        watched.wait_for_streams()
        for name in STREAMS:
            account = watched.account(name)
            assert account["lost"] >= 5, watched.summary()  # of at least nine, three are replayed
            assert account["repeated"] == 0, watched.summary()
        log = watched.page.inner_text("#log")
        assert log.count("older than the service repeats") == 2, watched.summary()
