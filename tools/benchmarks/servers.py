"""Servers of the comparison: their start, readiness, memory, processor time and stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO, Self

import psutil

from app.settings import WORKER_CONNECTIONS, Settings
from gunicorn_drain.prometheus import VARIABLE, memory_directory
from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.ports import port_of, reservation
from tools.benchmarks.applications import FLASK, SERVICE, Application

ROOT = Path(__file__).parents[2]

THREADS = 16
"""Number of threads of a server's worker where nothing else is said."""

START_TIMEOUT = 120.0
"""Timeout until a server responds, and again until it has exited, in seconds; valgrind needs most of it."""


@dataclass(frozen=True)
class Contender:
    """A server that runs an application.

    `{port}`, `{workers}`, `{threads}` and `{metrics}`, an empty directory, are filled in. A program without a
    path is that of the benchmarks' environment.
    """

    name: str
    application: Application
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    under: tuple[str, ...] = ()
    """A command that runs the server's, such as valgrind."""


# Otherwise the others' metrics would be in memory, and ours in files that workers share.
_SHARED_METRICS = {VARIABLE: "{metrics}"}


def _other(name: str, application: Application, *command: str) -> Contender:
    environment = _SHARED_METRICS if application is SERVICE else {}
    return Contender(name, application, command, environment)


def gunicorn(
    name: str, configuration: str, worker_class: str, application: Application, *flags: str
) -> Contender:
    """Return Gunicorn with a configuration other than the service's."""
    size = (
        *("-w", "{workers}", "--threads", "{threads}", "--keep-alive", "75"),
        *("--timeout", f"{Settings.worker_timeout}", "--worker-connections", f"{WORKER_CONNECTIONS}"),
    )
    command = ("gunicorn", "-c", f"python:{configuration}", "-k", worker_class, "-b", "127.0.0.1:{port}")
    return _other(name, application, *command, *size, *flags, application.reference)


def stock(name: str, worker_class: str, application: Application, *flags: str) -> Contender:
    """Return stock Gunicorn."""
    # An empty configuration: the service's own is in the directory in which Gunicorn looks for one.
    return gunicorn(name, "tools.benchmarks", worker_class, application, *flags)


def drained(name: str, worker_class: str, application: Application) -> Contender:
    """Return Gunicorn with gunicorn-drain, for this service with everything in gunicorn.conf.py."""
    if application is not SERVICE:
        return gunicorn(name, "gunicorn_drain.config", worker_class, application)
    environment = {"WORKER_CLASS": worker_class, "WORKERS": "{workers}", "THREADS": "{threads}"}
    return Contender(name, application, ("gunicorn", "-b", "127.0.0.1:{port}"), environment)


STOCK_NAME, LEADER_NAME, LANE_NAME, GTHREAD_NAME = "gthread", "leader", "probe lane", "gthread, drain"
GRANIAN_NAME, UWSGI_NAME, WAITRESS_NAME, FLOOR_NAME = "granian", "uWSGI", "waitress", "floor"
DRAINED = (LEADER_NAME, LANE_NAME, GTHREAD_NAME)
"""Servers with the drain."""


def contenders(application: Application) -> tuple[Contender, ...]:
    """Return every server with `application`: ours first, the floor last."""
    run = application.reference
    return (
        drained(LEADER_NAME, LEADER_WORKER, application),
        drained(LANE_NAME, PROBE_LANE_WORKER, application),
        drained(GTHREAD_NAME, "gthread", application),
        stock(STOCK_NAME, "gthread", application),
        stock("gevent", "gevent", application),
        stock("sync", "sync", application),
        _other(
            UWSGI_NAME,
            application,
            *("uwsgi", "--master", "--http11-socket", "127.0.0.1:{port}", "--enable-threads"),
            *("--processes", "{workers}", "--threads", "{threads}"),
            *("--so-keepalive", "--add-header", "Connection: Keep-Alive"),
            *("--disable-logging", "--need-app", "--die-on-term", "--module", run),
        ),
        _other(
            WAITRESS_NAME,
            application,
            *("waitress-serve", "--listen=127.0.0.1:{port}", "--threads={threads}"),
            *(f"--connection-limit={WORKER_CONNECTIONS}", run),
        ),
        _other(
            GRANIAN_NAME,
            application,
            *("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--no-ws"),
            *("--workers", "{workers}", "--blocking-threads", "{threads}", run),
        ),
        _other(FLOOR_NAME, application, "python", "-m", "tools.benchmarks.floor", "{port}", run),
    )


