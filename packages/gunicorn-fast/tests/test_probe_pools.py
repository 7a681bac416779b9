"""Each probe has threads of its own."""

from __future__ import annotations

import threading

from gunicorn_fast.probe_pools import PROBE_THREADS, ProbePools


def test_slow_probe_does_not_delay_another() -> None:
    pools, release = ProbePools(), threading.Event()
    try:
        slow = [pools[b"/metrics"].submit(release.wait, 60) for _ in range(PROBE_THREADS + 1)]
        assert pools[b"/healthz"].submit(lambda: "ok").result(timeout=60) == "ok"
        assert not any(future.done() for future in slow)
        assert pools[b"/metrics"] is pools[b"/metrics"]
        assert len(pools) == 2
    finally:
        release.set()
        for pool in pools.values():
            pool.shutdown()
