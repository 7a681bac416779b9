"""Update two services at the same time, one with DRAIN=off and one with DRAIN=on, and count their losses.

No cluster is involved: each service is Gunicorn on this machine, behind a proxy that is as late as kube-proxy
is. For 2 seconds after SIGTERM it still sends new connections to the old version. Both have the same clients.
Open the two pages in a browser and keep them open.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from kubectl_lossless.measure.load import Load, Plan, Target, general
from tests.process.delay import DelayProxy
from tests.process.service import Service

PROPAGATION = 2.0
"""Interval from SIGTERM until new connections reach the new version, in seconds."""

PAUSE = 8.0
"""Time without an update, before each and after the last, in seconds."""

UPDATES = 3

REQUEST_RATE = 40.0
"""Requests per second that each service gets."""

CONNECTIONS = 8
"""Connections that the clients of a service keep."""

EXIT_TIMEOUT = 40.0
"""Maximum time that an old version may take to exit, in seconds: more than DRAIN_MAX and GRACEFUL_TIMEOUT."""


class Deployment:
    """A service at a fixed port, its clients, and the version that serves them. A context manager."""

    def __init__(self, drain: str, port: int) -> None:
        self.drain = drain
        self.port = port
        self.version = 1
        self._stack = contextlib.ExitStack()
        self._service = self._start()

    def _start(self) -> Service:
        return Service(DRAIN=self.drain, WORKERS=1, APP_VERSION=f"v{self.version}")

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self._proxy = stack.enter_context(DelayProxy(self._service.ready().port, 0.0, self.port))
            target = Target.of(f"http://127.0.0.1:{self.port}/api")
            clients = general(REQUEST_RATE, CONNECTIONS, ("new", "busy"), (0,))
            self._load = stack.enter_context(Load(Plan((target,), tuple(clients))))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def stop(self) -> None:
        """Stop the version that serves."""
        self._service.stop()

    def update(self) -> float:
        """Replace the version that serves by the next; return the seconds that the old one took to exit."""
        self.version += 1
        old, self._service = self._service, self._start()
        try:
            self._service.ready()
            began = time.monotonic()
            old.signal(signal.SIGTERM)
            propagation = threading.Timer(PROPAGATION, self._send_to_new)
            propagation.start()
            old.wait(EXIT_TIMEOUT)
            took = time.monotonic() - began
            propagation.join()
            return took
        finally:
            old.stop()

    def _send_to_new(self) -> None:
        self._proxy.target = self._service.port

    @property
    def row(self) -> str:
        """Counts so far, as a line of the table."""
        result = self._load.result
        return (
            f"  DRAIN={self.drain:3}  v{self.version}  {result.requests:6,} requests  {result.lost:4,} lost"
        )


def show(deployments: Sequence[Deployment], event: str) -> None:
    """Print an event, and the counts of both deployments."""
    print(f"\n{event}", *(each.row for each in deployments), sep="\n", flush=True)


def run(updates: int, pause: float, ports: Sequence[int]) -> None:
    """Run the demonstration. Raises OSError for a port that is in use."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        both = [
            stack.enter_context(Deployment(drain, port))
            for drain, port in zip(("off", "on"), ports, strict=True)
        ]
        print("Open both pages side by side, and keep them open:\n")
        for each in both:
            print(f"  DRAIN={each.drain:3}  http://localhost:{each.port}/")
        print(
            f"\nUpdates that follow: {updates}, with {pause:g} s between them. Ctrl-C ends the demonstration."
        )
        time.sleep(pause)
        for _ in range(updates):
            show(both, f"Update to v{both[0].version + 1} begins.")
            took = list(pool.map(Deployment.update, both))
            exits = ", ".join(
                f"{seconds:.1f} s with DRAIN={each.drain}" for each, seconds in zip(both, took, strict=True)
            )
            show(both, f"Update is complete: the old version exited after {exits}.")
            time.sleep(pause)
        show(both, "In total:")


def main() -> int:
    """Read the command line and run; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=UPDATES, help=f"number of updates ({UPDATES})")
    parser.add_argument("--pause", type=float, default=PAUSE, help=f"seconds between them ({PAUSE:g})")
    parser.add_argument(
        "--ports", type=int, nargs=2, default=(8081, 8082), metavar=("OFF", "ON"), help="ports (8081 8082)"
    )
    given = parser.parse_args()
    if not 1 <= given.updates <= 100:
        parser.error(f"--updates is {given.updates}; allowed is a whole number from 1 to 100")
    if not 0 <= given.pause <= 600:
        parser.error(f"--pause is {given.pause:g}; allowed are seconds from 0 to 600")
    for port in given.ports:
        if not 1 <= port <= 65535:
            parser.error(f"--ports has {port}; allowed are whole numbers from 1 to 65535")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the services, too
    try:
        run(given.updates, given.pause, given.ports)
    except OSError as error:
        print(f"{error}\nName two free ports: make demo ARGS='--ports 8091 8092'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nEnded by a signal.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
