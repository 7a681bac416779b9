"""The load as a process: `python -m rollout.load http://localhost:8080 --seconds 10`.

With --lines it writes what it sees to stdout as lines of JSON, a few times a second: first
{"is": "started"}, then records (rollout.load.record), {"is": "steady"} when every client has had an
answer, and last {"is": "ended"} with the number of records, so that the reader knows that none is
missing. With --port the same lines are the answer to GET / there: the API server proxies that to
kubectl, for a load in the cluster. SIGTERM and SIGINT end it; no request is cut off, each client
finishes the one it is at.
"""

# Locust patches the standard library when it is imported, so it comes before anything with sockets.
from locust import User, task
from locust.env import Environment

# isort: split

import argparse
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group
from gevent.pywsgi import WSGIServer

from rollout.load.clients import CLIENTS, DEFAULT_MIX, Client, mix_from_text, mix_to_text
from rollout.load.connection import Connection, Lost, Target
from rollout.load.record import Answer, Closed, Failure, Record, Result, to_line

FLUSH_EVERY = 0.2  # seconds
STARTED_PER_SECOND = 50  # more clients at once would measure the start of the load, not the service


Write = Callable[[str], None]


def write_to_stdout(text: str) -> None:
    """Write some lines for the process that started this one."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Server:
    """Keeps all lines and serves them over HTTP, from the first on, as they come."""

    def __init__(self, port: int) -> None:
        self.texts: list[bytes] = []
        self.more = Event()
        self.ended = False
        self.wsgi = WSGIServer(("0.0.0.0", port), self.answer, log=None)  # noqa: S104 - a pod's own address
        self.wsgi.start()

    def write(self, text: str) -> None:
        """Add some lines."""
        self.texts.append(text.encode())
        self.more.set()

    def answer(
        self, _: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterator[bytes]:
        """The WSGI application."""
        start("200 OK", [("Content-Type", "application/x-ndjson")])
        sent = 0
        while True:
            self.more.clear()
            part = self.texts[sent:]
            sent += len(part)
            yield from part
            if self.ended and sent == len(self.texts):
                return
            if sent < len(self.texts):
                continue
            self.more.wait()

    def close(self) -> None:
        """No line will follow; end when whoever reads has read the last."""
        self.ended = True
        self.more.set()
        self.wsgi.stop(timeout=10)


class Recorder:
    """Takes records, and Locust's events as records; hands them on in lines a few times a second."""

    def __init__(self, result: Result, write: Write | None) -> None:
        """`write` takes the lines; without it the records are kept in the result."""
        self.result = result
        self.write = write
        self.written = 0
        self.silent = sum(result.clients.values())
        self.buffer: list[str] = []

    def say(self, what: str, **values: object) -> None:
        """A line that is not a record."""
        self.buffer.append(json.dumps({"is": what, "at": time.time(), **values}))

    def add(self, record: Record) -> None:
        """One more record."""
        if self.write:
            self.buffer.append(to_line(record))
            self.written += 1
        else:
            self.result.add(record)

    def on_request(
        self,
        name: str,
        response_time: float,
        exception: Exception | None,
        start_time: float,
        context: dict[str, Any],
        **_: object,
    ) -> None:
        """Locust's `request` event, as `Visitor.request` fires it."""
        at, ms = round(start_time, 4), round(response_time, 3)
        if isinstance(exception, Lost):
            self.add(Failure(at, name, ms, exception.kind, exception.detail, context["kept"]))
        else:
            self.add(Answer(at, name, ms, str(context["version"]), str(context["pod"])))

    def on_first_answer(self) -> None:
        """A client got its first answer."""
        self.silent -= 1
        if not self.silent:
            self.say("steady")

    def on_user_error(self, exception: Exception, **_: object) -> None:
        """Locust's `user_error` event: an error of the load itself must not pass for a quiet client."""
        self.say("error", error=repr(exception))

    def flush(self) -> None:
        """Write what has gathered."""
        if self.buffer and self.write:
            self.write("\n".join(self.buffer) + "\n")
        self.buffer.clear()

    def keep_flushing(self) -> None:
        """Write what has gathered, for ever."""
        while True:
            gevent.sleep(FLUSH_EVERY)
            self.flush()


