"""Grounds of a verdict: observations of a rollout under load, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_lossless.measure.load.record import Result
from kubectl_lossless.measure.pod import Pod
from kubectl_lossless.measure.watch import Happening
from kubectl_lossless.measure.workload import Facts


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
    listed: Mapping[str, float] = field(default_factory=dict)
    """Resources that were listed again and again because they could not be watched, and the seconds by which
    a change of them was seen late at most."""
