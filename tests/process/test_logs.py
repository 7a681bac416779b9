"""The log: times in UTC, one line for each message in JSON, request IDs, and the access log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.settings import WORKER_CLASSES
from gunicorn_fast import LEADER_WORKER
from tests.process.clients import Connection
from tests.process.service import QUICK, ROOT, Service, for_each_class
from tests.process.streams import EventStream
from tests.waiting import wait_until

HEADER = "x-request-id"

NEW_ID = re.compile("[0-9a-f]{32}")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

NEW_YORK: dict[str, Any] = {"TZ": "America/New_York"}

APPLICATION = """
import threading
import warnings
from app import create_app
app = create_app()
warnings.warn("a warning\\nof two lines")
@app.get("/fails")
def fails():
    raise RuntimeError("a failure")
@app.get("/thread")
def thread():
    other = threading.Thread(target=lambda: 1 / 0)
    other.start()
    other.join()
    return "done"
@app.get("/stream")
def stream():
    def parts():
        yield "first"
        app.logger.error("in the stream")
        raise RuntimeError("cut")
    return parts()
@app.get("/unraisable")
def unraisable():
    class Broken:
        def __del__(self):
            raise RuntimeError("ignored")
    Broken()
    return "done"
"""


def application(directory: Path) -> tuple[str, ...]:
    """Write an application that fails in several ways; return Gunicorn's flags to serve it."""
    (directory / "failing.py").write_text(APPLICATION)
    return ("--pythonpath", str(directory), "failing:app")


def json_lines(service: Service) -> list[dict[str, Any]]:
    whole, _, _ = service.log.rpartition("\n")  # the last line may be half written
    return [json.loads(line) for line in whole.splitlines()]


def access_lines(service: Service, uri: str) -> list[dict[str, Any]]:
    return [line for line in json_lines(service) if line.get("uri") == uri]


def access_line(service: Service, uri: str) -> dict[str, Any]:
    """Wait for the only line of the access log about `uri`; return it."""
    wait_until(lambda: access_lines(service, uri), f"{uri} in the access log")
    (line,) = access_lines(service, uri)
    return line


@pytest.fixture(scope="module", params=WORKER_CLASSES)
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {
        "WORKER_CLASS": request.param,
        "WORKERS": 1,
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "on",
    }
    with Service(*application(tmp_path_factory.mktemp("app")), **settings) as service:
        yield service.ready()


# ---- times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_file", [False, True])
def test_text_lines_begin_with_the_time_in_utc(to_file: bool, tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.touch()
    flags = ("--error-logfile", str(path)) if to_file else ()
    with Service(*flags, ACCESS_LOG="on", LOGLEVEL="x", **NEW_YORK) as service:
        wait_until(lambda: (service.log + path.read_text()).count("Booting") == 2, "two workers")
        if not to_file:
            service.ready().get("/api")
        service.signal(signal.SIGTERM)
        service.wait(30)
        lines = (service.log + path.read_text()).splitlines()
    assert len(lines) >= 6
    for line in lines:
        time, _, rest = line.partition(" ")
        assert TIME.fullmatch(time), line
        assert abs((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()) < 120, line
        assert re.match(r"\[[0-9]+\] (INFO|WARNING) ", rest), line


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, "gevent", "sync"])
def test_every_json_line_is_one_object_with_the_time_in_utc(worker_class: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "on",
        "WORKERS": 1,
        "WORKER_CLASS": worker_class,
        "LOGLEVEL": "x",
    }
    with Service(*application(tmp_path), **settings, **NEW_YORK, **QUICK) as service:
        assert service.ready().get("/fails").status == 500
        assert service.get("/thread").status == 200
        assert service.get("/unraisable").status == 200
        service.signal(signal.SIGTERM)
        service.process.wait(30)
        lines = json_lines(service)
    for line in lines:
        assert TIME.fullmatch(line["time"]), line
        assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 120, line
        assert {"level", "logger", "pid", "message"} <= set(line)
    assert any("a warning\nof two lines" in line["message"] for line in lines)
    failures = {line["exc_info"].splitlines()[-1] for line in lines if "exc_info" in line}
    assert failures == {
        "RuntimeError: a failure",
        "ZeroDivisionError: division by zero",
        "RuntimeError: ignored",
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_wrong_setting_is_reported_in_the_format_of_the_log(log_format: str) -> None:
    environment = {**os.environ, "LOG_FORMAT": log_format, "PORT": "0", "WORKERS": "many", **NEW_YORK}
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    port, workers = ended.stderr.splitlines()
    if log_format == "json":
        assert json.loads(port)["message"].startswith("settings: PORT is '0'; allowed is ")
        assert json.loads(workers)["message"].startswith("settings: WORKERS is 'many'; allowed is ")
        assert json.loads(port)["level"] == "CRITICAL"
        assert TIME.fullmatch(json.loads(port)["time"])
    else:
        assert re.fullmatch(TIME.pattern + r" \[[0-9]+\] CRITICAL settings: PORT is '0'; allowed is .*", port)


# ---- request IDs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        "a",
        "x" * 128,
        "3f0c1c9e-6d5e-4b9f-9a55-0c5ea7b1d6d7",
        "1-67891233-abcdef012345678912345678",
        "a/b+c==@~_:.",
    ],
)
def test_request_id_is_accepted_and_returned(every: Service, sent: str) -> None:
    uri = f"/api?taken={len(sent)}"
    assert every.get(uri, f"X-Request-ID: {sent}").headers[HEADER] == sent
    assert access_line(every, uri)["request_id"] == sent


