"""The data of an experiment's chart: sums per second, which a file holds in a few kilobytes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report.figures import percentile
from kubectl_lossless.measure.report.model import Report


@dataclass(frozen=True)
class PodSpans:
    """One pod, and its states until it was gone: (state, begin, end)."""

    name: str
    version: str
    spans: Sequence[tuple[str, float, float]]


@dataclass(frozen=True)
class Series:
    """One experiment in sums per second. All times are seconds since the update was applied.

    `start` and `end` bound the time axis. `versions` are in the order of their pods, the old ones first.
    `failures` and `responses` count by kind and by version in each second, `closed` counts the idle
    connections closed without notice. `latencies` has for each client (second, median, p99), in milliseconds
    and without the time that a request takes by design.
    """

    title: str
    lost: int
    requests: int
    start: int
    end: int
    events: Sequence[tuple[float, str]]
    versions: Sequence[str]
    failures: Sequence[tuple[int, Mapping[str, int]]]
    closed: Sequence[tuple[int, int]]
    responses: Sequence[tuple[int, Mapping[str, int]]]
    latencies: Sequence[tuple[str, Sequence[tuple[int, float, float]]]]
    pods: Sequence[PodSpans]

    @classmethod
    def of(cls, report: Report) -> Series:
        """Return the series of a report."""
        zero, load = report.zero, report.load
        last = max([load.ended or zero, *(at for pod in report.pods for at, _ in pod.states)])
        end = math.ceil(last - zero)
        pods = sorted(report.pods, key=lambda pod: (pod.name not in report.old, pod.states[0][0], pod.name))
        return cls(
            title=report.title,
            lost=load.lost,
            requests=load.requests,
            start=math.floor(load.started - zero),
            end=end,
            events=_events(report),
            versions=list(dict.fromkeys([*(pod.version for pod in pods), *sorted(load.versions())])),
            failures=_counted((failure.at - zero, str(failure.kind)) for failure in load.failures),
            closed=sorted(Counter(math.floor(record.at - zero) for record in load.closed).items()),
            responses=_counted((response.at - zero, response.version) for response in load.responses),
            latencies=[(client, _latencies(report, client)) for client in load.clients],
            pods=[_spans(pod, zero, end) for pod in pods],
        )

    def as_json(self) -> dict[str, Any]:
        """Return the series for a JSON file, with times and latencies to the tenth."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Series:
        """Return the series of a JSON file."""
        return cls(**{**found, "pods": [PodSpans(**pod) for pod in found["pods"]]})


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 1)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value


def _events(report: Report) -> list[tuple[float, str]]:
    """Return the events in order: (seconds, words)."""
    gone = [pod.since(State.GONE) for pod in report.pods if pod.name in report.old]
    events = [(0.0, "the rollout begins" if report.verdict else f"apply {report.target}")]
    if report.complete is not None:
        events.append((report.complete - report.zero, "update complete"))
    if gone and None not in gone:
        events.append((max(at for at in gone if at) - report.zero, "last old pod gone"))
    return sorted(events)


def _counted(found: Iterable[tuple[float, str]]) -> list[tuple[int, Mapping[str, int]]]:
    """Return the counts of each second, from times in seconds and the name to count."""
    by_second: dict[int, Counter[str]] = defaultdict(Counter)
    for at, name in found:
        by_second[math.floor(at)][name] += 1
    return [(second, dict(counts)) for second, counts in sorted(by_second.items())]


def _latencies(report: Report, client: str) -> list[tuple[int, float, float]]:
    kind = report.load.kinds.get(client)
    takes = kind.takes * 1000 if kind else 0.0
    by_second: dict[int, list[float]] = defaultdict(list)
    for response in report.load.responses:
        if response.client == client:
            by_second[math.floor(response.at - report.zero)].append(max(0.0, response.ms - takes))
    return [
        (second, percentile(values, 0.5), percentile(values, 0.99))
        for second, values in sorted(by_second.items())
    ]


def _spans(pod: Pod, zero: float, end: int) -> PodSpans:
    """Return a pod's states until it ended; `end` is the end of the time axis."""
    ends = [*(at - zero for at, _ in pod.states[1:]), float(end)]
    spans = []
    for (at, state), stop in zip(pod.states, ends, strict=True):
        if state in (State.GONE, State.ENDED):
            break
        spans.append((str(state), at - zero, stop))
    return PodSpans(pod.name, pod.version, spans)
