"""Thread pools for probes, separate from those of other requests. Imports no Gunicorn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

PROBE_THREADS = 2
"""Maximum number of threads for each probe."""


class ProbePools(dict[bytes, ThreadPoolExecutor]):
    """Thread pool of each probe, by its route: scrapes take long, and many must not delay liveness."""

    def __missing__(self, route: bytes) -> ThreadPoolExecutor:
        """Create the pool of a probe at its first request."""
        self[route] = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        return self[route]