STOCK = stock(STOCK_NAME, "gthread", FLASK)
STOCK_PRELOADED = stock("gthread --preload", "gthread", FLASK, "--preload")
LEADER = drained(LEADER_NAME, LEADER_WORKER, SERVICE)
LANE = drained(LANE_NAME, PROBE_LANE_WORKER, SERVICE)
GTHREAD = drained(GTHREAD_NAME, "gthread", SERVICE)

_DESCRIBE = (
    "import platform, sys; jit = getattr(sys, '_jit', None); "
    "print(platform.python_version(), jit is not None and jit.is_available())"
)


def on_each_python(contender: Contender, root: Path = ROOT) -> Iterator[Contender]:
    """Yield `contender` on the Python of each environment in `root`, with its JIT too where it has one.

    `make run PYTHON=...` sets an environment up.
    """
    for gunicorn in (*root.glob(".venv/bin/gunicorn"), *sorted(root.glob(".venv-3.*/bin/gunicorn"))):
        python = str(gunicorn.with_name("python"))
        described = subprocess.run([python, "-c", _DESCRIBE], check=True, capture_output=True, text=True)  # noqa: S603 - our own environments
        version, has_jit = described.stdout.split()
        command = (python, "-m", *contender.command)
        for name, switch in ((version, "0"), (f"{version}, JIT", "1"))[: 2 if has_jit == "True" else 1]:
            environment = {**contender.environment, "PYTHON_JIT": switch}  # PEP 744
            yield replace(contender, name=name, command=command, environment=environment)


class Server:
    """A running contender on a separate port. A context manager; ready when it is entered."""

    def __init__(
        self,
        contender: Contender,
        workers: int = 1,
        threads: int = THREADS,
        cpu: int | None = None,
        log: BinaryIO | int = subprocess.DEVNULL,
    ) -> None:
        self.contender = contender
        self._reservation = reservation()
        self.port = port_of(self._reservation)
        self.workers = workers
        self._metrics = tempfile.TemporaryDirectory(prefix="bench-metrics-", dir=memory_directory())
        self.metrics = Path(self._metrics.name)
        fill = {"port": self.port, "workers": workers, "threads": threads, "metrics": self._metrics.name}
        command = [each.format(**fill) for each in contender.command]
        command[0] = str(Path(sys.executable).parent / command[0])
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        command = [*contender.under, *command]
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        own = {name: value.format(**fill) for name, value in contender.environment.items()}
        began = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 - the contenders are named here
            command, cwd=ROOT, env={**inherited, **own}, stdout=log, stderr=log
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

    def get(self, path: str, timeout: float = 5, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """Send one request on a separate connection; return the body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=dict(headers))
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - our own port
            return bytes(response.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def family(self) -> list[psutil.Process]:
        """Return the server's processes, the master first."""
        master = psutil.Process(self.process.pid)
        return [master, *master.children(recursive=True)]

    def pss(self) -> float:
        """Return the proportional set size of all processes, in MB."""
        return float(sum(each.memory_full_info().pss for each in self.family())) / 1e6

    def processor_seconds(self) -> float:
        """Return the processor time of all processes, in seconds."""
        return float(sum(sum(each.cpu_times()[:2]) for each in self.family()))

    def runtime(self) -> float:
        """Return the processor time of all threads that run, in seconds.

        It is exact, where `processor_seconds` rounds each process to 10 ms; threads that have ended are not
        in it.
        """
        return (
            sum(
                int(each.read_text().split()[0])
                for process in self.family()
                for each in Path(f"/proc/{process.pid}/task").glob("*/schedstat")
            )
            / 1e9
        )

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Stop the server, by default at once; return the duration in seconds."""
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
        self._metrics.cleanup()
        return time.monotonic() - began


_NOT_INHERITED = {name.upper() for name in Settings.__dataclass_fields__} | {
    "GUNICORN_CMD_ARGS",
    VARIABLE,
}
