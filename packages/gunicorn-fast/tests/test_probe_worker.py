"""ProbeLaneWorker refuses unsupported settings at the start; tests/process runs the worker in a service."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config

from gunicorn_fast.leader_worker import LeaderWorker
from gunicorn_fast.probe_worker import ProbeLaneWorker


class Log:
    """Log that records its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def critical(self, message: str, *arguments: object) -> None:
        self.lines.append(message % arguments)

    warning = critical


@pytest.mark.parametrize("worker", [ProbeLaneWorker, LeaderWorker])
@pytest.mark.parametrize(
    ("settings", "named", "instead"),
    [
        ({"certfile": "a.pem"}, "certfile is a.pem", "terminate TLS in a proxy"),
        ({"proxy_protocol": "auto"}, "proxy_protocol is auto", "X-Forwarded-For"),
        ({"http_protocols": "h2,h1"}, "http_protocols is h2,h1", "terminate HTTP/2 in a proxy"),
        ({"protocol": "uwsgi"}, "protocol is uwsgi", "HTTP/1.1"),
    ],
    ids=["TLS", "PROXY", "HTTP/2", "uwsgi"],
)
def test_unsupported_setting_ends_the_start_with_a_sentence(
    worker: Any, settings: dict[str, Any], named: str, instead: str
) -> None:
    cfg, log = Config(), Log()
    cfg.set("worker_class", f"gunicorn_fast.{worker.__name__}")
    for name, value in settings.items():
        cfg.set(name, value)
    with pytest.raises(SystemExit, match="1"):
        worker.check_config(cfg, log)
    (line,) = log.lines
    assert line.startswith(named)
    assert f"worker class gunicorn_fast.{worker.__name__}" in line
    assert line.endswith(f"{instead}") or instead in line
    assert "Use the worker class gthread, or" in line


@pytest.mark.parametrize("worker", [ProbeLaneWorker, LeaderWorker])
def test_default_configuration_starts(worker: Any) -> None:
    log = Log()
    worker.check_config(Config(), log)
    assert log.lines == []


@pytest.mark.parametrize("setting", ["worker_connections", "threads"])
@pytest.mark.parametrize("worker", [ProbeLaneWorker, LeaderWorker])
def test_worker_that_would_serve_no_connection_ends_the_start_with_a_sentence(
    worker: Any, setting: str
) -> None:
    cfg, log = Config(), Log()
    cfg.set(setting, 0)
    with pytest.raises(SystemExit, match="1"):
        worker.check_config(cfg, log)
    assert log.lines == [f"{setting} is 0; allowed are whole numbers from 1"]
