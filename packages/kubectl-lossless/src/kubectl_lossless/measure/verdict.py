"""Causes of lost requests: each loss related to the pods' events at that moment.

A loss has a time and a kind (refused, reset, closed, 5xx, timeout). A pod has a life: ready, deleted, SIGTERM
(after its preStop hook), its containers' end, deletion. A loss belongs to the pod whose life explains it; a
loss that no pod's life explains is reported as unexplained. The manifest and the doctor decide between causes
that look alike, and name the line to change.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Failure, Result
from kubectl_lossless.measure.watch import Happening, Mark, Pod, State
from kubectl_lossless.measure.workload import Facts

EARLY = 1.0
"""Seconds by which a change may be observed here later than the requests felt it."""

LISTED_LATE = 2.5
"""Seconds more where pods are listed every half second instead of watched, kubectl's start included."""

SPREAD = 3.0
"""Seconds after which every route has followed a change of the endpoints, on a cluster that is not
overloaded."""

SETTLED = 1.5
"""Seconds after the endpoint's change from which a route that still leads to the pod is unlikely."""

STARTUP = 20.0
"""Seconds after it became ready within which a pod without a readiness probe may still not listen."""

WEAK = 5.0
"""The same for a pod with a readiness probe."""

CUT = 300.0
"""Milliseconds that a client's responses usually take, from which one that ends with the server was under
way.

A shorter request that waits for long was never served: it stood in the queue of a server that no longer
accepts.
"""

SIGKILL = 137
OUTAGE, LONGEST_OUTAGE_START = 0.3, 1.0
"""Seconds that no pod is ready, from which it is an outage; and seconds that the first new pod may need
then."""


@dataclass(frozen=True)
class Group:
    """Losses of one cause. `first` and `last` are seconds after the rollout began."""

    cause: str
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
        return self.cause not in (UNEXPLAINED, BEFORE)

    @property
    def kinds(self) -> str:
        """The kinds of losses in words, with their numbers where there are several kinds."""
        parts = []
        for how, count in self.how.items():
            words = how if count == 1 else re.sub(r"\b(connection|timeout)\b", r"\1s", how, count=1)
            parts.append(f"{count:,} {words}" if len(self.how) > 1 else words)
        return ", ".join(parts)


UNEXPLAINED, BEFORE = "unexplained", "before"


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
        return cls(**{**found, "groups": [Group(**group) for group in found["groups"]]})


@dataclass(frozen=True)
class Advice:
    """A finding of the doctor."""

    check: str
    what: str
    line: str
    """Change, with the path of its field."""


@dataclass(frozen=True)
class Evidence:
    """Observations that a verdict is based on.

    `zero`: time at which the rollout began; `leaving` and `coming`: facts of the old and of the new pods.
    """

    load: Result
    pods: Sequence[Pod]
    zero: float
    leaving: Facts
    coming: Facts
    findings: Sequence[Advice] = ()
    events: Sequence[Happening] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    """Resources that were listed again and again, because they could not be watched."""


@dataclass(frozen=True)
class Blame:
    """The cause of one loss, the pod, and the seconds since the event that shows it."""

    cause: str
    pod: str = ""
    since: float | None = None


CHECKS: dict[str, tuple[str, ...]] = {
    "drain": ("drain", "prestop"),
    "kept": ("drain", "keepalive"),
    "in-flight": ("in-flight", "grace-period", "drain"),
    "killed": ("shell-entrypoint", "wrapper", "sigterm-ignored", "grace-period"),
    "outage": ("strategy", "replicas"),
    "not-listening": ("readiness-probe",),
    "weak-readiness": ("readiness-probe", "readiness-delay"),
    "drain-or-not-listening": ("readiness-probe", "drain"),
}
"""The doctor's checks that find the same as a cause, the nearest first."""


def verdict(evidence: Evidence) -> Verdict:
    """Assign each loss to its cause."""
    judge = Judge(evidence)
    blamed: dict[str, list[tuple[Failure, Blame]]] = defaultdict(list)
    for failure in evidence.load.failures:
        blame = judge.blame(failure)
        blamed[blame.cause].append((failure, blame))
    groups = [judge.group(cause, losses) for cause, losses in blamed.items()]
    groups.sort(key=lambda group: (not group.explained, -group.count))
    lost = evidence.load.lost
    explained = sum(group.count for group in groups if group.explained)
    return Verdict(
        headline=headline(evidence, groups),
        requests=evidence.load.requests,
        lost=lost,
        explained=explained,
        groups=groups,
        notes=judge.notes(),
    )


