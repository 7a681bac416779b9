"""Agreement of the reference pages with the log lines and series of a drain."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from tests.process.clients import Connection
from tests.process.service import ROOT, Service
from tests.waiting import wait_until

PAGE = (ROOT / "docs" / "log-lines.md").read_text()
SERIES = (ROOT / "docs" / "metrics.md").read_text()

OF_EVERY_LINE = {"time", "level", "logger", "pid", "message"}
"""Fields that every JSON line has."""


def messages(lines: list[str]) -> list[str]:
    """Return the messages of JSON log lines from SIGTERM on, without their figures and the plural."""
    # A probe of the test may be in flight at SIGTERM: "1 request", and "0 requests" on the page.
    said = [
        re.sub(r"[0-9]+(\.[0-9]+)?( request\b)?", _without_figure, json.loads(line)["message"])
        for line in lines
    ]
    # Messages of and about workers (boot, exit, kill) have no fixed place in the order.
    return [
        each for each in said[said.index("Handling signal: term") :] if not re.match("Booting|Worker", each)
    ]


def _without_figure(found: re.Match[str]) -> str:
    return "N requests" if found[2] else "N"


def stories() -> list[list[str]]:
    """Return the messages of each block of log lines on the page."""
    blocks = re.findall(r"(?:^    \{.*\n)+", PAGE, re.MULTILINE)
    return [messages([line.strip() for line in block.splitlines()]) for block in blocks]


def drain(slow: int, **settings: Any) -> list[str]:
    with Service(LOG_FORMAT="json", **settings) as service:
        port = service.ready().port
        with contextlib.ExitStack() as stack:
            for _ in range(slow):
                stack.enter_context(Connection(port)).send("/api/sleep/20")
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == slow, "in flight")
            service.begin_drain()
            for _ in range(3):
                service.get("/api")
            service.wait()
        return messages(service.log.splitlines())


def test_log_lines_on_the_page_match_a_drain() -> None:
    healthy, cut_off = stories()
    assert drain(0, DRAIN_MIN=2, DRAIN_QUIET=0.5) == healthy
    assert drain(2, DRAIN_MIN=1, DRAIN_MAX=3, GRACEFUL_TIMEOUT=1) == cut_off


def test_every_line_of_the_drain_is_explained() -> None:
    text = (ROOT / "packages/gunicorn-drain/src/gunicorn_drain/master.py").read_text()
    logged = re.findall(r'log\.info\(\s*"([A-Z][^:;%"]*)', text)
    assert logged == [
        *(
            "SIGTERM before any worker was ready",
            "Drain began",
            "Drain ended",
            "Long-lived connections",
            "Stopped",
        ),
    ]
    assert all(f"`{each}: " in PAGE for each in logged)
    text = (ROOT / "packages/gunicorn-drain/src/gunicorn_drain/reload.py").read_text()
    logged = re.findall(r'"(Reload [a-z]+: )', text)
    assert logged == ["Reload ignored: ", "Reload failed: ", "Reload succeeded: "]
    assert all(f"`{each}" in PAGE for each in logged)


def test_every_series_is_on_the_page() -> None:
    with Service() as service:
        exposed = service.ready().get("/metrics").body.decode()
    own = set(re.findall(r"^((?:lifecycle|http|streams)_\w+)", exposed, re.MULTILINE))
    others = {"lifecycle_drain_quiet_seconds", "lifecycle_drain_max_seconds"}
    after_a_refusal = {"http_requests_refused_total"}
    named = set(re.findall(r"`((?:lifecycle|http|streams)_\w+)", SERIES.partition("\n\n`lifecycle_info`")[0]))
    assert own == (named | others) - after_a_refusal


def test_every_field_of_the_access_log_is_on_the_page() -> None:
    with Service(LOG_FORMAT="json", ACCESS_LOG="on") as service:
        service.ready().get("/api")
        wait_until(lambda: service.said("GET /api "), "the access line")
        lines = [json.loads(each) for each in service.log.splitlines() if "GET /api " in each]
    section = PAGE.partition("## Access log")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", section, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(lines[0]) - OF_EVERY_LINE
