"""A real Gunicorn with the service, which a test starts, signals and observes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from app.settings import WORKER_CLASSES, Settings
from tests.ports import port_of, reservation
from tests.process.clients import Lost, Response, get
from tests.waiting import CONDITION_TIMEOUT, wait_until

T = TypeVar("T")

ROOT = Path(__file__).parents[2]

QUICK: Mapping[str, Any] = {"DRAIN_MIN": 1.5, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 6}
"""Settings of a complete drain in less time."""

SLACK = 3.0
"""Maximum duration of a stop in addition to the time that it waits for, in seconds.

On an idle machine a stop takes 0.3 s, mostly Gunicorn's (a gevent worker up to 1 s: it polls once a second);
with three busy processes per core, the exit of a Python process alone has taken 2 s.
"""

MARK = "TEST_SERVICE"
"""Environment variable by which the processes of a service are found, including orphans."""

COVERAGE = "COVERAGE_PROCESS_CONFIG"
"""Environment variable by which coverage measures the child processes of a measured process."""

NOT_INHERITED = {name.upper() for name in Settings.__dataclass_fields__} | {
    "GUNICORN_CMD_ARGS",
    "WEB_CONCURRENCY",
    "PROMETHEUS_MULTIPROC_DIR",
}


def for_each_class(ask: Callable[[str], T]) -> dict[str, T]:
    """Call `ask` with every worker class at once; return the results by worker class."""
    with ThreadPoolExecutor(len(WORKER_CLASSES)) as pool:
        return dict(zip(WORKER_CLASSES, pool.map(ask, WORKER_CLASSES), strict=True))


class Service:
    """A master with its workers, on a port reserved until `stop()`, even after the exit of the master.

    `flags` are Gunicorn's, `settings` the service's environment, `program` the beginning of the command;
    `pass_fds` are inherited, `ask` sends a GET to a port. A context manager: at its end every process has
    exited, and a process that outlived the master fails the test.
    """

    def __init__(
        self,
        *flags: str,
        directory: Path = ROOT,
        bind: bool = True,
        group: bool = False,
        program: Sequence[str] = (sys.executable, "-m", "gunicorn"),
        pass_fds: Collection[int] = (),
        ask: Callable[..., Response] = get,
        **settings: object,
    ) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="gunicorn-", suffix=".log")  # noqa: SIM115 - closed in stop()
        self._output = tempfile.NamedTemporaryFile(prefix="gunicorn-", suffix=".out")  # noqa: SIM115 - the same
        self._mark = uuid.uuid4().hex
        self._ask = ask
        environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        environment |= {name: str(value) for name, value in settings.items()}
        self._reservation = reservation()
        own = ["-b", f"127.0.0.1:{port_of(self._reservation)}"] if bind else []
        self.process = subprocess.Popen(
            [*program, *own, *flags],
            cwd=directory,
            # Bytecode is read and not written: a configuration that a test changes twice within a second, to
            # the same length, would be read from the bytecode of the first change.
            env={**environment, MARK: self._mark, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._output.fileno(),
            stderr=self._log.fileno(),
            process_group=0 if group else None,
            pass_fds=pass_fds,
        )
        self._workers = int(str(settings.get("WORKERS", Settings.workers if directory == ROOT else 1)))
        self.signalled = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = self.process.poll() is not None
        killed = self.stop()
        orphans = killed if ended else []
        if error is not None:
            error.add_note("The service's log:\n" + self.final_log)
        else:
            assert not orphans, f"left behind: {orphans}\n{self.final_log}"

    def stop(self) -> list[psutil.Process]:
        """Kill the processes that still run; release the log and the port. Return the killed ones."""
        killed = self.stop_processes()
        self.final_log = self.log
        self._log.close()
        self._output.close()
        self._reservation.close()
        return killed

    def stop_processes(self) -> list[psutil.Process]:
        """Kill every process that still runs; return those that were not the master."""
        if COVERAGE in os.environ and self.process.poll() is None:  # a killed process loses its figures
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGINT)
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        found = self.processes()
        for each in found:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just exited
                each.kill()
        self.process.wait()
        return found

    def processes(self) -> list[psutil.Process]:
        """Return every living process of this service, whatever its current parent."""
        found = []
        mark = f"{MARK}={self._mark}".encode()
        for pid in psutil.pids():
            # psutil would parse the environment of every process of the machine.
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                if mark in Path(f"/proc/{pid}/environ").read_bytes() and _lives(pid):
                    found.append(psutil.Process(pid))
        return found

    @property
    def log(self) -> str:
        """Output of the service on stderr so far."""
        return Path(self._log.name).read_text()

    @property
    def output(self) -> str:
        """Output of the service on stdout so far."""
        return Path(self._output.name).read_text()

    @property
    def port(self) -> int:
        """Port of the service, as reported in its log."""
        wait_until(lambda: "Listening at" in self.log or self.process.poll() is not None, "a listener")
        match = re.search(r"Listening at: https?://(?:[0-9.]+|\[[0-9a-f:.]+\]):([0-9]+)", self.log)
        assert match, f"no listener:\n{self.log}"
        return int(match[1])

    @property
    def workers(self) -> list[int]:
        """PIDs of the living workers, oldest first."""
        return sorted(pid for pid in _children(self.process.pid) if _lives(pid))

    def begin_drain(self, path: str = "/health/ready") -> None:
        """Send SIGTERM and wait for its immediate effect, for which the master only needs the processor."""
        self.signal(signal.SIGTERM)
        wait_until(lambda: self.get(path).status == 503, f"503 at {path}")

    def ready(self, path: str = "/health/ready") -> Self:
        """Wait until the service is ready at `path`, with all its workers."""
        port = self.port
        wait_until(lambda: self._is_ready(port, path), "readiness")
        booted = self._booted_workers
        wait_until(lambda: booted() >= self._workers, "all workers")
        return self

    def _booted_workers(self) -> int:
        """Return the number of workers if each of them has booted, else 0."""
        # A worker that can serve catches SIGTERM. A new process still has the master's handlers: it catches
        # SIGTERM and also SIGHUP, which workers do not catch.
        pids = self.workers
        booted = all(catches(pid, signal.SIGTERM) and not catches(pid, signal.SIGHUP) for pid in pids)
        return len(pids) if booted else 0

    def _is_ready(self, port: int, path: str) -> bool:
        assert self.process.poll() is None, f"ended with status {self.process.returncode}:\n{self.log}"
        try:
            return self._ask(port, path).status == 200
        except (Lost, OSError):
            return False

    def get(self, path: str, *headers: str) -> Response:
        """Send one GET on a separate connection."""
        return self._ask(self.port, path, *headers)

    def metric(self, name: str) -> float:
        """Return the value of a series of /metrics; `name` includes its labels, if any."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        assert match, name
        return float(match[1])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master, and record the time."""
        self.signalled = time.monotonic()
        self.process.send_signal(number)

    def said(self, text: str) -> int:
        """Return the number of lines of the log that contain `text`."""
        return sum(text in line for line in self.log.splitlines())

    def wait(self, seconds: float = CONDITION_TIMEOUT, statuses: Collection[int] = (0,)) -> float:
        """Wait for the exit with one of `statuses`; return the seconds since the last signal."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds:g} s\n{self.log}") from None
        took = time.monotonic() - self.signalled
        assert status in statuses, f"ended with status {status}:\n{self.log}"
        assert "Traceback" not in self.log, self.log
        return took


def _children(pid: int) -> set[int]:
    """Return the PIDs of the children of a process. Raises psutil.NoSuchProcess if it does not exist.

    The kernel lists the children of each thread; psutil reads the parent of every process of the machine.
    """

    def listed() -> set[int]:
        files = Path(f"/proc/{pid}/task").glob("*/children")
        return {int(child) for file in files for child in file.read_text().split()}

    if not Path(f"/proc/{pid}/task/{pid}/children").exists():  # no such process, or a kernel without the list
        return {each.pid for each in psutil.Process(pid).children()}
    try:
        # A child that exits during the read may hide its sibling; the next read has the sibling again.
        found = listed()
        while found != (again := listed()):
            found = again
    except OSError:  # a thread, or the process, exited meanwhile
        return _children(pid)
    return found


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def catches(pid: int, number: signal.Signals) -> bool:
    """Return True if a process has a handler for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    match = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> (number - 1) & 1)


def connections_of(pid: int) -> int:
    """Return the number of clients that a worker has accepted; a duplicated socket counts once."""
    found = psutil.Process(pid).net_connections("tcp")
    return len({each.raddr for each in found if each.status == psutil.CONN_ESTABLISHED})
