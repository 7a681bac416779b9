"""The servers that are compared: how each is started, found ready, weighed and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from app import multiprocess
from app.settings import WORKER_CONNECTIONS, Settings
from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER

ROOT = Path(__file__).parents[2]
BASELINE = "tools.benchmarks.baseline:app"

START_TIMEOUT = 30.0
"""Seconds a server has until it answers, and again until it has ended."""


@dataclass(frozen=True)
class Contender:
    """One server with one application. `{port}`, `{workers}` and `{threads}` in its command are filled in."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = True
    """Whether it keeps connections open between requests."""


def stock(name: str, worker_class: str, *flags: str) -> Contender:
    """Gunicorn as it comes, with the baseline application."""
    # A configuration of nothing: the service's own lies in the directory that Gunicorn looks into.
    command = ("gunicorn", "-c", "python:tools.benchmarks", "-k", worker_class, "-b", "127.0.0.1:{port}")
    size = (
        "-w",
        "{workers}",
        "--threads",
        "{threads}",
        "--keep-alive",
        "75",
        "--timeout",
        f"{Settings.worker_timeout}",
        "--worker-connections",
        f"{WORKER_CONNECTIONS}",
    )
    return Contender(name, (*command, *size, *flags, BASELINE), keeps=worker_class != "sync")


def service(name: str, worker_class: str, **settings: str) -> Contender:
    """This project's service under one of its worker classes."""
    environment = {"WORKER_CLASS": worker_class, "WORKERS": "{workers}", "THREADS": "{threads}", **settings}
    return Contender(name, ("gunicorn", "-b", "127.0.0.1:{port}"), environment, worker_class != "sync")


STOCK = stock("stock gthread", "gthread")
STOCK_PRELOADED = stock("stock gthread --preload", "gthread", "--preload")
LEADER = service("ours, leader", LEADER_WORKER)
LANE = service("ours, probe lane", PROBE_LANE_WORKER)
GTHREAD = service("ours, gthread", "gthread")

CONTENDERS: tuple[Contender, ...] = (
    STOCK,
    LEADER,
    LANE,
    GTHREAD,
    service("ours, gevent", "gevent"),
    service("ours, sync", "sync"),
    stock("stock gevent", "gevent"),
    stock("stock sync", "sync"),
    Contender(
        "uWSGI",
        (
            *("uwsgi", "--master", "--http11-socket", "127.0.0.1:{port}", "--enable-threads"),
            *(
                "--processes",
                "{workers}",
                "--threads",
                "{threads}",
                "--so-keepalive",
                "--add-header",
                "Connection: Keep-Alive",
            ),
            *("--disable-logging", "--need-app", "--die-on-term", "--module", BASELINE),
        ),
    ),
    Contender(
        "waitress",
        (
            "waitress-serve",
            "--listen=127.0.0.1:{port}",
            "--threads={threads}",
            f"--connection-limit={WORKER_CONNECTIONS}",
            BASELINE,
        ),
    ),
    Contender(
        "granian",
        (
            *("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--no-ws"),
            *("--workers", "{workers}", "--blocking-threads", "{threads}", BASELINE),
        ),
    ),
)


class Server:
    """A running contender on a port of its own. A context manager; ready when it is entered."""

    def __init__(
        self, contender: Contender, workers: int = 1, threads: int = 16, cpu: int | None = None
    ) -> None:
        self.contender = contender
        # Bound, never listening: until stop() no other program gets this port by chance.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.port: int = self._reservation.getsockname()[1]
        self.workers = workers
        fill = {"port": self.port, "workers": workers, "threads": threads}
        command = [each.format(**fill) for each in contender.command]
        command[0] = str(Path(sys.executable).with_name(command[0]))
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        own = {name: value.format(**fill) for name, value in contender.environment.items()}
        began = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - the contenders are named here
            command, cwd=ROOT, env={**inherited, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.start_seconds = self._until_ready(began)

    def _until_ready(self, began: float) -> float:
        while True:
            try:
                self.get("/api")
            except (OSError, urllib.error.URLError) as error:
                if self.process.poll() is not None or time.monotonic() - began > START_TIMEOUT:
                    self.stop()
                    raise RuntimeError(f"{self.contender.name} does not serve: {error}") from error
                time.sleep(0.005)
            else:
                return time.monotonic() - began

    def get(self, path: str, timeout: float = 5) -> bytes:
        """Ask once, on a connection of its own."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
            return bytes(answer.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def family(self) -> list[psutil.Process]:
        """List the server's processes, the master first."""
        master = psutil.Process(self.process.pid)
        return [master, *master.children(recursive=True)]

    def pss(self) -> float:
        """Weigh all its processes: proportional set size in MB."""
        return float(sum(each.memory_full_info().pss for each in self.family())) / 1e6

    def processor_seconds(self) -> float:
        """Add up the processor time of all its processes, in seconds."""
        return float(sum(sum(each.cpu_times()[:2]) for each in self.family()))

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Stop it, by default at once; returns the seconds that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            family = self.family()
            self.process.send_signal(number)
            try:
                self.process.wait(START_TIMEOUT)
            except subprocess.TimeoutExpired:
                for each in family:
                    each.kill()
                self.process.wait()
        self._reservation.close()
        return time.monotonic() - began


_NOT_INHERITED = {name.upper() for name in Settings.__dataclass_fields__} | {
    "GUNICORN_CMD_ARGS",
    multiprocess.VARIABLE,
}
