"""Follow the event stream through rolling updates: no event twice, and none missing without a report.

    python docs/examples/sse_client.py http://localhost:8080

It imitates a browser's EventSource: store the last id, wait for the
server's `retry`, resume. It adds two things that EventSource lacks: backoff, and a timeout for silence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import requests

CONNECT = 5.0
"""Timeout of a connection attempt, in seconds."""

SILENCE = 30.0
"""Timeout of a stream without a byte, in seconds. The server sends a heartbeat every 15 s."""

BACKOFF = (0.5, 15.0)
"""First and longest delay after a failure, in seconds; the delay doubles with each failure."""


@dataclass
class Event:
    """One event of a stream."""

    kind: str = "message"
    data: str = ""
    id: str | None = None
    retry: float | None = None
    """Delay before the next connection, in seconds."""


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Yield events. An event that the stream's end cuts off is discarded, as the format requires."""
    event, data = Event(), list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            event.data = "\n".join(data)
            if data or event.retry is not None:
                yield event
            event, data = Event(), []
        elif field == "event":
            event.kind = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            event.id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            event.retry = int(value) / 1000
        # A line that begins with a colon is a comment: a heartbeat.


def backoff(failures: int) -> float:
    """Return a random part of a delay that doubles: clients cut off together do not reconnect together."""
    first, longest = BACKOFF
    return random.uniform(0.5, 1) * min(longest, first * 2.0 ** (failures - 1))  # noqa: S311 - no secret


def follow(url: str) -> Iterator[Event]:
    """Yield the stream's events for ever, across reconnects.

    Raises requests.HTTPError if the server refuses the request.
    """
    last: str | None = None
    failures = 0
    while True:
        wait = None
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last is not None else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(CONNECT, SILENCE)) as response:
                if 400 <= response.status_code < 500:
                    print(response.text, file=sys.stderr)
                response.raise_for_status()
                for event in parse(line.decode() for line in response.iter_lines(chunk_size=None)):
                    failures = 0
                    last = last if event.id is None else event.id
                    wait = event.retry if event.retry is not None else wait
                    yield event
            why = "the stream ended"
        except requests.HTTPError as error:
            if error.response.status_code < 500:
                raise
            why = f"status {error.response.status_code}"
        except requests.RequestException as error:
            why = type(error).__name__
        if wait is None:
            failures += 1
            wait = backoff(failures)
        print(f"{why}; again in {wait:.1f} s after {last}", file=sys.stderr)
        time.sleep(wait)


def main() -> None:
    """Print each tick as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="the service, such as http://localhost:8080")
    missed = 0
    for event in follow(parser.parse_args().url.rstrip("/") + "/api/events"):
        if event.kind == "tick":
            print(json.dumps(json.loads(event.data)), flush=True)
        elif event.kind == "missing":
            gap = json.loads(event.data)
            missed += gap["missing"] or 0  # null: the last id is unknown to the server
            print(f"{event.data}; {missed} missed so far", file=sys.stderr)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
