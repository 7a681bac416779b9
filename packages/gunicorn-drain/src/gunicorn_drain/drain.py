"""The drain of one service: its state for the application, and Gunicorn's hooks in master and workers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from http import HTTPStatus

from gunicorn.config import Config

from gunicorn_drain.master import Master
from gunicorn_drain.policy import DrainPolicy, DrainStatus
from gunicorn_drain.probes import Probe, ProbeMatcher
from gunicorn_drain.shared import NANOSECONDS, MasterCell, Phase, SharedPage, State, StreamCounter
from gunicorn_drain.worker import Worker


class Drain:
    """State that all processes of one service share.

    Create it before Gunicorn forks and keep it in an imported module, as `install()` and `get_drain()` do:
    Gunicorn executes its configuration file again on every SIGHUP.
    """

    def __init__(self) -> None:
        self.page = SharedPage()
        self.master = Master(self.page)
        self.worker = Worker(self.page)
        self.started = time.time()
        """Start of the service, in seconds since the epoch."""
        self.refusals: Callable[[Config], list[str]] = lambda _: []
        """Function that returns a sentence for each part of a configuration with which a drain would fail."""

    def configure(self, policy: DrainPolicy | None, probes: Collection[Probe | str] = ()) -> None:
        """Set the policy (None: stop as Gunicorn does without a drain) and the requests that are probes."""
        self.set(policy, ProbeMatcher([Probe(each) if isinstance(each, str) else each for each in probes]))

    def set(self, policy: DrainPolicy | None, probes: ProbeMatcher) -> None:
        """Set the policy and the matcher of probes, as `configure()` does."""
        self.master.policy = self.worker.policy = policy
        self.worker.probes = probes

    @property
    def policy(self) -> DrainPolicy | None:
        """Policy in use; None if the drain is off."""
        return self.worker.policy

    @property
    def probes(self) -> ProbeMatcher:
        """Matcher of the requests that are probes."""
        return self.worker.probes

    # ---- state -------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """State of the service, as seen by this process."""
        phase = self.page.master[MasterCell.PHASE]
        if phase == Phase.STOPPING:
            return State.STOPPING
        if phase == Phase.DRAINING:
            return State.DRAINING
        if not self.worker.booted:
            return State.STARTING
        return State.BLOCKED if self.page.blocked else State.READY

    @property
    def ready(self) -> bool:
        """True while the service should receive new connections: the response of a readiness probe."""
        return self.state is State.READY

    def readiness(self) -> tuple[HTTPStatus, bytes]:
        """Return the status and the JSON body with which the drain responds to a readiness probe.

        The body has the drain's durations, null if it is off: kubectl-lossless recognizes the drain by it.
        """
        status = HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE
        policy = self.policy
        drain = policy and {"min": policy.minimum, "quiet": policy.quiet, "max": policy.maximum}
        return status, json.dumps({"state": self.state, "drain": drain}).encode() + b"\n"

    @property
    def draining(self) -> bool:
        """True from SIGTERM until the process exits."""
        return self.page.draining

    @property
    def terminating_since(self) -> float:
        """Time at which this process was asked to terminate, in seconds of time.monotonic(); 0.0 before.

        Either the whole service drains, or this process alone terminates: a reload, or one worker fewer.
        """
        return (self.page.master[MasterCell.BEGAN] or self.worker.retiring_since) / NANOSECONDS

    @property
    def in_flight(self) -> int:
        """Client requests that are being processed, in all workers."""
        return self.page.in_flight

    @property
    def responses_while_draining(self) -> int:
        """Responses to client requests since the drain began, of all workers."""
        return self.page.responses

    @property
    def drain_seconds(self) -> float:
        """Duration of the drain until now or until its end, in seconds; 0.0 before it."""
        return self.page.drain_seconds

    @property
    def last_arrival_seconds(self) -> float:
        """Seconds from SIGTERM until the last client request arrived; 0.0 before one did."""
        return self.page.last_arrival_seconds

    @property
    def aborted(self) -> int:
        """Client requests whose worker exited before their response was sent."""
        return self.page.master[MasterCell.ABORTED]

    @property
    def stalled(self) -> int:
        """Responses whose connection was closed because the client did not read them."""
        return self.page.stalled

    def status(self, backlog: int = 0) -> DrainStatus:
        """Return the status of the drain. `backlog`: number of connections that wait to be accepted."""
        return self.page.status(backlog)

    def mark_ready(self) -> None:
        """Record that this process can serve. Gunicorn's workers do so automatically."""
        self.worker.mark_ready()

    def begin_drain(self) -> None:
        """Turn readiness false and announce closes from now on. Safe in a signal handler."""
        self.page.begin_drain()

    # ---- streams: connections that outlive their request ---------------------------------------------------

    def declare_streams(self, *kinds: str) -> None:
        """Add kinds of streams, at most STREAM_KINDS_MAX, else ValueError.

        Every process must declare the same kinds in the same order, as an application does at its creation.
        """
        self.page.declare_streams(*kinds)

    @property
    def stream_kinds(self) -> tuple[str, ...]:
        """Declared kinds of streams."""
        return self.page.kinds

    def count_stream(self, kind: str, counter: StreamCounter, change: int = 1) -> None:
        """Change a counter of this process's streams. The drain waits until none is open.

        ValueError for a kind that is not declared, and for a counter that does not exist.
        """
        self.worker.count_stream(kind, counter, change)

    def streams(self, counter: StreamCounter, *kinds: str) -> int:
        """Return a counter's sum over all workers, of `kinds` or of every kind."""
        return self.page.streams(counter, *kinds)


_drain = Drain()


def get_drain() -> Drain:
    """Return the drain of this process and of the workers that Gunicorn forks from it."""
    return _drain