def moment(failure: Failure) -> float:
    """Return when a loss happened: a request that timed out was lost when it was sent.

    So was a connection to the address of a pod that is gone: Linux reports `No route to host` after 3 s
    without a neighbor of that address.
    """
    unreachable = failure.kind is Kind.OTHER and failure.phase == "connecting"
    return failure.at if failure.kind is Kind.TIMEOUT or unreachable else failure.seen


class Judge:
    """Finds the cause of each loss."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._early = EARLY + (LISTED_LATE if "pods" in evidence.listed else 0.0)
        self._outages = outages(evidence.pods, evidence.zero)
        took: dict[str, list[float]] = defaultdict(list)
        for answer in evidence.load.answers:
            took[answer.client].append(answer.ms)
        self._usual = defaultdict(float, {client: statistics.median(each) for client, each in took.items()})

    def blame(self, failure: Failure) -> Blame:
        """Return the cause of one loss."""
        at = moment(failure)
        if at < self._evidence.zero - EARLY:
            return Blame(BEFORE)
        for began, ended in self._outages:
            if (
                began - self._early <= at <= ended + 2 * SPREAD
            ):  # every route leads nowhere until it has changed
                return Blame("outage", since=at - began)
        leaving = self._leaving(failure, at)
        starting = self._starting(failure, at)
        if leaving and starting and leaving.cause == "drain" and starting.cause == "not-listening":
            # Both pods refuse new connections; which one it was shows only once the routes have changed.
            pod = next(pod for pod in self._evidence.pods if pod.name == leaving.pod)
            left = pod.marked(Mark.NO_ENDPOINT) or pod.since(State.DRAINING) or at
            return (
                starting
                if at > left + SETTLED
                else Blame("drain-or-not-listening", leaving.pod, leaving.since)
            )
        if leaving:
            return leaving
        if starting and starting.cause == "not-listening":
            return starting
        return self._crashed(at) or starting or Blame(UNEXPLAINED)

    def _leaving(self, failure: Failure, at: float) -> Blame | None:
        """Return the terminating pod that explains a loss best."""
        found: list[tuple[float, Blame]] = []
        for pod in self._evidence.pods:
            deleted = pod.since(State.DRAINING)
            if deleted is None or at < deleted - self._early:
                continue
            end = pod.marked(Mark.STOPPED) or pod.since(State.GONE) or math.inf
            if at > end + SPREAD:
                continue
            killed = pod.exit == SIGKILL or (
                pod.grace is not None and pod.grace > 0 and end - deleted >= pod.grace - 0.8
            )
            if killed and at >= end - SETTLED:
                found.append((abs(at - end), Blame("killed", pod.name, at - deleted)))
                continue
            hook = self._evidence.leaving.pre_stop
            term = deleted + (hook or 0.0)
            if hook is not None and at < term - self._early:
                continue  # the hook still runs, and the server has not been asked to stop
            new = failure.phase != "waiting" or failure.status or not failure.kept
            if (
                self._usual[failure.client] >= CUT
                and failure.phase == "waiting"
                and not failure.status
                and failure.at <= term + EARLY
            ):
                cause = "in-flight"
            elif new:
                cause = "drain"
            else:
                cause = "kept"
            # A connection that is kept ends with the server, a new one is refused from SIGTERM on.
            nearest = min(abs(at - term), abs(at - end))
            if killed and cause != "drain":
                nearest += SPREAD  # it did not act on SIGTERM, so it closed nothing then
            found.append((nearest, Blame(cause, pod.name, at - term)))
        return min(found, key=lambda each: each[0])[1] if found else None

    def _starting(self, failure: Failure, at: float) -> Blame | None:
        """Return the pod that was ready before it could serve."""
        if failure.kept and not failure.status and failure.phase == "waiting":
            return None
        probed = self._evidence.coming.readiness
        for pod in sorted(self._evidence.pods, key=lambda each: each.since(State.READY) or 0, reverse=True):
            ready = pod.since(State.READY)
            if ready is None or pod.states[0][1] is State.READY or ready < self._evidence.zero:
                continue
            if ready - self._early <= at <= ready + (WEAK if probed else STARTUP):
                return Blame("weak-readiness" if probed else "not-listening", pod.name, at - ready)
        return None

    def _crashed(self, at: float) -> Blame | None:
        """Return the pod that exited or became unready without having been deleted."""
        for pod in self._evidence.pods:
            deleted = pod.since(State.DRAINING) or math.inf
            moments = [when for when, mark in pod.marks if mark == Mark.RESTARTED]
            moments += [when for when, state in pod.states if state is State.ENDED]
            for when in moments:
                if when < deleted and when - 2 * SPREAD <= at <= when + SPREAD:
                    return Blame("crash", pod.name, at - when)
            fell = [
                when
                for (_, before), (when, after) in zip(pod.states, pod.states[1:], strict=False)
                if before is State.READY and after is State.NOT_READY
            ]
            for when in fell:
                if when < deleted and when - 4 * SPREAD <= at <= when + SPREAD:
                    return Blame("unready", pod.name, at - when)
        return None

    def group(self, cause: str, losses: Sequence[tuple[Failure, Blame]]) -> Group:
        """Put losses of one cause into words."""
        zero = self._evidence.zero
        times = [moment(failure) - zero for failure, _ in losses]
        since = [blame.since for _, blame in losses if blame.since is not None]
        pods = list(dict.fromkeys(blame.pod for _, blame in losses if blame.pod))
        how = Counter(kind_of(failure) for failure, _ in losses)
        finding = self._finding(cause)
        why, do = self._words(cause, since, pods, losses)
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

    def _finding(self, cause: str) -> Advice | None:
        names = CHECKS.get(cause, ())
        by_check = {finding.check: finding for finding in reversed(self._evidence.findings)}
        return next((by_check[name] for name in names if name in by_check), None)

    def _words(  # noqa: PLR0911 - one for each cause
        self, cause: str, since: Sequence[float], pods: Sequence[str], losses: Sequence[tuple[Failure, Blame]]
    ) -> tuple[str, str]:
        """Return the cause and the advice in words."""
        leaving, coming = self._evidence.leaving, self._evidence.coming
        slept = leaving.pre_stop or 0.0
        hook = f"spec.template.spec.containers[name={leaving.container}].lifecycle.preStop"
        longest = max([0.0, *since])
        match cause:
            case "drain" if not slept:
                return (
                    "the server stops accepting connections as soon as it gets SIGTERM, while the routes to "
                    "the pod (kube-proxy, an ingress) still lead new ones to it",
                    f"{hook}: {{sleep: {{seconds: {max(5, math.ceil(2 * longest))}}}}}, or a drain in the "
                    f"server",
                )
            case "drain":
                return (
                    f"new connections still came {longest:.1f} s after the preStop hook of "
                    f"{leaving.pre_stop:g} s was over",
                    f"{hook}: {{sleep: {{seconds: {math.ceil(slept + 2 * longest)}}}}}",
                )
            case "kept":
                return (
                    "the server closes kept connections when it stops, without having announced it by "
                    "`Connection: close`; a preStop sleep does not move them",
                    "a drain in the server that announces the close before it stops (for Gunicorn: "
                    "gunicorn-drain), or a proxy in front that retries requests on connections that turn out "
                    "closed",
                )
            case "in-flight":
                longest_ms = max(failure.ms for failure, _ in losses)
                return (
                    f"requests that were under way, the longest for {longest_ms / 1000:.1f} s, were cut off: "
                    "the server does not wait for them when it stops, or not long enough",
                    "a graceful shutdown that waits for requests in flight, within "
                    f"terminationGracePeriodSeconds ({leaving.grace:g} s)",
                )
            case "killed":
                return (
                    f"the pod did not end within its terminationGracePeriodSeconds ({leaving.grace:g} s) and "
                    "was killed: its process 1 does not act on SIGTERM, or needs longer",
                    "let the server be process 1 (`exec` in a shell script, or tini), or give it more time: "
                    "spec.template.spec.terminationGracePeriodSeconds",
                )
            case "outage":
                return self._outage_words()
            case "not-listening":
                return (
                    f"the container {coming.container} has no readinessProbe, so a new pod gets requests "
                    f"before it listens",
                    f"spec.template.spec.containers[name={coming.container}].readinessProbe",
                )
            case "drain-or-not-listening":
                return (
                    f"two causes that cannot be distinguished here: the container {coming.container} has no "
                    "readinessProbe, so new pods get requests before they listen; and the server of the "
                    "terminating pods stops accepting connections as soon as it gets SIGTERM",
                    f"spec.template.spec.containers[name={coming.container}].readinessProbe, and {hook}: "
                    f"{{sleep: {{seconds: 5}}}}",
                )
            case "weak-readiness":
                return (
                    "a new pod was ready before it could serve: its readinessProbe succeeds too early",
                    "a readinessProbe that asks for what requests need",
                )
            case "crash":
                return self._crash_words(pods)
            case "unready":
                return (
                    "a pod became unready although nothing had deleted it: its readinessProbe failed",
                    "look at `kubectl describe pod` and the probe's timeoutSeconds",
                )
            case "before":
                return "lost before the rollout began: the rollout is not their cause", ""
        seen = " (the pods could not be watched)" if "pods" in self._evidence.unseen else ""
        return f"no pod was terminating, starting or unready then{seen}", ""

    def _outage_words(self) -> tuple[str, str]:
        leaving = self._evidence.leaving
        seconds = sum(ended - began for began, ended in self._outages)
        said = f"no pod was ready for {seconds:.1f} s"
        if leaving.kind == "statefulset" and leaving.replicas == 1:
            return (
                f"{said}: a StatefulSet deletes a pod before it creates the next, and it has 1 replica",
                "spec.replicas: 2 or more, if it can have them",
            )
        if leaving.strategy == "Recreate":
            return (
                f"{said}: the strategy Recreate deletes all pods before it creates new ones",
                "spec.strategy.type: RollingUpdate",
            )
        if leaving.unavailable >= leaving.replicas:
            return (
                f"{said}: the strategy lets a rollout take away all {leaving.replicas} pods (maxUnavailable)",
                "spec.strategy.rollingUpdate: {maxSurge: 1, maxUnavailable: 0}",
            )
        return (
            f"{said}: every pod was terminating or unready",
            "look at the readinessProbe and at `kubectl get events`",
        )

    def _crash_words(self, pods: Sequence[str]) -> tuple[str, str]:
        codes = {
            pod.name: pod.exit for pod in self._evidence.pods if pod.name in pods and pod.exit is not None
        }
        said = ", ".join(f"{name} with exit code {code}" for name, code in codes.items())
        return (
            f"a container ended although nothing had deleted its pod{': ' + said if said else ''}",
            f"`kubectl logs --previous {pods[0]}` shows why",
        )

    def notes(self) -> list[str]:
        """Return notes on the extent of the test, and on resources that could not be observed."""
        evidence = self._evidence
        load = evidence.load
        during = load.between(evidence.zero, math.inf)
        found = []
        replaced = [
            pod for pod in evidence.pods if (at := pod.since(State.DRAINING)) and at >= evidence.zero - EARLY
        ]
        if not load.lost and during.requests:
            kinds = Counter(answer.client for answer in during.answers)
            sent = ", ".join(
                f"{count:,} by clients of the kind {kind}" for kind, count in kinds.most_common()
            )
            found.append(
                f"Tested with {during.requests:,} requests from the rollout's start on ({sent}) while "
                f"{len(replaced)} pod{'' if len(replaced) == 1 else 's'} terminated. With none lost of so "
                f"many, a share of {percent(3 / during.requests)} or more would have shown, with 95 % "
                "confidence."
            )
        if load.closed:
            found.append(
                f"{len(load.closed)} idle connection{'' if len(load.closed) == 1 else 's'} closed by the "
                "server without notice: no request was on them, but one would have been lost."
            )
        names = {
            "pods": "pods",
            "deployment": "the Deployment",
            "endpointslices": "EndpointSlices",
            "events": "events",
            "replicasets": "ReplicaSets",
        }
        for what, said in evidence.unseen.items():
            if what == "pods" and evidence.pods:
                found.append(
                    "Pods are those of their EndpointSlices. Not seen: ends of containers, restarts, exit "
                    f"codes, and pods that have no address. {first_line(said)}"
                )
            else:
                found.append(f"Not seen: the {names.get(what, what)}. {first_line(said)}")
        for what in sorted(evidence.listed):
            found.append(
                f"Listed, not watched: {names.get(what, f'the {what}')}. Changes were seen up to some "
                "seconds late."
            )
        if load.cpu and load.cpu > 0.9:
            found.append(
                f"The load itself used {load.cpu:.0%} of a core: its times are not the service's alone."
            )
        return found


OWN_ADVICE = frozenset({"drain-or-not-listening", "kept", "in-flight"})
"""Causes for which the doctor's line is only a part of the remedy."""


