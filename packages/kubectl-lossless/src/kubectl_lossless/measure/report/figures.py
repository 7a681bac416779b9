"""The figures of a report."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report.model import Report


@dataclass(frozen=True)
class Latency:
    """Of one kind of client, in milliseconds."""

    p50: float
    p99: float
    longest: float


@dataclass(frozen=True)
class Figures:
    """The summary of one experiment. `seconds_*` count from the moment the update was applied.

    `extra_pods`: the most pods there were at once, draining ones included, beyond those before the update.
    `extra_pod_seconds`: by how many, and how long, added up. `fewest_ready`: the least ready pods at any
    time during the update. `draining_seconds`: for each old pod, from its deletion until it was gone.
    """

    requests: int
    lost: int
    lost_by_kind: dict[str, int]
    lost_by_client: dict[str, int]
    closed_without_notice: int
    requests_by_client: dict[str, int]
    responses_by_version: dict[str, int]
    seconds_complete: float | None
    seconds_old_gone: float | None
    draining_seconds: list[float]
    extra_pods: int
    extra_pod_seconds: float
    fewest_ready: int
    latency: dict[str, Latency]
    load_cpu: float | None
    pods_seen: bool = True

    @classmethod
    def of(cls, report: Report) -> "Figures":
        """Compute the figures of a report."""
        load = report.load
        old = [pod for pod in report.pods if pod.name in report.old]
        gone = [pod.since(State.GONE) for pod in old]
        old_gone = None if not gone or None in gone else max(at for at in gone if at is not None)
        end = old_gone or load.ended or report.zero
        counts = pod_counts(report.pods, report.zero, end)
        by_client = Counter(response.client for response in load.responses)
        lost_by_client = Counter(failure.client for failure in load.failures)
        return cls(
            requests=load.requests,
            lost=load.lost,
            lost_by_kind=dict(load.lost_kinds().most_common()),
            lost_by_client=dict(lost_by_client.most_common()),
            closed_without_notice=len(load.closed),
            requests_by_client={
                client: by_client[client] + lost_by_client[client] for client in load.clients
            },
            responses_by_version=dict(load.versions()),
            seconds_complete=_after(report.complete, report.zero),
            seconds_old_gone=_after(old_gone, report.zero),
            draining_seconds=sorted(_draining(pod) for pod in old if pod.since(State.GONE)),
            pods_seen=bool(report.pods),
            extra_pods=max(there for _, there, _ in counts) - len(old),
            extra_pod_seconds=round(
                sum(
                    (later - at) * (there - len(old))
                    for (at, there, _), (later, _, _) in zip(counts, [*counts[1:], (end, 0, 0)], strict=True)
                ),
                1,
            ),
            fewest_ready=min(ready for _, _, ready in counts),
            latency={client: latency_of([a.ms for a in load.responses if a.client == client]) for client in
                     load.clients if any(a.client == client for a in load.responses)},
            load_cpu=load.cpu,
        )  # fmt: skip


def _after(at: float | None, zero: float) -> float | None:
    return None if at is None else round(at - zero, 1)


def _draining(pod: Pod) -> float:
    gone = pod.since(State.GONE) or 0.0
    return round(gone - (pod.since(State.DRAINING) or gone), 1)


def pod_counts(pods: Sequence[Pod], start: float, end: float) -> list[tuple[float, int, int]]:
    """Return (time, existing pods, ready pods) at the start and after every change until the end."""
    times = sorted({start, *(at for pod in pods for at, _ in pod.states if start < at < end)})
    counts = []
    for at in times:
        states = [pod.state_at(at) for pod in pods]
        there = sum(state not in (None, State.GONE, State.ENDED) for state in states)
        counts.append((at, there, sum(state is State.READY for state in states)))
    return counts


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_of(values: Sequence[float]) -> Latency:
    """Return the latency figures of at least one value."""
    return Latency(
        round(percentile(values, 0.5), 2), round(percentile(values, 0.99), 2), round(max(values), 2)
    )
