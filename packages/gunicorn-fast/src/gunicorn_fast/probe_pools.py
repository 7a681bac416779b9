"""Thread pools for probes, separate from those of other requests. Imports no Gunicorn."""

from __future__ import annotations

from gunicorn_fast.threads import ThreadPool

PROBE_THREADS = 2
"""Maximum number of threads for each probe."""


class ProbePools(dict[bytes, ThreadPool]):
    """Thread pool of each probe, by its route: scrapes take long, and many must not delay liveness."""

    def __missing__(self, route: bytes) -> ThreadPool:
        """Create the pool of a probe at its first request."""
        self[route] = ThreadPool(PROBE_THREADS, thread_name_prefix="probe")
        return self[route]
