"""A low limit of open files, as `ulimit -n` sets it: fewer connections at a time, or no start."""

from __future__ import annotations

import contextlib
import sys

import pytest

from gunicorn_drain import SPARE_FILES
from tests.process.clients import Connection
from tests.process.service import Service
from tests.waiting import wait_until

OURS = ("gunicorn_fast.LeaderWorker", "gunicorn_fast.ProbeLaneWorker")
FILES = SPARE_FILES + 20
"""Limit of open files that leaves room for 20 connections of clients."""


def limited(files: int, kind: str = "-n") -> tuple[str, ...]:
    """Return the beginning of a command that starts Gunicorn with this limit; `kind`: ulimit's options."""
    command = f'ulimit {kind} "$0" && exec "$@"'
    return ("/bin/sh", "-c", command, str(files), sys.executable, "-m", "gunicorn")


@pytest.mark.parametrize("worker_class", [*OURS, "gthread", "gevent"])
def test_low_soft_limit_is_raised_for_the_connections_of_a_worker(worker_class: str) -> None:
    with Service("-k", worker_class, program=limited(FILES, "-S -n"), WORKERS=1) as service:
        port = service.ready().port
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(Connection(port)) for _ in range(2 * FILES)]
            for connection in connections:
                assert connection.ask().status == 200
            for connection in connections:  # all are still open
                assert connection.ask().status == 200
        assert "Open files" not in service.log
        assert "Traceback" not in service.log


def test_gthread_accepts_no_more_connections_than_files_can_be_open() -> None:
    with Service("-k", "gthread", program=limited(FILES), WORKERS=1) as service:
        worker = service.ready().workers
        port = service.port
        assert f"Open files are limited to {FILES}: too few for worker_connections" in service.log
        with contextlib.ExitStack() as stack:
            for _ in range(2 * FILES):
                stack.enter_context(Connection(port))
        wait_until(lambda: service.get("/api").status == 200, "a response")
        assert service.workers == worker  # without the limit it ends at the first file too many
        assert "Traceback" not in service.log


@pytest.mark.long
@pytest.mark.parametrize("worker_class", OURS)
def test_service_with_a_low_limit_logs_the_limit_and_serves_fewer_connections(worker_class: str) -> None:
    with Service("-k", worker_class, program=limited(FILES), WORKERS=1) as service:
        port = service.ready().port
        assert f"Open files are limited to {FILES}: too few for worker_connections" in service.log
        with contextlib.ExitStack() as stack:
            for _ in range(2 * FILES):
                connection = stack.enter_context(Connection(port))
                assert connection.ask().status == 200  # an older idle connection makes room
        assert service.get("/api").status == 200
        assert "Traceback" not in service.log


@pytest.mark.parametrize("worker_class", OURS)
def test_limit_that_leaves_no_connection_ends_the_start(worker_class: str) -> None:
    with Service("-k", worker_class, program=limited(SPARE_FILES), WORKERS=1) as service:
        assert service.process.wait(20) == 1
        assert f"Open files are limited to {SPARE_FILES}" in service.log
        assert "raise the limit (ulimit -n)" in service.log
        assert "Traceback" not in service.log
