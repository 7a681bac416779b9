"""Prometheus metrics of the drain. Needs prometheus_client: `pip install gunicorn-drain[prometheus]`.

    REGISTRY.register(DrainCollector(gunicorn_drain.get_drain()))

The values are the whole service's, whichever worker responds to the scrape; so a registry in multiprocess
mode needs them once, beside its MultiProcessCollector.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gunicorn_drain.drain import Drain
from gunicorn_drain.shared import StreamCounter

STREAM_COUNTERS = {
    StreamCounter.OPENED: ("streams_opened", "Long connections so far."),
    StreamCounter.NOTIFIED: ("streams_told", "Long connections that were told to go elsewhere."),
    StreamCounter.LEFT: ("streams_moved", "Long connections that went when they were told."),
    StreamCounter.CLOSED_AT_DEADLINE: (
        "streams_forced",
        "Long connections that were told, did not go, and were closed.",
    ),
    StreamCounter.PROTOCOL_ERRORS: (
        "streams_dropped",
        "Long connections closed because the client did not keep to the rules.",
    ),
    StreamCounter.REFUSED: (
        "streams_refused",
        "Long connections that were refused with 501 or 503; the log says why.",
    ),
}
"""Name and help of each counter's series."""


class DrainCollector(Collector):
    """The series lifecycle_*."""

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
            ("requests_in_flight", "Client requests being answered.", drain.in_flight),
            (
                "drain_duration_seconds",
                "Seconds the drain has lasted so far, its whole length once it is over; 0 before it.",
                drain.drain_seconds,
            ),
            (
                "drain_last_request_seconds",
                "Seconds into the drain at which a client request last arrived; 0 before one did.",
                drain.last_arrival_seconds,
            ),
            ("start_time_seconds", "When the service was started, seconds since the epoch.", drain.started),
        ]
        if policy is not None:
            # With every scrape: a pod that terminates takes all its series with it.
            gauges += [
                ("drain_min_seconds", "Seconds a drain lasts at least: DRAIN_MIN.", policy.minimum),
                (
                    "drain_quiet_seconds",
                    "Seconds without a request that end a drain: DRAIN_QUIET.",
                    policy.quiet,
                ),
                ("drain_max_seconds", "Seconds a drain lasts at most: DRAIN_MAX.", policy.maximum),
            ]
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"lifecycle_{name}", text, value=float(value))
        for name, text, count in (
            (
                "drain_requests",
                "Client requests answered while draining.",
                drain.responses_while_draining,
            ),
            ("requests_cut_off", "Client requests whose worker ended before the answer.", drain.aborted),
        ):
            yield CounterMetricFamily(f"lifecycle_{name}", text, value=float(count))


class StreamCollector(Collector):
    """The series streams_*, by kind."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    def collect(self) -> Iterator[Metric]:
        """Read the shared page."""
        open_now = GaugeMetricFamily("streams_open", "Long connections that are open.", labels=["kind"])
        families = {
            counter: CounterMetricFamily(name, text, labels=["kind"])
            for counter, (name, text) in STREAM_COUNTERS.items()
        }
        for kind in self._drain.stream_kinds:
            open_now.add_metric([kind], self._drain.streams(StreamCounter.OPEN, kind))
            for counter, family in families.items():
                family.add_metric([kind], self._drain.streams(counter, kind))
        return iter([open_now, *families.values()])
