"""The cause of each lost request: the loss related to the pods' events at that moment.

A loss has a time and a kind (refused, reset, closed, 5xx, timeout). A pod has a life: ready, deleted, SIGTERM
(after its preStop hook), its containers' end, deletion. A loss belongs to the pod whose life explains it; a
loss that no pod's life explains is unexplained. Where causes look alike, the manifest decides.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from kubectl_lossless.measure.evidence import EARLY, Evidence
from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Failure
from kubectl_lossless.measure.pod import Mark, State

SPREAD = 3.0
"""Time after which every route has followed a change of the endpoints, in seconds, on a cluster that is not
overloaded."""

SETTLED = 1.5
"""Time after the endpoint's change from which a route to the pod is unlikely, in seconds."""

STARTUP = 20.0
"""Time after it became ready in which a pod without a readiness probe may not listen yet, in seconds."""

WEAK = 5.0
"""Time after it became ready in which a pod with a readiness probe may not listen yet, in seconds."""

CUT = 300.0
"""Milliseconds that a client's responses usually take, from which one that ends with the server was under
way.

A shorter request that waits for long was never served: it stood in the queue of a server that no longer
accepts.
"""

SIGKILL = 137


class Cause(StrEnum):
    """Causes of a lost request. Reports in JSON name them so."""

    DRAIN = "drain"
    KEPT = "kept"
    IN_FLIGHT = "in-flight"
    KILLED = "killed"
    OUTAGE = "outage"
    NOT_LISTENING = "not-listening"
    WEAK_READINESS = "weak-readiness"
    DRAIN_OR_NOT_LISTENING = "drain-or-not-listening"
    CRASH = "crash"
    UNREADY = "unready"
    BEFORE = "before"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Blame:
    """The cause of one loss, the pod, and the seconds since the event that shows it."""

    cause: Cause
    pod: str = ""
    since: float | None = None


class Judge:
    """Finds the cause of each loss."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._early = EARLY + evidence.listed.get("pods", 0.0)
        took: dict[str, list[float]] = defaultdict(list)
        for response in evidence.load.responses:
            took[response.client].append(response.ms)
        self._usual = defaultdict(float, {client: statistics.median(each) for client, each in took.items()})

    def blame(self, failure: Failure) -> Blame:
        """Return the cause of one loss."""
        at = moment(failure)
        if at < self._evidence.zero - EARLY:
            return Blame(Cause.BEFORE)
        for began, ended in self._evidence.outages:
            # Every route leads nowhere until it has changed.
            if began - self._early <= at <= ended + 2 * SPREAD:
                return Blame(Cause.OUTAGE, since=at - began)
        leaving = self._leaving(failure, at)
        starting = self._starting(failure, at)
        if leaving and starting and leaving.cause is Cause.DRAIN and starting.cause is Cause.NOT_LISTENING:
            # Both pods refuse new connections; which one it was shows only once the routes have changed.
            pod = next(pod for pod in self._evidence.pods if pod.name == leaving.pod)
            left = pod.marked(Mark.NO_ENDPOINT) or pod.since(State.DRAINING) or at
            return (
                starting
                if at > left + SETTLED
                else Blame(Cause.DRAIN_OR_NOT_LISTENING, leaving.pod, leaving.since)
            )
        if leaving:
            return leaving
        if starting and starting.cause is Cause.NOT_LISTENING:
            return starting
        return self._crashed(at) or starting or Blame(Cause.UNEXPLAINED)

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
                found.append((abs(at - end), Blame(Cause.KILLED, pod.name, at - deleted)))
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
                cause = Cause.IN_FLIGHT
            elif new:
                cause = Cause.DRAIN
            else:
                cause = Cause.KEPT
            # A connection that is kept ends with the server, a new one is refused from SIGTERM on.
            nearest = min(abs(at - term), abs(at - end))
            if killed and cause is not Cause.DRAIN:
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
                return Blame(Cause.WEAK_READINESS if probed else Cause.NOT_LISTENING, pod.name, at - ready)
        return None

    def _crashed(self, at: float) -> Blame | None:
        """Return the pod that exited or became unready without having been deleted."""
        for pod in self._evidence.pods:
            deleted = pod.since(State.DRAINING) or math.inf
            moments = [when for when, mark in pod.marks if mark == Mark.RESTARTED]
            moments += [when for when, state in pod.states if state is State.ENDED]
            for when in moments:
                if when < deleted and when - 2 * SPREAD <= at <= when + SPREAD:
                    return Blame(Cause.CRASH, pod.name, at - when)
            fell = [
                when
                for (_, before), (when, after) in zip(pod.states, pod.states[1:], strict=False)
                if before is State.READY and after is State.NOT_READY
            ]
            for when in fell:
                if when < deleted and when - 4 * SPREAD <= at <= when + SPREAD:
                    return Blame(Cause.UNREADY, pod.name, at - when)
        return None


def moment(failure: Failure) -> float:
    """Return when a loss happened: a request that timed out was lost when it was sent.

    So was a connection to the address of a pod that is gone: Linux reports `No route to host` after 3 s
    without a neighbor of that address.
    """
    unreachable = failure.kind is Kind.OTHER and failure.phase == "connecting"
    return failure.at if failure.kind is Kind.TIMEOUT or unreachable else failure.seen