@pytest.mark.parametrize(
    "sent",
    [
        (),
        ("X-Request-ID:",),
        ("X-Request-ID: " + "x" * 129,),
        ("X-Request-ID: " + "x" * 8000,),
        ("X-Request-ID: a b",),
        ('X-Request-ID: a"b',),
        ("X-Request-ID: a\tb",),
        ("X-Request-ID: {}",),
        ("X-Request-ID: \xe4",),
        ("X-Request-ID: a", "X-Request-ID: b"),
    ],
)
def test_request_id_is_created_if_none_is_accepted(every: Service, sent: tuple[str, ...]) -> None:
    uri = "/api?created=" + "".join(sent).encode("latin-1").hex()[-400:]
    first, second = every.get(uri, *sent).headers[HEADER], every.get("/api", *sent).headers[HEADER]
    assert NEW_ID.fullmatch(first), first
    assert NEW_ID.fullmatch(second), second
    assert first != second
    assert access_line(every, uri)["request_id"] == first


def test_request_id_of_10_kb_is_refused_and_replaced(every: Service) -> None:
    response = every.get("/api?long", "X-Request-ID: " + "x" * 10_000)
    assert response.status == 431
    assert NEW_ID.fullmatch(response.headers[HEADER])


@pytest.mark.parametrize("path", ["/nothing-here", "/api/sleep/soon", "/health/ready", "/metrics", "/api/ws"])
def test_every_response_has_the_request_id(every: Service, path: str) -> None:
    assert every.get(path, "X-Request-ID: mine").headers[HEADER] == "mine"


def test_failure_is_logged_with_the_request_id(every: Service) -> None:
    response = every.get("/fails", "X-Request-ID: failing")
    assert response.status == 500
    assert response.headers[HEADER] == "failing"
    (line,) = [each for each in json_lines(every) if "a failure" in each.get("exc_info", "")]
    assert line["request_id"] == "failing"
    assert access_line(every, "/fails")["status"] == 500


def test_failure_in_the_middle_of_a_response_is_logged_with_the_request_id(every: Service) -> None:
    with Connection(every.port) as connection:
        connection.send("/stream", "X-Request-ID: streaming")
        received = connection.rest()
    assert b"X-Request-ID: streaming\r\n" in received
    assert not received.endswith(b"0\r\n\r\n")
    wait_until(lambda: "RuntimeError: cut" in every.log, "the traceback")
    lines = [each for each in json_lines(every) if each.get("request_id") == "streaming"]
    assert any(each["message"] == "in the stream" for each in lines)
    assert any("RuntimeError: cut" in each.get("exc_info", "") for each in lines)


def test_lines_between_requests_have_no_request_id() -> None:
    def check(worker_class: str) -> None:
        with Service(WORKERS=1, WORKER_CLASS=worker_class, LOG_FORMAT="json", **QUICK) as service:
            service.ready().get("/api", "X-Request-ID: mine")
            service.signal(signal.SIGTERM)
            service.wait()
            assert all("request_id" not in line for line in json_lines(service)), worker_class

    for_each_class(check)


@pytest.mark.parametrize("last", ["Transfer-Encoding: gzip", "bad header: 1"])
def test_refused_request_has_its_id(every: Service, last: str) -> None:
    with Connection(every.port) as connection:
        connection.send("/api?" + last.partition(":")[0].replace(" ", ""), "X-Request-ID: refused", last)
        response = connection.response()
    assert response.status == 400
    assert response.headers[HEADER] == "refused"
    wait_until(lambda: every.said('"request_id": "refused"') > 0, "the ID in the log")


def test_unreadable_request_gets_an_id(every: Service) -> None:
    with Connection(every.port) as connection:
        connection.socket.sendall(b"nonsense\r\n\r\n")
        assert NEW_ID.fullmatch(connection.response().headers[HEADER])