def kind_of(failure: Failure) -> str:
    """Return how a request was lost, in a few words."""
    if failure.status:
        by = f" by {failure.via}" if failure.via else ""
        return f"status {failure.status}{by}"
    if failure.kind is Kind.REFUSED:
        return "connection refused"
    if failure.kind in (Kind.RESET, Kind.CLOSED):
        kept = "kept connection" if failure.kept else "connection"
        return f"{kept} {'reset' if failure.kind is Kind.RESET else 'closed'}"
    if failure.kind is Kind.TIMEOUT:
        return "timeout"
    return failure.detail[:60]


def when_of(  # noqa: PLR0911 - one for each cause
    cause: str, since: Sequence[float], pods: Sequence[str]
) -> str:
    """Return when, relative to the events of the pods."""
    if not since:
        return ""
    low, high = max(0.0, min(since)), max(0.0, *since)
    span = f"{low:.1f} s" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f}-{high:.1f} s"
    named = pods[0] if len(pods) == 1 else f"{len(pods)} pods" if pods else ""
    match cause:
        case "drain" | "kept" | "in-flight" | "drain-or-not-listening":
            return f"{span} after SIGTERM of {named}"
        case "killed":
            return f"{span} after the deletion of {named}"
        case "not-listening" | "weak-readiness":
            return f"{span} after {named} became ready"
        case "outage":
            return f"{span} after the last pod was no longer ready"
        case "crash":
            return f"around the end of a container of {named}"
        case "unready":
            return f"around the time that {named} became unready"
    return ""


