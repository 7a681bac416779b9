"""The verdict on a rollout: its losses in groups of one cause each, and how far it was tested."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kubectl_lossless.measure.events import Event
from kubectl_lossless.measure.evidence import EARLY, Advice, Evidence
from kubectl_lossless.measure.explanation import CHECKS, OWN_ADVICE, PHRASES, explain, kind_of, when_of
from kubectl_lossless.measure.judge import Blame, Cause, Judge, moment
from kubectl_lossless.measure.load.record import Failure
from kubectl_lossless.measure.pod import State


@dataclass(frozen=True)
class Group:
    """Losses of one cause. `first` and `last` are seconds after the rollout began."""

    cause: Cause
    count: int
    how: dict[str, int]
    pods: list[str]
    first: float
    last: float
    when: str
    why: str
    do: str = ""
    check: str = ""
    """The doctor's check that found the same, empty where none did."""

    @property
    def explained(self) -> bool:
        """True where a cause was found."""
        return self.cause not in (Cause.UNEXPLAINED, Cause.BEFORE)

    @property
    def kinds(self) -> str:
        """The kinds of losses in words, with their numbers where there are several kinds."""
        parts = []
        for how, count in self.how.items():
            words = how if count == 1 else re.sub(r"\b(connection|timeout)\b", r"\1s", how, count=1)
            parts.append(f"{count:,} {words}" if len(self.how) > 1 else words)
        return ", ".join(parts)


@dataclass(frozen=True)
class Verdict:
    """Losses of a rollout, with their causes."""

    headline: str
    requests: int
    lost: int
    explained: int
    groups: list[Group] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Notes on the extent of the test, and on resources that could not be observed."""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as an object for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Verdict:
        """Return the verdict in an object, the inverse of `to_json`."""
        groups = [Group(**{**group, "cause": Cause(group["cause"])}) for group in found["groups"]]
        return cls(**{**found, "groups": groups})


def verdict(evidence: Evidence) -> Verdict:
    """Assign each loss to its cause."""
    judge = Judge(evidence)
    blamed: dict[Cause, list[tuple[Failure, Blame]]] = defaultdict(list)
    for failure in evidence.load.failures:
        blame = judge.blame(failure)
        blamed[blame.cause].append((failure, blame))
    groups = [group_of(cause, losses, evidence) for cause, losses in blamed.items()]
    groups.sort(key=lambda group: (not group.explained, -group.count))
    return Verdict(
        headline=headline(evidence, groups),
        requests=evidence.load.requests,
        lost=evidence.load.lost,
        explained=sum(group.count for group in groups if group.explained),
        groups=groups,
        notes=[*tested(evidence), *warned(evidence), *not_seen(evidence)],
    )


def group_of(cause: Cause, losses: Sequence[tuple[Failure, Blame]], evidence: Evidence) -> Group:
    """Put losses of one cause into words."""
    times = [moment(failure) - evidence.zero for failure, _ in losses]
    since = [blame.since for _, blame in losses if blame.since is not None]
    pods = list(dict.fromkeys(blame.pod for _, blame in losses if blame.pod))
    how = Counter(kind_of(failure) for failure, _ in losses)
    finding = finding_of(cause, evidence.findings)
    why, do = explain(cause, losses, evidence)
    return Group(
        cause=cause,
        count=len(losses),
        how=dict(how.most_common()),
        pods=pods,
        first=round(min(times), 2),
        last=round(max(times), 2),
        when=when_of(cause, since, pods),
        why=why,
        do=finding.line if finding and finding.line and cause not in OWN_ADVICE else do,
        check=finding.check if finding else "",
    )


def finding_of(cause: Cause, findings: Sequence[Advice]) -> Advice | None:
    """Return the doctor's finding of the same fault as the cause."""
    by_check = {finding.check: finding for finding in reversed(findings)}
    return next((by_check[name] for name in CHECKS.get(cause, ()) if name in by_check), None)


def headline(evidence: Evidence, groups: Sequence[Group]) -> str:
    """Return the verdict in one sentence."""
    load = evidence.load
    if not load.lost:
        return f"None of {load.requests:,} requests lost."
    parts = ", ".join(f"{group.count:,} {PHRASES[group.cause]}" for group in groups)
    return f"{load.lost:,} of {load.requests:,} requests lost: {parts}."


def tested(evidence: Evidence) -> list[str]:
    """Return notes on the extent of the test."""
    load = evidence.load
    during = load.between(evidence.zero, math.inf)
    found = []
    if not load.lost and during.requests:
        kinds = Counter(response.client for response in during.responses)
        sent = ", ".join(f"{count:,} by clients of the kind {kind}" for kind, count in kinds.most_common())
        replaced = sum(
            (pod.since(State.DRAINING) or -math.inf) >= evidence.zero - EARLY for pod in evidence.pods
        )
        found.append(
            f"Tested with {during.requests:,} requests from the rollout's start on ({sent}) while "
            f"{replaced} pod{'' if replaced == 1 else 's'} terminated. With none lost of so many, a share of "
            f"{percent(3 / during.requests)} or more would have shown, with 95 % confidence."
        )
    if load.closed:
        found.append(
            f"{len(load.closed)} idle connection{'' if len(load.closed) == 1 else 's'} closed by the server "
            "without notice: no request was on them, but one would have been lost."
        )
    if load.cpu and load.cpu > 0.9:
        found.append(f"The load itself used {load.cpu:.0%} of a core: its times are not the service's alone.")
    return found


NOT_READY_YET = re.compile(r"(Readiness|Startup) probe\b")
"""Message of a warning that belongs to each start of a pod, and to each drain."""


def warned(evidence: Evidence) -> list[str]:
    """Return the warnings that Kubernetes recorded from the rollout's start on, one line for each reason."""
    found: dict[str, list[Event]] = defaultdict(list)
    for each in evidence.events:
        if each.warning and each.at >= evidence.zero - EARLY and not NOT_READY_YET.match(each.message):
            found[each.reason].append(each)
    lines = []
    for reason, events in found.items():
        objects = list(dict.fromkeys(event.object for event in events))
        more = f" and {len(objects) - 1} more" if len(objects) > 1 else ""
        lines.append(f"Kubernetes warned: {reason} of {objects[0]}{more}: {events[0].message}")
    return lines


NAMES = {"endpointslices": "EndpointSlices", "replicasets": "ReplicaSets", "deployment": "workload"}
"""Resources as notes name them, where that is not the resource's own name."""


def not_seen(evidence: Evidence) -> list[str]:
    """Return notes on resources that could not be observed."""
    found = []
    for what, said in evidence.unseen.items():
        if what == "pods" and evidence.pods:
            found.append(
                "Pods are those of their EndpointSlices. Not seen: ends of containers, restarts, exit codes, "
                f"and pods that have no address. {first_line(said)}"
            )
        else:
            found.append(f"Not seen: the {NAMES.get(what, what)}. {first_line(said)}")
    for what, late in sorted(evidence.listed.items()):
        found.append(
            f"Listed, not watched: {NAMES.get(what, what)}. Changes were seen up to {late:.1f} s late."
        )
    return found


def percent(share: float) -> str:
    """Return a small share with two significant digits."""
    return f"{share * 100:.2g} %"


def first_line(text: str) -> str:
    """Return the first line of kubectl's message."""
    return text.strip().splitlines()[0] if text.strip() else ""
