"""The load as a process: `LOSSLESS_PLAN=JSON python -m kubectl_lossless.measure.load`.

It writes its records to stdout as lines of JSON, a few times a second: first {"is": "started"}, then
records (kubectl_lossless.measure.load.record), {"is": "steady"} when every client has had a response, and
last {"is": "ended"} with the number of records, so that the reader knows that none is missing. With --port
the same lines are the response to GET / there: the API server proxies that to kubectl, for a load in the
cluster. SIGTERM and SIGINT end it; no request is cut off, each client finishes the one it is at.

The plan comes by the environment, because it may hold an Authorization header, and a command line can be
read by everybody on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable

from kubectl_lossless.measure.load.clients import Client, Plan
from kubectl_lossless.measure.load.connection import Connection
from kubectl_lossless.measure.load.lost import Lost
from kubectl_lossless.measure.load.process import PLAN
from kubectl_lossless.measure.load.record import Closed, Failure, Record, Response, to_line
from kubectl_lossless.measure.load.target import Target

FLUSH_EVERY = 0.2  # seconds
STARTED_PER_SECOND = 50  # more clients at once would measure the start of the load, not the service
STACK = 256 * 1024
"""Bytes of a thread's stack: requests that hang hold a thread each, and at a steady rate they become many."""
LAST_READ = 10.0
"""Seconds at the end within which a reader must have read the last lines."""

Write = Callable[[str], None]


def write_to_stdout(text: str) -> None:
    """Write some lines for the process that started this one."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Server:
    """Keeps all lines and serves them over HTTP, from the first on, as they come."""

    def __init__(self, port: int) -> None:
        self._texts: list[bytes] = []
        self._more = threading.Condition()
        self._ended = False
        self._readers = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """The response to GET /."""

            def do_GET(self) -> None:  # http.server's name
                """Send the lines."""
                self.send_response(200)
                self.send_header("Content-Type", "application/x-ndjson")
                self.end_headers()
                with contextlib.suppress(OSError):
                    outer._send(self.wfile.write)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 - a pod's address
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def write(self, text: str) -> None:
        """Add some lines."""
        with self._more:
            self._texts.append(text.encode())
            self._more.notify_all()

    def _send(self, write: Callable[[bytes], object]) -> None:
        sent = 0
        with self._more:
            self._readers += 1
        try:
            while True:
                with self._more:
                    self._more.wait_for(lambda: self._ended or sent < len(self._texts))  # noqa: B023 - at once
                    part, ended = self._texts[sent:], self._ended
                if not part and ended:
                    return
                write(b"".join(part))
                sent += len(part)
        finally:
            with self._more:
                self._readers -= 1
                self._more.notify_all()

    def close(self) -> None:
        """End when everybody who reads has read the last line; none will follow."""
        with self._more:
            self._ended = True
            self._more.notify_all()
            self._more.wait_for(lambda: not self._readers, LAST_READ)
        self._server.shutdown()


class Recorder:
    """Takes records from all clients, and writes them as lines a few times a second."""

    def __init__(self, clients: int, write: Write) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._buffer: list[str] = []
        self._silent = clients
        self.written = 0

    def say(self, what: str, **values: object) -> None:
        """Add a line that is not a record."""
        with self._lock:
            self._buffer.append(json.dumps({"is": what, "at": time.time(), **values}))

    def add(self, record: Record) -> None:
        """Add one more record."""
        line = to_line(record)
        with self._lock:
            self._buffer.append(line)
            self.written += 1

    def first_response(self) -> None:
        """Count a client that got its first response."""
        with self._lock:
            self._silent -= 1
            silent = self._silent
        if not silent:
            self.say("steady")

    def flush(self) -> None:
        """Write the gathered records."""
        with self._lock:
            gathered, self._buffer = self._buffer, []
        if gathered:
            self._write("\n".join(gathered) + "\n")


class LoadUser:
    """One client of one kind, in a dedicated thread."""

    def __init__(
        self, client: Client, target: Target, index: int, timeout: float, recorder: Recorder
    ) -> None:
        self._client = client
        self._target = target
        self._index = index
        self._timeout = timeout
        self._recorder = recorder
        self._connection = Connection(target, timeout)
        self._in_flight: list[threading.Thread] = []
        self._responded = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Send requests until `stop`, then let those in flight end."""
        client = self._client
        try:
            # The clients of one kind are spread over their interval.
            due = time.monotonic() + random.random() * client.every  # noqa: S311 - no secret
            self._pause(due, stop)
            while not stop.is_set():
                began = time.monotonic()
                if client.paced:
                    self._send_apart()
                else:
                    self._notice_close(0)
                    self._send(self._connection)
                now = time.monotonic()
                if client.idle:
                    due = now + random.uniform(*client.idle)  # noqa: S311 - no secret
                elif client.every:
                    due = max(due + client.every, now)
                else:
                    # Back to back, but not faster where the service fails at once.
                    due = began + client.takes
                self._pause(due, stop)
        except Exception as error:  # noqa: BLE001 - an error of the load must not pass for a quiet client
            self._recorder.say("error", error=repr(error))
        for thread in self._in_flight:
            thread.join()
        self._connection.close()

    def _pause(self, due: float, stop: threading.Event) -> None:
        """Wait on the kept connection instead of asleep, so that its end is observed when it comes."""
        while (left := due - time.monotonic()) > 0 and not stop.is_set():
            if self._connection.open:
                self._notice_close(min(left, FLUSH_EVERY))
            else:
                stop.wait(left)

    def _notice_close(self, within: float) -> None:
        """Record it when the server ends the kept connection within so many seconds."""
        if self._connection.closed_within(within):
            self._recorder.add(Closed(round(time.time(), 4), self._client.name))

    def _send_apart(self) -> None:
        thread = threading.Thread(
            target=self._send, args=(Connection(self._target, self._timeout),), daemon=True
        )
        self._in_flight = [each for each in self._in_flight if each.is_alive()]
        self._in_flight.append(thread)
        thread.start()

    def _send(self, connection: Connection) -> None:
        """Send one request, once, and record its outcome."""
        client = self._client
        kept = connection.open
        at, began = time.time(), time.perf_counter()
        said: dict[str, str] = {}
        lost: Lost | None = None
        try:
            said = connection.get(client.path, client.takes)
        except Lost as error:
            lost = error
        ms = round((time.perf_counter() - began) * 1000, 3)
        at = round(at, 4)
        if not client.keep:
            connection.close()
        if lost is None:
            self._recorder.add(Response(at, client.name, ms, said["version"], said["pod"]))
            if self._responded.acquire(blocking=False):
                self._recorder.first_response()
        else:
            said_by = (lost.phase, lost.status, lost.via, self._index)
            self._recorder.add(Failure(at, client.name, ms, lost.kind, lost.detail, kept, *said_by))


