"""Signals that arrive while the master handles another one."""

from __future__ import annotations

from pathlib import Path

from tests.process.service import Service
from tests.waiting import wait_until

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]
"""

# The second SIGTERM arrives between the tick's check whether the drain is over and its end.
CONFIGURATION = """
import os, signal
import gunicorn_drain
from gunicorn_drain import master

end_reason = master.end_reason
ticks = []

def interrupted(policy, status):
    ticks.append(status)
    if len(ticks) == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return end_reason(policy, status)

master.end_reason = interrupted
graceful_timeout = 5
gunicorn_drain.install(globals(), readiness="/ready")
"""


def test_second_sigterm_during_a_tick_ends_the_drain(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(APPLICATION)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    with Service("service:application", directory=tmp_path, DRAIN_MIN=60, DRAIN_MAX=60) as service:
        service.ready("/ready").begin_drain("/ready")
        wait_until(lambda: service.said("Drain ended: second signal") == 1, "the drain's end", 30)
        service.wait()
