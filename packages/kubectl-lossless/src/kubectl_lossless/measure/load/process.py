"""`Load`: the load around an action, in a separate process."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Protocol

from kubectl_lossless.measure.load.clients import Plan
from kubectl_lossless.measure.load.record import Result, from_line

PLAN = "LOSSLESS_PLAN"
"""The environment variable that holds the plan of a load's process."""


class LoadError(Exception):
    """The load could not run, or not to its end; the message has the reason and the remedy."""


class Place(Protocol):
    """Place of the load's process."""

    def start(self, plan: str) -> subprocess.Popen[str]:
        """Start the load with that plan; return a process whose stdout has its lines.

        The load is `python -m kubectl_lossless.measure.load`.

        Raises LoadError.
        """

    def stop(self) -> None:
        """Send the load a SIGTERM. It still finishes requests in flight."""

    def clean(self) -> None:
        """Delete the process or the objects that the load created, in any state."""


class Local:
    """The load runs on this machine."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self, plan: str) -> subprocess.Popen[str]:
        """Start it in a separate session: a Ctrl-C at the terminal is the caller's to handle."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kubectl_lossless.measure.load"],
            env={**os.environ, PLAN: plan},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self._process

    def stop(self) -> None:
        """Send it a SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    def clean(self) -> None:
        """Kill it, should it still run."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()


class Load:
    """A load that runs as long as its `with` block.

    Entering it returns when the load is steady: every client has had a response. Leaving it waits for the
    requests in flight. `result` grows meanwhile and is complete afterwards.
    """

    def __init__(self, plan: Plan, *, place: Place | None = None, patience: float = 30.0) -> None:
        """`patience`: seconds within which the load must be steady."""
        urls = ", ".join(dict.fromkeys(target.url for target in plan.targets))
        self.result = Result(url=urls, clients=plan.mix, kinds=plan.kinds)
        self._plan = plan.to_json()
        self._slowest = plan.slowest
        self._patience = patience + self._slowest
        self._place = place or Local()
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._steady = threading.Event()
        self._over = threading.Event()
        self._stderr = ""
        self._error: str | None = None
        self._expected: int | None = None
        self._read = 0

    def __enter__(self) -> "Load":
        """Start it, and wait until it is steady.

        Raises LoadError.
        """
        try:
            self._process = self._place.start(self._plan)
            for read in (self._read_lines, self._read_errors):
                self._readers.append(threading.Thread(target=read, args=(self._process,), daemon=True))
                self._readers[-1].start()
            self._wait_until_steady()
        except BaseException:
            self._clean()
            raise
        return self

    def _wait_until_steady(self) -> None:
        until = time.monotonic() + self._patience
        while not self._steady.wait(0.1):
            if self._over.is_set():
                raise LoadError(f"The load ended before it was steady. {self._why()}")
            if time.monotonic() > until:
                raise LoadError(
                    f"Not every client got a response from {self.result.url} within "
                    f"{self._patience:.0f} s. {self._seen()}"
                )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it.

        Raises LoadError if records are missing, unless another error is on its way.
        """
        try:
            self.stop()
        except LoadError:
            if error is None:
                raise
        finally:
            self._clean()

    def stop(self) -> Result:
        """Stop it now, inside the block; return the complete result.

        Raises LoadError if the load ended unexpectedly or records are missing.
        """
        if self._expected is None and not self._over.is_set():
            self._place.stop()
            self._over.wait(self._slowest + 10)
        if self._error:
            raise LoadError(f"The load failed: {self._error}")
        if self._expected != self._read:
            raise LoadError(f"The load ended early, {self._read} records arrived. {self._why()}")
        return self.result

    @property
    def running(self) -> bool:
        """True while it sends requests; false also when it broke down."""
        return not self._over.is_set()

    def _read_lines(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
        for line in process.stdout:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                self._error = f"a line that is no record: {line.strip()[:200]}"
        self._over.set()

    def _take(self, fields: dict[str, object]) -> None:
        match fields:
            case {"is": "started", "at": float(at)}:
                self.result.started = at
            case {"is": "steady", "at": float(at)}:
                self.result.steady = at
                self._steady.set()
            case {"is": "ended", "at": float(at), "records": int(records), "cpu": float(cpu)}:
                self.result.ended, self.result.cpu, self._expected = at, cpu, records
            case {"is": "error", "error": str(error)}:
                self._error = error
            case _:
                self.result.add(from_line(fields))
                self._read += 1

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None  # noqa: S101 - for mypy: it was opened as a pipe
        for line in process.stderr:
            self._stderr = (self._stderr + line)[-2000:]

    def _seen(self) -> str:
        kinds = Counter(f"{failure.kind} ({failure.detail})" for failure in self.result.failures)
        seen = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(3))
        return f"Responses: {len(self.result.responses)}; lost: {seen or 'none'}."

    def _why(self) -> str:
        for reader in self._readers:
            reader.join(1)
        return f"It said: {self._stderr.strip() or 'nothing'}"

    def _clean(self) -> None:
        self._place.clean()
        for reader in self._readers:
            reader.join(5)
        if self._process is not None:
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()