def run(plan: Plan, write: Write, stop: threading.Event) -> None:
    """Run the load until `stop`. Raises OSError when nobody reads the lines any more."""
    recorder = Recorder(sum(number for _, number in plan.clients), write)
    recorder.say("started")
    recorder.flush()
    began, cpu = time.perf_counter(), time.process_time()
    threads: list[threading.Thread] = []
    due = time.monotonic()
    for client, number in plan.clients:
        indexes = client.targets or tuple(range(len(plan.targets)))
        for each in range(number):
            index = indexes[each % len(indexes)]
            user = LoadUser(client, plan.targets[index], index, plan.timeout, recorder)
            threads.append(threading.Thread(target=user.run, args=(stop,), daemon=True))
            due += 1 / STARTED_PER_SECOND
            if not stop.wait(max(0.0, due - time.monotonic())):
                threads[-1].start()
            recorder.flush()
    while not stop.wait(FLUSH_EVERY):
        recorder.flush()
    for thread in threads:
        while thread.ident is not None and thread.is_alive():
            thread.join(FLUSH_EVERY)
            recorder.flush()
    used = round((time.process_time() - cpu) / (time.perf_counter() - began), 3)
    recorder.say("ended", records=recorder.written, cpu=used)
    recorder.flush()


def main() -> int:
    """Run the plan of the environment."""
    parser = argparse.ArgumentParser(description="Send requests by the plan in LOSSLESS_PLAN; retry nothing.")
    parser.add_argument("--port", type=int, help="serve the lines on this port instead of writing them")
    options = parser.parse_args()
    # Requests that hang hold a socket each.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a limit of its own below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.stack_size(STACK)
    plan = Plan.from_json(os.environ[PLAN])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = Server(options.port) if options.port else None
    try:
        run(plan, server.write if server else write_to_stdout, stop)
    except BrokenPipeError:
        # The process that reads the lines has been killed: nobody else would end the load. Not sys.exit(),
        # with which Python would flush the broken pipe once more, and report that.
        os._exit(1)
    if server:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