def test_event_stream_has_the_request_id(every: Service) -> None:
    with EventStream(every.port, "X-Request-ID: streamed", query="?logged") as stream:
        assert [value for name, value in stream.head.headers if name.decode() == HEADER] == [b"streamed"]
        assert stream.tick()
    line = access_line(every, "/api/events?logged")
    assert line["request_id"] == "streamed"
    assert line["status"] == 200


def test_websocket_has_the_request_id(every: Service) -> None:
    handshake = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "X-Request-ID: socket",
    ]
    with Connection(every.port) as connection:
        connection.send("/api/ws?logged", *handshake)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.socket.recv(65536)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.lower().count(b"x-request-id: socket\r\n") == 1
    assert access_line(every, "/api/ws?logged")["status"] == 101


def test_text_error_has_the_request_id(tmp_path: Path) -> None:
    with Service(*application(tmp_path), WORKERS=1) as service:
        service.ready().get("/fails", "X-Request-ID: failing")
        assert service.said("ERROR Exception on /fails [GET] (request failing)") == 1


# ---- the access log ---------------------------------------------------------------------------------


def test_access_line_has_request_response_duration_and_state(every: Service) -> None:
    every.get("/api/sleep/0.25?x=1")
    line = access_line(every, "/api/sleep/0.25?x=1")
    assert line["logger"] == "gunicorn.access"
    assert (line["method"], line["protocol"], line["status"]) == ("GET", "HTTP/1.1", 200)
    assert line["bytes"] > 50
    assert 250 <= line["duration_ms"] < 5000
    assert (line["client"], line["peer"], line["state"]) == ("127.0.0.1", "127.0.0.1", "ready")


def test_head_request_is_in_the_access_log(every: Service) -> None:
    with Connection(every.port) as connection:
        connection.socket.sendall(b"HEAD /api?head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"X-Request-ID: " in connection.rest()
    line = access_line(every, "/api?head")
    assert (line["method"], line["bytes"]) == ("HEAD", 0)


def test_client_is_the_address_from_the_trusted_proxy(every: Service) -> None:
    every.get("/api?v4", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 203.0.113.7, 127.0.0.1")
    every.get("/api?v6", "X-Forwarded-For: [2001:db8::7]:4711")
    every.get("/api?none", "X-Forwarded-For: unknown")
    assert access_line(every, "/api?v4")["client"] == "203.0.113.7"
    assert access_line(every, "/api?v6")["client"] == "2001:db8::7"
    assert access_line(every, "/api?none")["client"] == "127.0.0.1"


def test_untrusted_peer_cannot_name_the_client() -> None:
    settings: dict[str, Any] = {
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "on",
        "WORKERS": 1,
        "FORWARDED_ALLOW_IPS": "192.0.2.0/24",
    }
    with Service(**settings) as service:
        service.ready().get("/api?made-up", "X-Forwarded-For: 203.0.113.7")
        assert access_line(service, "/api?made-up")["client"] == "127.0.0.1"


def test_refused_request_has_the_client_in_the_access_log(every: Service) -> None:
    with Connection(every.port) as connection:
        connection.send("/api?refused", "X-Forwarded-For: 203.0.113.7", "Transfer-Encoding: gzip")
        assert connection.response().status == 400
    line = access_line(every, "/api?refused")
    assert (line["client"], line["peer"], line["status"]) == ("203.0.113.7", "127.0.0.1", 400)


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_access_line_in_a_drain_has_its_state(worker_class: str) -> None:
    settings: dict[str, Any] = {
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "on",
        "WORKERS": 1,
        "WORKER_CLASS": worker_class,
    }
    with Service(**settings, **QUICK) as service:
        service.ready().get("/api?before")
        assert access_line(service, "/api?before")["state"] == "ready"
        service.begin_drain()
        service.get("/api?within")
        service.wait()
        assert access_line(service, "/api?within")["state"] == "draining"


def test_text_access_line_has_client_request_response_id_and_state() -> None:
    with Service(ACCESS_LOG="on", WORKERS=1) as service:
        service.ready().get("/api?text", "X-Request-ID: mine", "X-Forwarded-For: 203.0.113.7")
        pattern = r'Z \[\d+\] INFO 203\.0\.113\.7 "GET /api\?text HTTP/1\.1" 200 \d+ [\d.]+ ms mine ready$'
        wait_until(lambda: re.search(pattern, service.log, re.MULTILINE) is not None, "the line")
        assert service.output == ""


def test_own_access_format_can_name_the_fields() -> None:
    flags = ("--access-logfile", "-", "--access-logformat", "%(m)s %(client)s %(id)s %(state)s %({host}i)s")
    with Service(*flags, WORKERS=1) as service:
        service.ready().get("/api", "X-Request-ID: mine")
        wait_until(lambda: "INFO GET 127.0.0.1 mine ready test\n" in service.output, "the line")
