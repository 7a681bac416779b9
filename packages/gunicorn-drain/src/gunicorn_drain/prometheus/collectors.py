"""Collectors of the drain's series, and of the counts of all workers."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

from gunicorn_drain.drain import Drain
from gunicorn_drain.extras import extra
from gunicorn_drain.prometheus.directory import FILE, directory
from gunicorn_drain.prometheus.exited import merges
from gunicorn_drain.shared import StreamCounter

with extra("prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.registry import Collector

FILE_TIMEOUT = 1.0
"""Maximum time for which a worker's new file may be empty, in seconds."""

STREAM_COUNTERS = {
    StreamCounter.OPENED: ("streams_opened", "Long-lived connections opened so far."),
    StreamCounter.NOTIFIED: ("streams_told", "Long-lived connections whose client was asked to reconnect."),
    StreamCounter.LEFT: (
        "streams_moved",
        "Long-lived connections closed in time after the request to reconnect.",
    ),
    StreamCounter.CLOSED_AT_DEADLINE: (
        "streams_forced",
        "Long-lived connections closed at the deadline: the client did not reconnect.",
    ),
    StreamCounter.PROTOCOL_ERRORS: (
        "streams_dropped",
        "Long-lived connections closed because the client violated the protocol.",
    ),
    StreamCounter.REFUSED: (
        "streams_refused",
        "Long-lived connections refused with 501 or 503; the log has the reason.",
    ),
}
"""Name and help of each counter's series."""


class DrainCollector(Collector):
    """Collector of the series lifecycle_* and http_responses_stalled_total."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    def collect(self) -> Iterator[Metric]:
        """Read the shared page."""
        drain, policy = self._drain, self._drain.policy
        gauges: list[tuple[str, str, float]] = [
            (
                "ready",
                "1 while the service is ready; 0 before, from SIGTERM on, and while it is blocked.",
                drain.ready,
            ),
            ("draining", "1 from SIGTERM on.", drain.draining),
            ("requests_in_flight", "Client requests in flight.", drain.in_flight),
            (
                "drain_duration_seconds",
                "Duration of the drain so far, in seconds; 0 before it.",
                drain.drain_seconds,
            ),
            (
                "drain_last_request_seconds",
                "Seconds from the drain's begin to the last client request; 0 before one.",
                drain.last_arrival_seconds,
            ),
            ("start_time_seconds", "Start of the service, in seconds since the epoch.", drain.started),
        ]
        if policy is not None:
            # In every scrape: all series of a pod end with the pod.
            gauges += [
                ("drain_min_seconds", "Minimum duration of a drain, DRAIN_MIN, in seconds.", policy.minimum),
                (
                    "drain_quiet_seconds",
                    "Duration without a request that ends a drain, DRAIN_QUIET, in seconds.",
                    policy.quiet,
                ),
                ("drain_max_seconds", "Maximum duration of a drain, DRAIN_MAX, in seconds.", policy.maximum),
            ]
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"lifecycle_{name}", text, value=float(value))
        for name, text, count in (
            (
                "drain_requests",
                "Client requests served during the drain.",
                drain.responses_while_draining,
            ),
            ("requests_cut_off", "Client requests whose worker exited before the response.", drain.aborted),
        ):
            yield CounterMetricFamily(f"lifecycle_{name}", text, value=float(count))
        yield CounterMetricFamily(
            "http_responses_stalled",
            "Responses whose connection was closed because the client did not read them.",
            value=float(drain.stalled),
        )


class StreamCollector(Collector):
    """Collector of the series streams_*, by kind."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    def collect(self) -> Iterator[Metric]:
        """Read the shared page."""
        open_now = GaugeMetricFamily("streams_open", "Long-lived connections that are open.", labels=["kind"])
        families = {
            counter: CounterMetricFamily(name, text, labels=["kind"])
            for counter, (name, text) in STREAM_COUNTERS.items()
        }
        for kind in self._drain.stream_kinds:
            open_now.add_metric([kind], self._drain.streams(StreamCounter.OPEN, kind))
            for counter, family in families.items():
                family.add_metric([kind], self._drain.streams(counter, kind))
        return iter([open_now, *families.values()])


class WorkersCollector(MultiProcessCollector):
    """Collector of the counts that all workers have written to their files."""

    def __init__(self, registry: CollectorRegistry, path: str | None = None) -> None:
        super().__init__(registry, path)  # type: ignore[no-untyped-call] # prometheus_client has none
        self._path: str

    def collect(self) -> list[Metric]:
        """Read the files, again if a worker creates one or a master merges some meanwhile."""
        deadline = time.monotonic() + FILE_TIMEOUT
        while True:
            try:
                before = merges(Path(self._path))
                metrics = list(self.merge(self._files(), accumulate=True))  # type: ignore[no-untyped-call]
                if before == merges(Path(self._path)) and not any(each % 2 for each in before.values()):
                    return metrics
            except (struct.error, FileNotFoundError, RuntimeError, ValueError):
                if time.monotonic() > deadline:
                    raise
            else:
                if time.monotonic() > deadline:
                    return metrics
            time.sleep(0.01)

    def _files(self) -> list[str]:
        # Not by glob as in prometheus_client: the path may have brackets in it, and a directory that the
        # user names may have other files.
        return [str(each) for each in Path(self._path).iterdir() if FILE.fullmatch(each.name)]


def scrape_registry(
    drain: Drain, *collectors: Collector, alone: CollectorRegistry = REGISTRY
) -> CollectorRegistry:
    """Return the registry of one scrape: the drain's series, those of `collectors`, and the application's.

    The application's are the counts of all workers if they share a directory, else those of `alone`.
    """
    registry = CollectorRegistry()
    for each in (DrainCollector(drain), StreamCollector(drain), *collectors):
        registry.register(each)
    if path := directory():
        WorkersCollector(registry, path)
    else:
        registry.register(alone)
    return registry
