"""Comparison of the drain with other ways to stop a service: the same load on each, in turn, in one run.

One rollout follows a pod's termination in Kubernetes: the endpoints are removed and the container is stopped
at the same moment, new connections still reach the old server for PROPAGATION seconds, and SIGKILL follows at
the end of the grace period. Clients are those of the process tests, 40 ms away.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import port_of, reservation
from tests.process.clients import Crowd, Kind, Lost, Router, get
from tests.process.delay import ROUND_TRIP, DelayProxy
from tests.waiting import wait_until
from tools.matrix.scenario import ASGI, KINDS, UVICORN_PACKAGES, UVICORN_WORKER, WSGI

PROPAGATION = 1.0
"""Interval from the removal of the endpoints until new connections reach the replacement, in seconds."""

WAIT = 5.0
"""Duration of the preStop sleep, and the default of DRAIN_MIN, in seconds."""

GRACE_PERIOD = 30.0
"""Kubernetes' default of terminationGracePeriodSeconds."""

AFTERWARDS = 1.0
"""Duration for which the load continues after the exit of the old server, in seconds."""

LOAD = (
    *(each for each in KINDS if each.name != "idle"),
    Kind("idle", path="/", pause=(0.5, 4.0)),
    Kind("long", path="/long"),
)
"""Clients of the matrix, with longer pauses and requests: a stop takes 5 s and more here."""

PACKAGES = (*UVICORN_PACKAGES, "granian==2.8.9")

GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "--keep-alive", "75")
GTHREAD = (*GUNICORN, "-k", "gthread", "--threads", "16", "wsgi:application")
DRAINED = ("-c", "python:gunicorn_drain.config")
UVICORN = (
    *("-m", "uvicorn", "--port", "{port}", "--workers", "2", "--timeout-keep-alive", "75"),
    *("--log-level", "warning", "asgi:application"),
)
GRANIAN = (
    *("-m", "granian", "--port", "{port}", "--workers", "2", "--interface", "asgi"),
    *("--log-level", "warning", "asgi:application"),
)


@dataclass(frozen=True)
class Approach:
    """One way to stop a service, with the server that it stops."""

    name: str
    server: str
    command: tuple[str, ...]
    """Arguments of the interpreter; {port} is replaced."""
    pre_stop: float = 0.0
    """Delay of SIGTERM, in seconds."""
    grace_period: float = GRACE_PERIOD
    """Seconds until SIGKILL, preStop included."""

    @property
    def drains(self) -> bool:
        """True where the drain is installed."""
        return DRAINED[1] in self.command


APPROACHES = (
    Approach("nothing", "Gunicorn, gthread", GTHREAD),
    Approach("terminationGracePeriodSeconds: 90 alone", "Gunicorn, gthread", GTHREAD, grace_period=90),
    Approach(f"preStop sleep, {WAIT:g} s", "Gunicorn, gthread", GTHREAD, pre_stop=WAIT),
    Approach("the server's own stop", "uvicorn", UVICORN),
    Approach(f"preStop sleep, {WAIT:g} s", "uvicorn", UVICORN, pre_stop=WAIT),
    Approach("the server's own stop", "granian", GRANIAN),
    Approach(f"preStop sleep, {WAIT:g} s", "granian", GRANIAN, pre_stop=WAIT),
    Approach("**gunicorn-drain**", "Gunicorn, gthread", (*GTHREAD[:2], *DRAINED, *GTHREAD[2:])),
    Approach(
        "**gunicorn-drain**",
        "Gunicorn, uvicorn_worker",
        (*GUNICORN[:2], *DRAINED, *GUNICORN[2:], "-k", UVICORN_WORKER, "asgi:application"),
    ),
)


@dataclass
class Outcome:
    """Sums of the rollouts of one approach."""

    requests: int = 0
    lost: int = 0
    unannounced: int = 0
    """Connections closed although the last response did not announce it."""
    killed: int = 0
    """Rollouts in which the old server ran until SIGKILL."""
    seconds: list[float] = field(default_factory=list)
    """Durations from the removal of the endpoints until the old server exited."""


