"""Settings and flags, as whoever starts the service sees them."""

from __future__ import annotations

import subprocess
import sys

from tests.ports import reserve_port
from tests.process.service import ROOT, Service, wait_until

WRONG = {
    "PORT": "0",
    "WORKERS": "many",
    "WORKER_CLASS": "asgi",
    "DRAIN": "maybe",
    "DRAIN_MIN": "9",
    "DRAIN_MAX": "3",
    "DRAIN_QIET": "1",
    "LOG_LEVEL": "loud",
}


def test_all_that_is_wrong_is_said_at_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=ROOT,
        env=WRONG,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert all(line.startswith("settings: ") for line in lines), ended.stderr  # and no traceback
    for name, value in WRONG.items():
        said = [line for line in lines if name in line and "allowed" in line]
        assert said, name
        assert name == "DRAIN_QIET" or any(value in line for line in said), name
    assert ended.stdout == ""


def test_the_port_is_a_setting() -> None:
    port = reserve_port()
    with Service(bind=False, PORT=port) as service:
        assert service.ready().port == port
        assert service.said(f"Listening at: http://0.0.0.0:{port}") == 1


def test_gunicorns_flags_win() -> None:
    port = reserve_port()
    with Service("-b", f"127.0.0.1:{port}", "-w", "3", bind=False, PORT=1, WORKERS=1) as service:
        assert service.ready().port == port
        wait_until(lambda: len(service.workers) == 3, "three workers")


def test_gunicorns_own_variable_wins() -> None:
    port = reserve_port()
    arguments = f"--bind=127.0.0.1:{port} --workers=3"
    with Service(bind=False, GUNICORN_CMD_ARGS=arguments, PORT=1, WORKERS=1) as service:
        assert service.ready().port == port
        wait_until(lambda: len(service.workers) == 3, "three workers")
