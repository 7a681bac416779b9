"""The report of one experiment."""

from dataclasses import dataclass, field

from kubectl_lossless.measure.events import Event, Scaled
from kubectl_lossless.measure.load.record import Result
from kubectl_lossless.measure.pod import Pod
from kubectl_lossless.measure.verdict import Verdict


@dataclass(frozen=True)
class Report:
    """Result of one experiment. Times are seconds since the epoch."""

    title: str
    source: str
    target: str
    zero: float
    complete: float | None
    problem: str | None
    where: str
    kubernetes: str
    load: Result
    pods: list[Pod]
    old: list[str]
    verdict: Verdict | None = None
    events: list[Event] = field(default_factory=list)
    scaled: list[Scaled] = field(default_factory=list)