@contextmanager
def serving(
    approach: Approach, python: str, directory: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server of `approach`; yield its process and port when it responds."""
    with reservation() as reserved, tempfile.TemporaryFile() as log:
        port = port_of(reserved)
        process = subprocess.Popen(
            [python, *(each.replace("{port}", str(port)) for each in approach.command)],
            cwd=directory,
            env={**os.environ, "GUNICORN_CMD_ARGS": ""},
            stdout=log,
            stderr=log,
            process_group=0,
        )

        def responds() -> bool:
            if process.poll() is not None:
                log.seek(0)
                raise AssertionError(f"{approach.server} ended:\n{log.read().decode()}")
            try:
                return get(port, "/").status == 200
            except (Lost, OSError):
                return False

        try:
            wait_until(responds, f"a response of {approach.server}")
            yield process, port
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def roll_out(approach: Approach, python: str, directory: Path, outcome: Outcome) -> None:
    """Replace one server by another under load, and add the clients' counts to `outcome`."""
    with (
        serving(approach, python, directory) as (old, old_port),
        serving(approach, python, directory) as (_, new_port),
        DelayProxy(old_port, ROUND_TRIP) as old_way,
        DelayProxy(new_port, ROUND_TRIP) as new_way,
    ):
        router = Router(old_way.port)
        with Crowd(lambda: router.port, LOAD) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            removed = time.monotonic()
            events = [(approach.pre_stop, "stop"), (PROPAGATION, "switch")]
            for due, event in sorted(events):
                time.sleep(max(removed + due - time.monotonic(), 0))
                if event == "stop":
                    old.send_signal(signal.SIGTERM)
                else:
                    router.switch(new_way.port)
            try:
                old.wait(removed + approach.grace_period - time.monotonic())
            except subprocess.TimeoutExpired:
                outcome.killed += 1
                os.killpg(old.pid, signal.SIGKILL)
                old.wait()
            outcome.seconds.append(time.monotonic() - removed)
            time.sleep(AFTERWARDS)
            crowd.stop()
    outcome.requests += crowd.responses + crowd.lost
    outcome.lost += crowd.lost
    outcome.unannounced += crowd.unannounced


def compare(python: str, rounds: int, approaches: Sequence[Approach] = APPROACHES) -> list[Outcome]:
    """Return the outcome of each approach after `rounds` rollouts of each, one approach after the other."""
    outcomes = [Outcome() for _ in approaches]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "wsgi.py").write_text(WSGI)
        (directory / "asgi.py").write_text(ASGI)
        for number in range(rounds):
            for approach, outcome in zip(approaches, outcomes, strict=True):
                roll_out(approach, python, directory, outcome)
                print(f"round {number + 1}: {approach.name}, {approach.server}: {outcome}", flush=True)
    return outcomes


def drained(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of the approaches with the drain."""
    return [outcome for approach, outcome in zip(APPROACHES, outcomes, strict=True) if approach.drains]


def comparison_table(outcomes: Sequence[Outcome], approaches: Sequence[Approach] = APPROACHES) -> str:
    """Return the comparison in Markdown."""
    lines = [
        "| stopped by | server | lost | of requests | closed without notice | old server gone after |",
        "|---|---|---|---|---|---|",
    ]
    for approach, outcome in zip(approaches, outcomes, strict=True):
        gone = f"{statistics.median(outcome.seconds):.1f} s"
        if outcome.killed:
            gone += f", killed {outcome.killed} of {len(outcome.seconds)} times"
        lines.append(
            f"| {approach.name} | {approach.server} | {outcome.lost} | {outcome.requests:,} | "
            f"{outcome.unannounced} | {gone} |"
        )
    return "\n".join(lines) + "\n"
