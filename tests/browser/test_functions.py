"""The functions of app/page.js that compute a value and change nothing, run in the browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Open
from tests.process.service import Service

VALUES = {
    "count(1234567)": "1,234,567",
    "seconds(0.05)": "0.1 s",
    "seconds(12)": "12.0 s",
    "latency(0.04)": "0.0 ms",
    "latency(9.94)": "9.9 ms",
    "latency(9.95)": "10 ms",
    "latency(999.4)": "999 ms",
    "latency(999.5)": "1.00 s",
    "latency(12345)": "12.35 s",
    "clock(new Date(2026, 0, 2, 3, 4, 5))": "03:04:05",
    "json('{\"a\": 1}')": {"a": 1},
    "json('not JSON')": {},
    "json('null')": {},
    "json('7')": {},
    "square('lost').className": "lost",
    "square('v1', 'resumed aborted').className": "v1 resumed aborted",
    "columns({ clientWidth: 8 + 14 * 10 - 2 })": 10,
    "columns({ clientWidth: 8 + 14 * 10 - 3 })": 9,
    "columns({ clientWidth: 0 })": 1,
}

PATHS = {
    "/api": True,
    "/api/sleep": True,
    "/api/sleep/0.5": True,
    "/api/sleep/x": True,
    "/api/": False,
    "/api/sleep/": False,
    "/api/sleep/1/2": False,
    "/api/sleep/1?a=b": False,
    "/api/sleep/1#a": False,
    "/metrics": False,
    "https://elsewhere.example/api": False,
    "": False,
}


@pytest.fixture(scope="module")
def values(request: pytest.FixtureRequest) -> dict[str, object]:
    """Return the value of every expression, evaluated on one page."""
    service: Service = request.getfixturevalue("service")
    context = request.getfixturevalue("browser").new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{service.port}/")
    found = {each: page.evaluate(each) for each in VALUES}
    found |= {path: page.evaluate("path => PATH.test(path)", path) for path in PATHS}
    context.close()
    return found


def test_functions_compute_the_displayed_values(values: dict[str, object]) -> None:
    assert {each: values[each] for each in VALUES} == VALUES


def test_pattern_matches_the_allowed_paths_only(values: dict[str, object]) -> None:
    assert {each: values[each] for each in PATHS} == PATHS


def test_versions_have_colours_in_the_order_of_their_first_response(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    watched.wait("() => versions.length === 1")  # the version of the service itself
    colours = watched.page.evaluate("['w1', 'w2', 'w1', 'w3', 'w4', 'w5'].map(colour)")
    assert colours == ["v1", "v2", "v1", "v3", "v4", "v0"]


def test_bucket_of_a_second_is_kept_for_two_minutes(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    watched.pause()
    kept = watched.page.evaluate(
        """() => {
          clearFigures();
          const first = bucketOf(1000);
          const same = bucketOf(1000) === first;
          bucketOf(1000 + 60 * MINUTES + 1);
          const before = seen.buckets.has(1000);
          bucketOf(1000 + 60 * MINUTES + 2);
          return [same, before, seen.buckets.has(1000), seen.buckets.size];
        }"""
    )
    assert kept == [True, True, False, 2]