def outages(pods: Sequence[Pod], zero: float) -> list[tuple[float, float]]:
    """Return the times from the rollout's start on at which no pod was ready."""
    if not any(state is State.READY for pod in pods for _, state in pod.states):
        return []
    times = sorted({at for pod in pods for at, _ in pod.states if at >= zero - EARLY})
    found: list[tuple[float, float]] = []
    began: float | None = None
    for at in times:
        ready = any(pod.state_at(at) is State.READY for pod in pods)
        if not ready and began is None:
            began = at
        elif ready and began is not None:
            if at - began >= OUTAGE:
                found.append((began, at))
            began = None
    if began is not None:
        found.append((began, math.inf))
    return found


def headline(evidence: Evidence, groups: Sequence[Group]) -> str:
    """Return the verdict in one sentence."""
    load = evidence.load
    if not load.lost:
        return f"None of {load.requests:,} requests lost."
    explained = [group for group in groups if group.explained]
    rest = load.lost - sum(group.count for group in explained)
    said = f"{load.lost:,} of {load.requests:,} requests lost"
    if not explained:
        return f"{said}; unexplained."
    parts = [f"{group.count:,} {NAMES[group.cause]}" for group in explained]
    return f"{said}: {', '.join(parts)}{f', {rest:,} unexplained' if rest else ''}."


NAMES = {
    "drain": "because the server stops accepting at SIGTERM",
    "kept": "because kept connections are closed without notice",
    "in-flight": "because requests in flight are aborted",
    "killed": "because pods are killed at the end of their grace period",
    "outage": "because no pod was ready",
    "not-listening": "because new pods get requests before they listen",
    "weak-readiness": "because new pods are ready too early",
    "drain-or-not-listening": "because new pods do not listen yet, or old ones stop accepting at SIGTERM",
    "crash": "because a container ended",
    "unready": "because a pod became unready",
}


def percent(share: float) -> str:
    """Return a small share with two significant digits."""
    return f"{share * 100:.2g} %"


def first_line(text: str) -> str:
    """Return the first line of kubectl's message."""
    return text.strip().splitlines()[0] if text.strip() else ""
