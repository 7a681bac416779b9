"""Follow the WebSocket through rolling updates: no message twice, and none missing without a report.

    python docs/examples/websocket_client.py http://localhost:8080

A WebSocket neither reconnects automatically nor has a last id. On close code 1012 (service restart) wait for
the interval in the reason; after any other end wait a random interval that doubles. Then resume with ?last=.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.sync.client import connect

BACKOFF = (0.5, 15.0)
"""First and longest delay after a failure, in seconds; the delay doubles with each failure."""


def told(closed: ConnectionClosed) -> float | None:
    """Return the delay that the server asks for, in seconds; None after any other close."""
    if closed.rcvd is None or closed.rcvd.code != CloseCode.SERVICE_RESTART:
        return None
    try:
        return max(0.0, float(json.loads(closed.rcvd.reason)["retry"]) / 1000)
    except (ValueError, TypeError, KeyError):
        return None


def backoff(failures: int) -> float:
    """Return a random part of a delay that doubles: clients cut off together do not reconnect together."""
    first, longest = BACKOFF
    return random.uniform(0.5, 1) * min(longest, first * 2.0 ** (failures - 1))  # noqa: S311 - no secret


def follow(url: str) -> Iterator[dict[str, Any]]:
    """Yield the server's messages for ever, across reconnects.

    Raises InvalidStatus if the server refuses the request.
    """
    last: int | None = None
    failures = 0
    while True:
        try:
            # connect() responds to pings and sends its own: a peer that vanished is noticed in 40 s.
            with connect(url if last is None else f"{url}?last={last}") as socket:
                while True:
                    message = json.loads(socket.recv())
                    failures = 0
                    last = message.get("sequence", last)
                    yield message
        except ConnectionClosed as closed:
            wait, why = told(closed), f"closed: {closed}"
        except InvalidStatus as error:
            if error.response.status_code < 500:
                print(error.response.body.decode(), file=sys.stderr)
                raise
            wait, why = None, str(error)
        except (OSError, WebSocketException) as error:  # refused, or reset in the handshake
            wait, why = None, f"{type(error).__name__}: {error}"
        if wait is None:
            failures += 1
            wait = backoff(failures)
        print(f"{why}; again in {wait:.1f} s after {last}", file=sys.stderr)
        time.sleep(wait)


def main() -> None:
    """Print each tick as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="the service, such as http://localhost:8080")
    url = parser.parse_args().url.rstrip("/").replace("http", "ws", 1)  # https becomes wss
    missed = 0
    for message in follow(f"{url}/api/ws"):
        if message["type"] == "tick":
            print(json.dumps(message), flush=True)
        elif message["type"] == "missing":
            missed += message["missing"] or 0  # null: the last number is unknown to the server
            print(f"{json.dumps(message)}; {missed} missed so far", file=sys.stderr)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
