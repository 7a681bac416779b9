"""Send requests on kept connections, and repeat those that are safe to repeat.

    python docs/examples/requests_keepalive.py http://localhost:8080 --seconds 30

A server may close a kept connection at any time. If it did so before the request, urllib3 opens another one
automatically. If it does so at the same moment, the request may have been processed or not: repeat only
requests that may be processed twice. docs/clients.md has a table of the failures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

TIMEOUT = (5.0, 30.0)
"""Timeouts of the connection and of the response, in seconds. By default requests waits for ever."""


def session() -> requests.Session:
    """Create a session that repeats requests where that is safe."""
    retry = Retry(
        # For one request. A request that never reached the server is repeated whatever its method. A request
        # that was sent and got no response is repeated for these idempotent methods only (RFC 9110, 9.2.2).
        total=6,
        allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "DELETE"],
        backoff_factor=0.1,  # the first repetition at once, then after 0.2 s, 0.4 s, 0.8 s ...
        backoff_jitter=0.2,
    )
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=retry))
    return made


def get(asking: requests.Session, url: str) -> requests.Response:
    """Send a GET, and repeat it if the body is cut off: urllib3 has returned the response by then."""
    try:
        return asking.get(url, timeout=TIMEOUT)
    except requests.exceptions.ChunkedEncodingError:
        return asking.get(url, timeout=TIMEOUT)


def main() -> int:
    """Send requests and print the counts; return 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="the service, such as http://localhost:8080")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration in seconds (30)")
    arguments = parser.parse_args()
    responses: dict[str, int] = {}
    failures = 0
    end = time.monotonic() + arguments.seconds
    with session() as asking:
        while time.monotonic() < end:
            try:
                response = get(asking, arguments.url.rstrip("/") + "/api")
                response.raise_for_status()
            except requests.RequestException as error:
                failures += 1
                print(error, file=sys.stderr)
            else:
                version = response.json()["version"]
                responses[version] = responses.get(version, 0) + 1
            time.sleep(0.02)
    print(json.dumps({"responses": responses, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
