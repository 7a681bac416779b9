"""The page's counters of failed streams, with streams that fail in every way, so that zero is meaningful.

The browser is real; the tests write the data of the streams.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from playwright.sync_api import WebSocketRoute

from tests.browser.conftest import Open
from tests.browser.watched import Watched
from tests.process.service import Service


def tick(sequence: int) -> dict[str, object]:
    return {"sequence": sequence, "version": "v5", "pod": "one"}


def event(sequence: int) -> str:
    return f"id: {sequence}\nevent: tick\ndata: {json.dumps(tick(sequence))}\n\n"


RESTART = 'event: restart\nretry: 100\ndata: {"reason": "service restart", "pod": "one"}\n\n'


class Scripted(ThreadingHTTPServer):
    """Server of one body after the other, or of a status where the body is a number.

    It records the last event ID of each request.
    """

    def __init__(self, bodies: tuple[str, ...]) -> None:
        self.bodies = bodies
        self.resumed: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Scripted)
        _, _, asked = self.path.partition("last_event_id=")
        turn = len(self.server.resumed)
        self.server.resumed.append(self.headers["Last-Event-ID"] or asked or None)
        body = self.server.bodies[turn] if turn < len(self.server.bodies) else "503"
        self.send_response(int(body) if body.isdigit() else 200)
        self.send_header("Content-Type", "text/plain" if body.isdigit() else "text/event-stream")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


@contextmanager
def events(watched: Watched, *bodies: str) -> Iterator[list[str | None]]:
    """Script the event stream; yield the list of the IDs after which it was resumed."""
    with Scripted(bodies) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        place = f"127.0.0.1:{server.server_port}"
        watched.page.route(
            "**/api/events*",
            lambda route: route.continue_(url=urlsplit(route.request.url)._replace(netloc=place).geturl()),
        )
        yield server.resumed
        watched.close()
        server.shutdown()


def socket(watched: Watched, *scripts: Callable[[WebSocketRoute], None]) -> list[str]:
    """Serve the WebSocket with one script after the other; return the list of the requested query strings."""
    asked: list[str] = []

    def serve(route: WebSocketRoute) -> None:
        asked.append(route.url.partition("/api/ws")[2])
        if len(asked) <= len(scripts):
            scripts[len(asked) - 1](route)

    watched.page.route_web_socket("**/api/ws*", serve)
    return asked


def sends(*sequences: int) -> Callable[[WebSocketRoute], None]:
    def script(route: WebSocketRoute) -> None:
        for sequence in sequences:
            route.send(json.dumps({"type": "tick", **tick(sequence)}))

    return script


def closes(code: int, reason: str, *sequences: int) -> Callable[[WebSocketRoute], None]:
    def script(route: WebSocketRoute) -> None:
        sends(*sequences)(route)
        route.close(code=code, reason=reason)

    return script


def shown(watched: Watched, name: str, field: str, value: int) -> None:
    shown = f"document.querySelector('#{name} [data-field={field}]').textContent"
    watched.wait(f"value => {shown} === String(value)", value)


def test_lost_and_repeated_events_are_counted(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    first = event(10) + event(11) + "event: tick\ndata: nonsense\n\n" + event(14) + RESTART
    with events(watched, first, event(14) + event(15)) as resumed:
        watched.open()
        shown(watched, "event-stream", "aborted", 1)  # the second response ends without a notice
        account = watched.account("event-stream")
        assert (account["lost"], account["repeated"], account["notified"]) == (2, 1, 1)
        assert watched.page.locator("#event-stream .ticks .lost").count() == 2
        assert "an event that is no tick" in watched.page.inner_text("#log")
        assert "Event stream: 2 lost, 1 repeated, 1 aborted" in watched.page.inner_text("#verdict")
        assert resumed[:2] == [None, "14"]


def test_event_stream_resumes_after_a_response_that_browsers_do_not_retry(
    service: Service, tab: Open
) -> None:
    watched = tab(service.port)
    with events(watched, event(10) + RESTART, "503", event(11)) as resumed:
        watched.open()
        shown(watched, "event-stream", "received", 2)
        assert resumed[:3] == [None, "10", "10"]
        assert watched.account("event-stream")["lost"] == 0


def missing(number: int | None, first: int) -> dict[str, object]:
    return {"missing": number, "first": first, "detail": "no tick has it"}


def test_events_that_the_service_reports_as_missing_are_counted_once(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    gap = f"event: missing\ndata: {json.dumps(missing(489, 500))}\n\n"
    with events(watched, event(10) + RESTART, gap + event(500) + event(501) + RESTART) as resumed:
        watched.open()
        shown(watched, "event-stream", "received", 3)
        assert resumed[:2] == [None, "10"]
        assert watched.account("event-stream")["lost"] == 489
        assert watched.account("event-stream")["repeated"] == 0
        assert watched.page.locator("#event-stream .ticks .lost").count() == 60
        assert "489 lost, to 499, older than the service repeats" in watched.page.inner_text("#log")


def test_events_after_an_unknown_id_begin_a_new_count(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    gap = f"event: missing\ndata: {json.dumps(missing(None, 50))}\n\n"
    with events(watched, event(1000) + RESTART, gap + event(50) + event(51) + RESTART):
        watched.open()
        shown(watched, "event-stream", "received", 3)
        account = watched.account("event-stream")
        assert (account["lost"], account["repeated"]) == (0, 0)
        assert "begins at 50. no tick has it" in watched.page.inner_text("#log")


def test_messages_that_the_service_reports_as_missing_are_counted_once(service: Service, tab: Open) -> None:
    watched = tab(service.port)

    def resumed(route: WebSocketRoute) -> None:
        route.send(json.dumps({"type": "missing", **missing(4, 15)}))
        sends(15, 16)(route)

    asked = socket(watched, closes(1012, '{"retry": 50}', 10), resumed)
    watched.open()
    shown(watched, "websocket", "received", 3)
    assert watched.account("websocket") == {"lost": 4, "repeated": 0, "notified": 1, "aborted": 0}
    assert asked == ["", "?last=10"]


def test_reason_of_a_refusal_is_in_the_log(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    with events(watched, event(10) + RESTART, "503", "503", "503", event(11)):
        watched.open()
        shown(watched, "event-stream", "received", 2)
        assert "Event stream: 503, refused" in watched.page.inner_text("#log")


def test_lost_and_repeated_messages_are_counted(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    asked = socket(watched, closes(1012, '{"retry": 50}', 10, 12), sends(12, 13))
    watched.open()
    shown(watched, "websocket", "received", 4)
    assert watched.account("websocket") == {"lost": 1, "repeated": 1, "notified": 1, "aborted": 0}
    assert asked == ["", "?last=12"]


def test_reconnect_waits_for_the_retry_interval_of_the_restart(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    socket(watched, closes(1012, '{"retry": 1500}', 10), sends(11))
    watched.open()
    shown(watched, "websocket", "received", 2)
    took = float(watched.stream("websocket", "longest").removesuffix(" s"))
    assert took >= 1.4
    assert watched.account("websocket") == {"lost": 0, "repeated": 0, "notified": 1, "aborted": 0}


def test_every_other_close_of_a_websocket_counts_as_cut(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    asked = socket(
        watched,
        closes(1011, "", 10),
        closes(1012, "not JSON", 11),
        closes(1012, '{"retry": -5}', 12),
        closes(1000, "null", 13),
        sends(14),
    )
    watched.open()
    shown(watched, "websocket", "received", 5)
    assert watched.account("websocket") == {"lost": 0, "repeated": 0, "notified": 0, "aborted": 4}
    assert asked == ["", "?last=10", "?last=11", "?last=12", "?last=13"]


def test_silent_stream_is_reopened(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    asked = socket(watched, sends(10), sends(11))
    watched.page.clock.install()
    watched.open()
    shown(watched, "websocket", "received", 1)
    watched.page.clock.run_for(12_000)
    shown(watched, "websocket", "received", 2)
    assert asked == ["", "?last=10"]
    assert watched.account("websocket")["aborted"] == 1


def test_sleep_of_the_machine_does_not_count_as_a_silent_stream(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    asked = socket(watched, sends(10))
    watched.page.clock.install()
    watched.open()
    shown(watched, "websocket", "received", 1)
    watched.page.clock.fast_forward(60_000)
    watched.page.clock.run_for(2_000)
    assert watched.account("websocket")["aborted"] == 0
    assert asked == [""]


def test_reconnects_to_an_absent_service_back_off(service: Service, tab: Open) -> None:
    watched = tab(service.port)
    asked = socket(watched, sends(10), *[closes(1011, "")] * 10, sends(11))
    watched.page.clock.install()
    watched.page.add_init_script("Math.random = () => 0.9")  # each wait is then 95 % of its maximum
    watched.open()
    shown(watched, "websocket", "received", 1)
    took = 0
    while len(asked) < 12:
        watched.page.clock.run_for(2000)
        took += 2
    shown(watched, "websocket", "received", 2)
    # 10 s of silence, 0.5 + 1 + 2 + 4 + 8 s, then 15 s each.
    assert took >= 10 + 0.95 * (15.5 + 5 * 15)
    assert watched.account("websocket") == {"lost": 0, "repeated": 0, "notified": 0, "aborted": 1}
