"""Display and inputs of the page, with a service that is not replaced."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browser.conftest import Open
from tests.browser.watched import Watched
from tests.process.service import QUICK, Service

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

GRAPHICS = 3.0
"""Minimum contrast of graphics with their background (WCAG 2.2, 1.4.11)."""

CONTRAST = """selector => {
  const parts = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = (text) => {
    const [r, g, b] = parts(text).map(each => each / 255)
      .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(selector)].map(each => {
    const own = light(getComputedStyle(each).backgroundColor);
    return (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05);
  });
}"""


def wait_for_responses(watched: Watched, least: int) -> None:
    watched.wait("least => Number(document.querySelector('#responses').textContent) >= least", least)


def set_to(watched: Watched, path: str, rate: str) -> None:
    watched.page.fill("#path", path)
    watched.page.fill("#rate", rate)
    watched.page.click("text=Set")


def test_page_opens_without_warnings_and_requests_its_own_origin_only(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    wait_for_responses(watched, 20)
    watched.wait_for_streams()
    assert watched.complaints == []
    assert watched.outside() == []
    assert not [url for url in watched.requested if "favicon" in url]
    assert watched.page.inner_text("#verdict") == "✓ Nothing is lost"
    assert watched.page.title().startswith("✓")


@pytest.mark.parametrize("path", ["/flask", "/flask/"])
def test_page_under_a_path_prefix_requests_paths_under_the_prefix(
    browser: Browser, tab: Open, path: str
) -> None:
    with Service(SCRIPT_NAME="/flask", **QUICK) as service:
        watched = tab(service.ready("/flask/health/ready").port)
        watched.page.goto(watched.origin + path)
        wait_for_responses(watched, 5)
        watched.wait_for_streams()
        assert {urlsplit(url).path for url in watched.requested} == {
            *(path, "/flask/api", "/flask/api/events", "/flask/api/ws")
        }
        assert watched.complaints == []


def test_every_response_is_a_square_in_the_colour_of_its_version(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    wait_for_responses(watched, 20)
    watched.pause()
    assert watched.versions() == {"v5": watched.squares()}
    assert watched.squares("v0") == watched.squares()
    assert watched.page.locator("#pods tr").count() == 1
    watched.page.focus("#squares")
    watched.page.keyboard.press("Home")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d GET /api: v5 from \S+, [0-9.]+ m?s", watched.page.inner_text("#picked")
    )


def test_latencies_are_drawn(service: Service, tab: Open) -> None:
    watched = tab(service.port, "?path=/api/sleep/0.2&rate=20").open()
    watched.wait("() => document.querySelector('#latency .typical')?.getAttribute('d').includes('L')")
    for figure in ("p50", "p99"):
        # The browser's clock is coarse, and the machine is busy.
        assert re.fullmatch(r"(\d{3} ms|[0-9.]+ s)", watched.page.inner_text(f"#{figure}"))
    label = watched.page.get_attribute("#latency svg", "aria-label")
    assert label is not None
    assert "p50" in label


def test_path_and_rate_are_set_and_kept_in_the_address(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    wait_for_responses(watched, 5)
    set_to(watched, "/api/sleep/0.1", "30")
    watched.page.wait_for_url("**/?path=%2Fapi%2Fsleep%2F0.1&rate=30")
    watched.wait("() => squares.lastChild?.result.path === '/api/sleep/0.1'")
    watched.page.reload()
    wait_for_responses(watched, 5)
    assert watched.page.input_value("#path") == "/api/sleep/0.1"
    watched.wait("() => squares.lastChild?.result.path === '/api/sleep/0.1'")


def test_requests_beyond_the_connections_of_the_browser_are_held_and_do_not_fail(
    service: Service, tab: Open
) -> None:
    """Send requests of 1 s faster than the five connections left beside the event stream can carry them."""
    watched = tab(service.port, "?path=/api/sleep&rate=50").open()
    watched.wait("() => Number(document.querySelector('#held').textContent) > 50")
    wait_for_responses(watched, 6)
    assert watched.number("failed") == 0
    longest = watched.page.evaluate("Math.max(...[...squares.children].map(one => one.result.ms))")
    assert longest < 2000, "one that waited for another's place took both their times"


@pytest.mark.parametrize("seconds", ["7.5", "x", "-1"])
def test_error_of_the_service_about_a_path_is_shown_in_full(
    service: Service, tab: Open, seconds: str
) -> None:
    watched = tab(service.port).open()
    wait_for_responses(watched, 1)
    set_to(watched, f"/api/sleep/{seconds}", "10")
    watched.page.wait_for_selector("#problem pre")
    said = service.get(f"/api/sleep/{seconds}").body.decode()
    assert watched.page.inner_text("#problem pre").strip() == said.strip()
    assert watched.page.get_attribute("#path", "aria-invalid") == "true"
    before = watched.number("responses")
    wait_for_responses(watched, before + 5)
    assert watched.number("failed") == 0
    set_to(watched, "/api", "10")
    watched.wait("() => !document.querySelector('#problem').childElementCount")
    assert watched.page.get_attribute("#path", "aria-invalid") is None


@pytest.mark.parametrize(
    ("path", "rate", "says"),
    [
        ("/metrics", "10", "allowed are /api, /api/sleep and /api/sleep/<seconds>"),
        ("https://example.com/api", "10", "allowed are /api"),
        ("/api/sleep/1?x=1", "10", "allowed are /api"),
        ("", "10", "allowed are /api"),
        ("/api", "0", "allowed is a whole number from 1 to 50"),
        ("/api", "51", "allowed is a whole number from 1 to 50"),
        ("/api", "1.5", "allowed is a whole number from 1 to 50"),
        ("/api", "", "allowed is a whole number from 1 to 50"),
    ],
)
def test_invalid_input_is_reported_with_the_allowed_values(
    service: Service, tab: Open, path: str, rate: str, says: str
) -> None:
    watched = tab(service.port).open()
    set_to(watched, path, rate)
    watched.page.wait_for_selector("#problem p")
    assert says in watched.page.inner_text("#problem")
    assert watched.page.evaluate("document.activeElement.id") == ("rate" if path == "/api" else "path")
    assert watched.outside() == []


def test_page_with_an_invalid_query_reports_the_error_and_sends_requests(service: Service, tab: Open) -> None:
    watched = tab(service.port, "?path=/nowhere&rate=10").open()
    watched.page.wait_for_selector("#problem p")
    assert "/nowhere" in watched.page.inner_text("#problem")
    wait_for_responses(watched, 5)


def test_buttons_pause_resume_and_reset_the_page(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    wait_for_responses(watched, 10)
    watched.wait_for_streams()
    watched.page.click("#pause")
    assert watched.page.get_attribute("#pause", "aria-pressed") == "true"
    assert "paused" in watched.page.inner_text("#verdict")
    events = int(watched.stream("event-stream", "received"))
    watched.wait("least => streams[0].received >= least", events + 2)
    before = watched.number("responses")
    watched.wait("least => streams[0].received >= least", events + 4)
    assert watched.number("responses") == before
    watched.page.click("#reset")
    assert (watched.number("responses"), watched.squares()) == (0, 0)
    watched.page.click("#pause")
    wait_for_responses(watched, 5)
    assert watched.page.inner_text("#verdict") == "✓ Nothing is lost"
    assert watched.account("event-stream") == {"lost": 0, "repeated": 0, "notified": 0, "aborted": 0}


def test_every_control_is_reachable_and_outlined_with_the_keyboard(service: Service, tab: Open) -> None:
    watched = tab(service.port).open()
    wait_for_responses(watched, 30)
    reached = []
    for _ in range(20):
        watched.page.keyboard.press("Tab")
        name, outline = watched.page.evaluate(
            """() => {
              const here = document.activeElement;
              return [here.id || here.type || here.tagName, getComputedStyle(here).outlineStyle];
            }"""
        )
        if name == "BODY":
            break
        assert outline == "solid", name
        reached.append(name)
        if name == "SUMMARY":
            watched.page.keyboard.press("Enter")
    assert reached[:6] == ["path", "rate", "submit", "pause", "reset", "squares"]
    assert reached[-1] == "SUMMARY"
    assert watched.page.locator("details[open]").count() == 1
    watched.page.focus("#rate")
    watched.page.keyboard.press("Control+a")
    watched.page.keyboard.type("99")
    watched.page.keyboard.press("Enter")
    watched.page.wait_for_selector("#problem p")
    watched.page.focus("#squares")
    said = set()
    for key in ("Home", "ArrowRight", "ArrowDown", "End", "ArrowLeft", "ArrowUp"):
        watched.page.keyboard.press(key)
        said.add(watched.page.evaluate("[...squares.children].indexOf(picked)"))
    assert {0, 1} <= said
    assert -1 not in said


def test_narrow_screen_needs_no_horizontal_scrolling(service: Service, tab: Open) -> None:
    watched = tab(service.port, viewport={"width": 360, "height": 740}).open()
    wait_for_responses(watched, 30)
    watched.page.click("summary")
    set_to(watched, "/api/sleep/" + "9" * 60, "10")
    watched.page.wait_for_selector("#problem pre")
    assert watched.page.evaluate("document.documentElement.scrollWidth") == 360


def test_squares_are_bounded(service: Service, tab: Open) -> None:
    watched = tab(service.port, "?rate=50", viewport={"width": 120, "height": 740}).open()
    counts = []
    watched.wait(f"() => seen.responses > {30 * 8 + 20}")  # more than the maximum number of squares
    for _ in range(5):
        counts.append(watched.squares())
        watched.page.wait_for_timeout(50)
    assert max(counts) <= 30 * 8
    assert watched.number("responses") > max(counts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_page_is_accessible(service: Service, tab: Open, scheme: str, width: int) -> None:
    watched = tab(service.port, color_scheme=scheme, viewport={"width": width, "height": 900}).open()
    wait_for_responses(watched, 10)
    watched.page.click("summary")
    set_to(watched, "/api/sleep/x", "10")
    watched.page.wait_for_selector("#problem pre")
    results = Axe().run(watched.page, options=WCAG)
    assert results.violations_count == 0, results.generate_report()
    watched.page.evaluate(
        """for (const kind of ['v0', 'v1', 'v2', 'v3', 'v4', 'lost'])
          document.querySelector('main').append(square(kind))"""
    )
    contrasts = watched.page.evaluate(CONTRAST, "main > i")
    assert len(contrasts) == 6
    assert min(contrasts) >= GRAPHICS
