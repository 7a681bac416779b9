"""The page in a real Chromium, with the browser's errors and warnings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.waiting import CONDITION_TIMEOUT

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

STREAMS = ("event-stream", "websocket")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of this machine, headless; skip the test if there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(
            f"no browser: none of {', '.join(PROGRAMS)} is on PATH (Debian: apt-get install chromium)"
        )
    # Chromium's own sandbox does not work for root, who runs the tests in containers.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


class Watched:
    """A tab with the page. `options` are the options of a browser context, such as `viewport`."""

    def __init__(self, browser: Browser, url: str, query: str = "", **options: Any) -> None:
        self._context = browser.new_context(**options)
        self._context.set_default_timeout(CONDITION_TIMEOUT * 1000)
        self.page: Page = self._context.new_page()
        self.origin = url
        self.query = query
        self.complaints: list[str] = []
        """Errors and warnings of the console, including violations of the policy, and exceptions."""
        self.requested: list[str] = []
        """URLs of all requests."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("websocket", lambda socket: self.requested.append(socket.url))

    def _on_console(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)

    def open(self) -> Watched:
        """Load the page."""
        self.page.goto(f"{self.origin}/{self.query}")
        return self

    def close(self) -> None:
        """Close the tab."""
        self._context.close()

    def wait(self, condition: str, argument: object = None) -> None:
        """Wait until a JavaScript function of `argument` is true."""
        self.page.wait_for_function(condition, arg=argument, polling=50)

    def number(self, name: str) -> int:
        """Return one of the figures: responses, failed, held."""
        return int(self.page.inner_text(f"#{name}").replace(",", ""))

    def stream(self, name: str, field: str) -> str:
        """Return the text of a field of the `event-stream` or the `websocket`."""
        return self.page.inner_text(f"#{name} [data-field={field}]")

    def account(self, name: str) -> dict[str, int]:
        """Return the counters of a stream."""
        return {field: int(self.stream(name, field)) for field in ("lost", "repeated", "notified", "aborted")}

    def versions(self) -> dict[str, int]:
        """Return the number of responses of each version, as the legend shows it."""
        entries = (each.split(": ") for each in self.page.locator("#legend li").all_inner_texts())
        return {name: int(number.replace(",", "")) for name, number in entries if name != "failed"}

    def squares(self, kind: str = "") -> int:
        """Return the number of squares, or of the squares of one class."""
        return self.page.locator(f"#squares i{'.' + kind if kind else ''}").count()

    def wait_for_streams(self) -> None:
        """Wait until both streams are live."""
        for name in STREAMS:
            self.wait(f"() => document.querySelector('#{name} [data-field=state]').textContent === 'live'")

    def wait_for_version(self, version: str) -> None:
        """Wait until a version has responded and both streams receive their events from it."""
        self.wait("v => document.querySelector('#legend').textContent.includes(v)", version)
        for name in STREAMS:
            self.wait(
                """([name, version]) => {
                  const latest = document.querySelector(`#${name} .ticks i:last-child`);
                  const legend = [...document.querySelectorAll('#legend li')]
                    .find(each => each.textContent.startsWith(version + ':'));
                  return latest && legend && latest.classList.contains(legend.querySelector('i').className);
                }""",
                [name, version],
            )

    def pause(self) -> None:
        """Pause the requests, and wait until the figures match the squares."""
        self.page.click("#pause")
        self.wait(
            """() => {
              const shown = id => Number(document.getElementById(id).textContent);
              const squares = document.querySelectorAll('#squares i').length;
              return load.inFlight === 0 && shown('responses') + shown('failed') === squares;
            }"""
        )

    def outside(self) -> list[str]:
        """Return the URLs of requests to other hosts than the service."""
        return [url for url in self.requested if urlsplit(url).netloc != urlsplit(self.origin).netloc]

    def summary(self) -> str:
        """Return the verdict, the log and the complaints, for the message of a failed test."""
        log = self.page.inner_text("#log")
        return f"{self.page.inner_text('#verdict')}\n{log}\ncomplaints: {self.complaints}"
