"""app/worker.py: what tells a probe and what waits. tests/process has the worker at work."""

from __future__ import annotations

from typing import Any

import pytest

from app.settings import PROBES
from app.worker import ProbeLane, Waiting


@pytest.mark.parametrize(
    ("head", "probe"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", True),
        (b"HEAD /health/ready HTTP/1.1\r\n\r\n", True),
        (b"GET /metrics?name[]=a HTTP/1.1\r\n\r\n", True),
        (b"GET /api/nowater/version HTTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"GET /api/nowater/version HTTP/1.1\r\nHost: a\r\nx-custom-header: Awesome\r\n\r\n", True),
        (b"GET /api HTTP/1.1\r\n\r\n", False),
        (b"GET /healthy HTTP/1.1\r\n\r\n", False),
        (b"POST /health HTTP/1.1\r\n\r\n", False),
        (b"GET http://a/health HTTP/1.1\r\n\r\n", False),
        (b"", False),
    ],
)
def test_a_probe_is_told_from_its_first_bytes(head: bytes, probe: bool) -> None:
    assert ProbeLane(PROBES).takes(head) is probe


def test_without_probes_there_is_no_lane() -> None:
    assert not ProbeLane(()).takes(b"GET /health HTTP/1.1\r\n\r\n")


def test_waiting_keeps_the_order_and_gives_up_from_the_middle() -> None:
    first, second, third = (any_connection(n) for n in "abc")
    waiting = Waiting()
    for each in (first, second, third):
        waiting.append(each)
    waiting.remove(second)
    assert list(waiting) == [first, third]
    assert (waiting[0], waiting.popleft(), len(waiting)) == (first, first, 1)


def any_connection(name: str) -> Any:
    return type(name, (), {})()
