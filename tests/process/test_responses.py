"""Match of responses and requests, in whichever thread and whenever another thread takes the loop."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.process.clients import Connection
from tests.process.service import Service
from tests.waiting import wait_until

LASTING = float(os.environ.get("ANSWERS_SECONDS", "6"))
"""Duration for each worker class, in seconds. A race of one in a million needs ANSWERS_SECONDS=600."""

CLIENTS = 24
"""Number of clients: more than threads, so that some of their requests wait for a thread."""

SEED = int(os.environ.get("ANSWERS_SEED", "20261124"))


def question(chance: random.Random, name: str) -> tuple[str, bytes]:
    """Return a unique path, and the text that its response must contain."""
    if chance.random() < 0.5:
        return f"/api/{name}", f'"instance": "/api/{name}"'.encode()
    # About the time after which the loop is taken from the leader, and longer.
    asked = f"{chance.choice([0.0, 0.004, 0.006, 0.01, 0.02]) + chance.randrange(1_000_000) / 1e9:.9f}"
    return f"/api/sleep/{asked}", f'"slept": {json.dumps(float(asked))}}}'.encode()


@pytest.mark.parametrize("threads", [2, 16])
@pytest.mark.parametrize("worker_class", [PROBE_LANE_WORKER, LEADER_WORKER])
def test_every_response_belongs_to_its_request(worker_class: str, threads: int) -> None:
    def client(number: int) -> Counter[str]:
        chance, seen = random.Random(SEED + number), Counter[str]()
        until = time.monotonic() + LASTING
        while time.monotonic() < until:
            with Connection(port) as connection:
                for _ in range(chance.choice([1, 5, 200])):
                    asked = [
                        question(chance, f"{number}-{sum(seen.values())}-{place}")
                        for place in range(chance.choice([1, 1, 1, 5]))  # the five are pipelined
                    ]
                    if chance.random() < 0.02:
                        asked.append(("/health", b'"state": "ready"'))
                    heads = b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path, _ in asked)
                    cut = chance.randrange(len(heads)) if chance.random() < 0.1 else 0
                    for part in (heads[:cut], heads[cut:]):
                        connection.socket.sendall(part)
                    for path, expected in asked:
                        response = connection.response()
                        assert expected in response.body, (path, response)
                        seen[str(response.status)] += 1
                    if time.monotonic() > until:
                        break
        return seen

    with Service(WORKER_CLASS=worker_class, WORKERS=1, THREADS=threads) as service:
        port = service.ready().port
        workers = service.workers
        with ThreadPoolExecutor(CLIENTS) as pool:
            seen = sum(pool.map(client, range(CLIENTS)), Counter[str]())
        print(f"{worker_class}, {threads} threads, seed {SEED}: {dict(seen)}")
        assert set(seen) == {"200", "404"}
        assert service.workers == workers
        wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 0, "none in flight")
        assert "Traceback" not in service.log, service.log
