"""The two pages of `make demo`: an update turns the page without the drain red, and the other one not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.browser.conftest import Open
from tests.ports import port_of, reservation


@pytest.mark.long
@pytest.mark.slow
def test_only_the_page_without_the_drain_turns_red(browser: object, tab: Open) -> None:
    with reservation() as off, reservation() as on:
        ports = [port_of(off), port_of(on)]
        command = [sys.executable, "-m", "tools.demo", "--updates", "1", "--pause", "12", "--ports"]
        with subprocess.Popen([*command, *map(str, ports)], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                while "Updates that follow" not in process.stdout.readline():
                    assert process.poll() is None
                pages = [tab(port).open() for port in ports]
                for page in pages:
                    page.wait_for_version("v1")
                    page.wait_for_streams()
                for page in pages:
                    page.wait_for_version("v2")
                    page.pause()
                without, drained = pages
                assert without.number("failed") > 0, without.summary()
                assert drained.number("failed") == 0, drained.summary()
            finally:
                process.terminate()