class Visitor(User):
    """One client of one kind. Subclasses, made in `run`, set the attributes below and `fixed_count`."""

    abstract = True
    client: Client
    target: Target
    timeout: float
    recorder: Recorder

    def on_start(self) -> None:
        """Open nothing yet; spread the clients of one kind over their interval."""
        self.connection = Connection(self.target, self.timeout)
        self.in_flight = Group()
        self.answered = False
        self.due = time.monotonic() + random.random() * self.client.every  # noqa: S311 - no secret
        gevent.sleep(self.due - time.monotonic())

    def on_stop(self) -> None:
        """Let the requests in flight end; close the connection."""
        self.in_flight.join(self.timeout + 1)
        self.connection.close()

    @task
    def request(self) -> None:
        """Send one request, and wait for its answer unless its rate must not depend on that."""
        if self.client.paced:
            self.in_flight.spawn(self.send, Connection(self.target, self.timeout))
        else:
            self.notice_close(within=0)
            self.send(self.connection)

    def send(self, connection: Connection) -> None:
        """Send one request, once, and tell Locust how it went."""
        kept = connection.open
        at, began = time.time(), time.perf_counter()
        answer: dict[str, object] = {}
        lost: Lost | None = None
        try:
            answer = connection.get(self.client.path, self.client.takes)
        except Lost as error:
            lost = error
        ms = (time.perf_counter() - began) * 1000
        if not self.client.keep:
            connection.close()
        self.environment.events.request.fire(
            request_type="GET",
            name=self.client.name,
            response_time=ms,
            response_length=0,
            exception=lost,
            start_time=at,
            context={"version": answer.get("version"), "pod": answer.get("pod", ""), "kept": kept},
        )
        if lost is None and not self.answered:
            self.answered = True
            self.recorder.on_first_answer()

    def wait_time(self) -> float:
        """Wait on the kept connection instead of asleep, so that its end is seen when it comes.

        Locust calls this with the user marked as waiting, so it may end it here as it may in a sleep.
        Returns the seconds that are left.
        """
        now = time.monotonic()
        if self.client.idle:
            self.due = now + random.uniform(*self.client.idle)  # noqa: S311 - no secret
        else:
            self.due = max(self.due + self.client.every, now)
        self.notice_close(within=self.due - now)
        return max(0.0, self.due - time.monotonic())

    def notice_close(self, within: float) -> None:
        """Record it when the server ends the kept connection within so many seconds."""
        if self.connection.closed_within(within):
            self.recorder.add(Closed(round(time.time(), 4), self.client.name))


def run(target: Target, recorder: Recorder, *, timeout: float, seconds: float | None) -> None:
    """Run the load until the time (seconds) is over or a signal ends it; `timeout` is per request."""
    result = recorder.result
    mix = result.clients
    result.started = time.time()
    recorder.say("started")
    shared = {"target": target, "timeout": timeout, "recorder": recorder}
    environment = Environment(
        user_classes=[
            type(name.capitalize(), (Visitor,), {"client": CLIENTS[name], "fixed_count": count, **shared})
            for name, count in mix.items()
        ],
        stop_timeout=timeout + max(CLIENTS[name].takes for name in mix) + 1,
    )
    events = environment.events
    events.request.add_listener(recorder.on_request)  # type: ignore[no-untyped-call]  # Locust's gap
    events.user_error.add_listener(recorder.on_user_error)  # type: ignore[no-untyped-call]

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    recorder.flush()
    flusher = gevent.spawn(recorder.keep_flushing)
    # The process that reads the lines has been killed: nobody else would end the load.
    flusher.link_exception(lambda _: stop.set())
    runner = environment.create_local_runner()
    began, cpu = time.perf_counter(), time.process_time()
    runner.start(sum(mix.values()), spawn_rate=STARTED_PER_SECOND)
    stop.wait(seconds)
    runner.quit()
    flusher.kill()
    result.ended = time.time()
    result.cpu = round((time.process_time() - cpu) / (time.perf_counter() - began), 3)
    recorder.say("ended", records=recorder.written, cpu=result.cpu)
    recorder.flush()


def main() -> int:
    """The command line. Returns 1 when requests were lost."""
    parser = argparse.ArgumentParser(
        prog="python -m rollout.load",
        description="Send requests at a steady rate, retry nothing, report every failure.",
        epilog="clients: " + "; ".join(f"{client.name}: {client.says}" for client in CLIENTS.values()),
    )
    parser.add_argument("url", help="base URL, http://name[:port]")
    parser.add_argument("--host", help="Host header, if it is not the URL's own")
    parser.add_argument(
        "--clients",
        type=mix_from_text,
        default=dict(DEFAULT_MIX),
        metavar="KIND=N,...",
        help=f"how many clients of each kind (default: {mix_to_text(DEFAULT_MIX)})",
    )
    parser.add_argument("--seconds", type=float, help="end after so long (default: until a signal)")
    parser.add_argument("--timeout", type=float, default=10.0, help="per request, seconds (default: 10)")
    parser.add_argument("--lines", action="store_true", help="write every record as a line of JSON")
    parser.add_argument("--port", type=int, help="with --lines: serve them on this port instead")
    options = parser.parse_args()
    # Requests that hang hold a socket each, and at a steady rate they become many.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        target = Target.of(options.url, options.host)
    except ValueError as error:
        parser.error(str(error))
    result = Result(options.url, options.clients)
    server = Server(options.port) if options.port else None
    write = (server.write if server else write_to_stdout) if options.lines else None
    try:
        run(target, Recorder(result, write), timeout=options.timeout, seconds=options.seconds)
    except BrokenPipeError:
        os._exit(1)  # not sys.exit(): Python would flush the broken pipe once more, and report that
    if server:
        server.close()
    if not options.lines:
        print(result.summary())
        print(f"  the load used {result.cpu:.0%} of a core")
    return 1 if result.lost and not options.lines else 0


if __name__ == "__main__":
    sys.exit(main())
