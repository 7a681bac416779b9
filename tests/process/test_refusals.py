"""Refused requests: reported to the client as problem details, counted, and logged once a minute."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from app.settings import WORKER_CLASSES
from tests.process.clients import Connection
from tests.process.service import Service
from tests.process.streams import EventStream
from tests.waiting import wait_until

PARSER_ERRORS = [
    (b"GET /api HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 9000 + b"\r\n\r\n", 431, "GET /api HTTP/1.1"),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "- - -"),
    (b"GET /api HTTP/9.9\r\nHost: a\r\n\r\n", 400, "GET /api "),
    (b"nonsense\r\n\r\n", 400, "- - -"),
    (b"GET /api HTTP/1.1\r\nHost: a\r\nbad header: 1\r\n\r\n", 400, "GET /api HTTP/1.1"),
    (b"POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "POST /api HTTP/1.1"),
]


@pytest.fixture(scope="module", params=WORKER_CLASSES)
def every(request: pytest.FixtureRequest) -> Iterator[Service]:
    settings = {"WORKER_CLASS": request.param, "WORKERS": 1, "STREAM_LIMIT": 1, "ACCESS_LOG": "on"}
    with Service(**settings) as service:
        yield service.ready()


def refused(service: Service, status: int) -> float:
    text = service.get("/metrics").body.decode()
    match = re.search(rf'^http_requests_refused_total{{status="{status}"}} (\S+)$', text, re.MULTILINE)
    return float(match[1]) if match else 0.0


@pytest.mark.parametrize(("request_bytes", "status", "logged"), PARSER_ERRORS)
def test_parser_error_is_reported_as_problem_details_counted_and_logged(
    every: Service, request_bytes: bytes, status: int, logged: str
) -> None:
    before = refused(every, status)
    with Connection(every.port) as connection:
        connection.socket.sendall(request_bytes)
        response = connection.response()
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.closes
    problem = json.loads(response.body)
    assert problem["status"] == status
    assert problem["detail"]
    assert refused(every, status) == before + 1
    wait_until(
        lambda: re.search(rf'"{logged}[^"]*" {status} ', every.log) is not None, "a line of the access log"
    )
    assert f"Refused a request of 127.0.0.1 with {status}: " in every.log


def test_many_refusals_are_one_line_of_the_log(every: Service) -> None:
    for _ in range(20):
        with Connection(every.port) as connection:
            connection.socket.sendall(b"nonsense\r\n\r\n")
            assert connection.response().status == 400
    assert every.said("Refused a request of 127.0.0.1 with 400: ") == 1


def test_stream_beyond_stream_limit_is_refused_with_the_reason(every: Service) -> None:
    reason = "This worker has its maximum of long-lived connections, 1 (STREAM_LIMIT)."
    with EventStream(every.port) as stream:
        stream.tick()
        for _ in range(3):
            response = every.get("/api/events")
            assert response.status == 503
            assert json.loads(response.body)["detail"] == reason
        assert every.metric('streams_refused_total{kind="events"}') == 3
        assert every.said(f"Refused a connection, events: {reason}") == 1
