"""The load generators of docs/load-tools.md: their commands, and the counts in their reports."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

K6_SCRIPT = 'import http from "k6/http"; export default () => { http.get(__ENV.URL) }\n'


@dataclass(frozen=True)
class Count:
    """Requests and failures in a generator's report; `aborted`: it gave up before its time was over."""

    requests: int
    failed: int
    aborted: bool = False


@dataclass(frozen=True)
class Tool:
    """A load generator: its command for a number of seconds and a URL, and the parser of its report."""

    program: str
    command: Callable[[int, str], list[str]]
    read: Callable[[str], Count]


def _number(pattern: str, text: str) -> int:
    """Return the sum of all numbers that the pattern finds."""
    return sum(int(found) for found in re.findall(pattern, text, re.MULTILINE))


def _curl(text: str) -> Count:
    codes = text.split()
    return Count(len(codes), sum(code != "200" for code in codes))


def _fortio(text: str) -> Count:
    return Count(_number(r"^All done (\d+) calls", text), _number(r"^Code +(?!200\b)-?\d+ : (\d+)", text))


def _ab(text: str) -> Count:
    aborted = re.search(r"^Test aborted after (\d+) failures", text, re.MULTILINE)
    if aborted:
        return Count(_number(r"^Total of (\d+) requests completed", text), int(aborted[1]), aborted=True)
    return Count(_number(r"^Complete requests: +(\d+)", text), _number(r"^Failed requests: +(\d+)", text))


def _hey(text: str) -> Count:
    errors = _number(r"^  \[(\d+)\]\t.*(?:Get|Post) ", text)
    failed = errors + _number(r"^  \[(?!200\])\d+\]\t(\d+) responses", text)
    return Count(_number(r"^  \[\d+\]\t(\d+) responses", text) + errors, failed)


def _k6(text: str) -> Count:
    failed, requests = re.findall(r"http_req_failed\D+[\d.]+% +(\d+) out of (\d+)", text)[-1]
    return Count(int(requests), int(failed))


def _wrk(text: str) -> Count:
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Count(
        _number(r"(\d+) requests in", text), failed + _number(r"Non-2xx or 3xx responses: (\d+)", text)
    )


LOOP = (
    "end=$((SECONDS + $1)); "
    'while [ $SECONDS -lt $end ]; do curl -s -o /dev/null -w "%{http_code}\\n" "$2"; done'
)

TOOLS: Mapping[str, Tool] = {
    "curl loop": Tool("curl", lambda seconds, url: ["bash", "-c", LOOP, "loop", str(seconds), url], _curl),
    "fortio": Tool(
        "fortio",
        lambda seconds, url: ["fortio", "load", "-a", "-c", "8", "-qps", "200", "-t", f"{seconds}s", url],
        _fortio,
    ),
    "ab": Tool(
        "ab",
        lambda seconds, url: ["ab", "-r", "-c", "8", "-t", str(seconds), "-n", "1000000", url],
        _ab,
    ),
    "ab -l": Tool(
        "ab",
        lambda seconds, url: ["ab", "-l", "-r", "-c", "8", "-t", str(seconds), "-n", "1000000", url],
        _ab,
    ),
    "ab -l -k": Tool(
        "ab",
        lambda seconds, url: ["ab", "-l", "-r", "-k", "-c", "8", "-t", str(seconds), "-n", "1000000", url],
        _ab,
    ),
    "hey": Tool("hey", lambda seconds, url: ["hey", "-z", f"{seconds}s", "-c", "8", "-q", "25", url], _hey),
    "k6": Tool(
        "k6",
        lambda seconds, url: [
            *("k6", "run", "--no-usage-report", "--no-color", "--vus", "8", "--duration", f"{seconds}s"),
            *("--env", f"URL={url}", "script.js"),
        ],
        _k6,
    ),
    "wrk": Tool("wrk", lambda seconds, url: ["wrk", "-t", "1", "-c", "8", "-d", f"{seconds}s", url], _wrk),
}
"""The generators of the page, by the name in its table."""


def table(measured: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return the cells of the page's table, the headings first."""
    rows: list[list[str]] = [
        ["generator", "stop at once: requests", "reported as failed", "drain: requests", "reported as failed"]
    ]
    for name, runs in measured.items():
        cells = []
        for stop in ("off", "on"):
            count = Count(**runs[stop])
            cells += [f"{count.requests:,}", f"{count.failed:,}" + (", gave up" if count.aborted else "")]
        rows.append([f"`{name}`", *cells])
    return rows
