"""Growth of an update's time with the number of pods, compared with its floor.

The floor is the minimum of Kubernetes' rolling update: with N pods, maxSurge S and maxUnavailable U,
S + U pods start at a time, each is available after its start and minReadySeconds, and the last old pod is
deleted when N - U new ones are available; then it drains for at least DRAIN_MIN. A measured update
adds the time of the controllers, the kubelets and the processors.
"""

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gunicorn_drain import DrainPolicy
from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.report import Report
from kubectl_lossless.measure.report.figures import Figures
from kubectl_lossless.rolling_update import amount
from tools.course.course import of_size
from tools.course.experiment import Experiment
from tools.course.stage import Rung

NUMBERS = (3, 6, 12, 24, 48)


@dataclass(frozen=True)
class Pace:
    """maxSurge and maxUnavailable of an update, in pods."""

    surge: int
    unavailable: int

    @classmethod
    def of(cls, text: str, replicas: int) -> "Pace":
        """Parse "SURGE/UNAVAILABLE", each a number of pods or a percentage such as 25%.

        As Kubernetes does, maxSurge is rounded up and maxUnavailable down. Raises ValueError.
        """
        surge, slash, unavailable = text.partition("/")
        if not slash:
            raise ValueError(f"{text!r} is no strategy; allowed is SURGE/UNAVAILABLE, such as 1/0 or 25%/0")
        found = cls(_pods(surge, replicas, up=True), _pods(unavailable, replicas, up=False))
        if not found.surge and not found.unavailable:
            raise ValueError(f"{text!r} replaces no pod; allowed is a sum of 1 or more")
        return found

    def __str__(self) -> str:
        return f"{self.surge}/{self.unavailable}"

    def floor(self, replicas: int, available_after: float, termination: float) -> float:
        """Return the shortest time until the last old pod is gone, in seconds.

        `available_after`: seconds from a pod's creation until it is available. `termination`: seconds from
        its deletion until it is gone.
        """
        waves = math.ceil((replicas - self.unavailable) / (self.surge + self.unavailable))
        return waves * available_after + termination


def _pods(text: str, replicas: int, *, up: bool) -> int:
    if not text.removesuffix("%").isdecimal():
        raise ValueError(f"{text!r} is no number of pods; allowed are whole numbers and percentages")
    return amount(text, replicas, up=up)


@dataclass(frozen=True)
class Row:
    """One update of a Deployment with `replicas` pods; times in seconds."""

    replicas: int
    pace: Pace
    start: float
    """Median time from a new pod's creation until it is ready."""
    drain: float
    """Median time from an old pod's deletion until it is gone."""
    old_gone: float | None
    floor: float
    lost: int
    requests: int

    @classmethod
    def of(cls, report: Report, rung: Rung, pace: Pace) -> "Row":
        """Compute the row of a report."""
        figures = Figures.of(report)
        new = [pod for pod in report.pods if pod.name not in report.old]
        starts = [ready - pod.states[0][0] for pod in new if (ready := pod.since(State.READY)) is not None]
        start = statistics.median(starts) if starts else 0.0
        minimum = float(dict(rung.settings).get("DRAIN_MIN", DrainPolicy.minimum))
        replicas = len(report.old)
        return cls(
            replicas,
            pace,
            start,
            statistics.median(figures.draining_seconds) if figures.draining_seconds else 0.0,
            figures.seconds_old_gone,
            pace.floor(replicas, start + (rung.min_ready_seconds or 0), minimum),
            figures.lost,
            figures.requests,
        )

    def __str__(self) -> str:
        gone = "not gone" if self.old_gone is None else f"gone after {self.old_gone:.1f} s"
        return f"the last old pod is {gone}, the floor is {self.floor:.1f} s"

    def cells(self) -> list[str]:
        """Return the row as text."""
        gone = self.old_gone
        return [
            str(self.replicas),
            str(self.pace),
            f"{self.start:.1f}",
            f"{self.drain:.1f}",
            f"{gone:.1f}" if gone is not None else "never",
            f"{self.floor:.1f}",
            f"{gone / self.floor:.2f}" if gone is not None else "",
            f"{self.lost} of {self.requests:,}",
        ]


HEADINGS = [
    "pods",
    "maxSurge/maxUnavailable",
    "start of a pod (s)",
    "drain of a pod (s)",
    "last old pod gone (s)",
    "floor (s)",
    "ratio",
    "lost",
]


def updates(base: Experiment, numbers: Iterable[int], strategy: str) -> Iterator[tuple[Experiment, Pace]]:
    """Yield an update of the base's source onto itself for each number of pods, with its pace.

    Raises ValueError for a strategy that is none.
    """
    for replicas in numbers:
        pace = Pace.of(strategy, replicas)
        yield of_size(base, base.source, replicas, str(pace)), pace
