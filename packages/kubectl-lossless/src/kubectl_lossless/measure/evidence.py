"""Grounds of a verdict: observations of a rollout under load, and the doctor's findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kubectl_lossless.measure.events import Event
from kubectl_lossless.measure.load.record import Result
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.workload import Facts

EARLY = 1.0
"""Seconds by which a change may be observed here later than the requests felt it."""

OUTAGE = 0.3
"""Seconds without a ready pod from which it is an outage."""


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
    events: Sequence[Event] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, float] = field(default_factory=dict)
    """Resources that were listed again and again because they could not be watched, and the seconds by which
    a change of them was seen late at most."""

    @cached_property
    def outages(self) -> list[tuple[float, float]]:
        """The times from the rollout's start on at which no pod was ready; infinity where one did not end."""
        if not any(state is State.READY for pod in self.pods for _, state in pod.states):
            return []
        times = sorted({at for pod in self.pods for at, _ in pod.states if at >= self.zero - EARLY})
        found: list[tuple[float, float]] = []
        began: float | None = None
        for at in times:
            ready = any(pod.state_at(at) is State.READY for pod in self.pods)
            if not ready and began is None:
                began = at
            elif ready and began is not None:
                if at - began >= OUTAGE:
                    found.append((began, at))
                began = None
        if began is not None:
            found.append((began, math.inf))
        return found
