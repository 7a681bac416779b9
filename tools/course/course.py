"""The course: all rungs in turn, and their goals."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kubectl_lossless.measure.report import Report
from kubectl_lossless.measure.report.compare import Goal
from kubectl_lossless.measure.report.figures import Figures
from tools.course.experiment import Experiment
from tools.course.load import LONG_MIX
from tools.course.stage import MANIFESTS, RECREATE, Rung, rungs

RUNGS = tuple(rungs(MANIFESTS))
KEEPS_ALL = RUNGS[2:]
"""Rungs whose pods terminate without losing a request: from v3 on."""
KEEPS_LONG = RUNGS[4:]
"""Rungs that lose not even requests of 5 s: from v5 on."""
ENOUGH = 10_000
"""Minimum number of requests in a transition without a lost one."""
FASTER = 0.45
"""Maximum of v5's time, without v4's minReadySeconds, as a share of v3's."""

PARTS = ("transitions", "rungs", "pace", "long", "replicas")
STRATEGIES = (RECREATE, "0/1", "1/0", "1/1", "3/0")
"""Further strategies for v5, without minReadySeconds: Recreate, or maxSurge/maxUnavailable."""
REPLICAS = (3, 6, 12)
"""Numbers of pods of the Deployments that show the growth of an update's time."""
NEW = "-new"
"""Suffix of a rung's version after the rung was rolled onto itself."""


@dataclass(frozen=True)
class Part:
    """Experiments on one subject."""

    name: str
    title: str
    introduction: str
    experiments: Sequence[Experiment]


def onto_itself(rung: Rung) -> Rung:
    """Return the rung with another version in its template. Its pods are replaced as by a new image."""
    return replace(rung, version=f"{rung.version or rung.name}{NEW}")


def of_size(base: Experiment, rung: Rung, replicas: int, strategy: str | None = None) -> Experiment:
    """Return an update of a rung with so many pods onto itself, otherwise as `base`."""
    source = replace(rung, replicas=replicas, strategy=strategy)
    title = f"{rung.name} → {rung.name}, {replicas} replicas" + (f", {strategy}" if strategy else "")
    return replace(base, source=source, destination=onto_itself(source), title=title)


def parts(base: Experiment, names: Sequence[str]) -> list[Part]:
    """Return the parts of the course with these names; `base` has everything except the rungs."""

    def rung(name: str, min_ready_seconds: int | None = None) -> Rung:
        return replace(base.source, name=name, min_ready_seconds=min_ready_seconds)

    def to_itself(name: str, min_ready_seconds: int | None = None, title: str = "") -> Experiment:
        source = rung(name, min_ready_seconds)
        return replace(
            base, source=source, destination=onto_itself(source), title=title or f"{name} → {name}"
        )

    def paced(strategy: str) -> Experiment:
        source = replace(rung("v5", 0), strategy=strategy)
        return replace(base, source=source, destination=onto_itself(source), title=f"v5 → v5, {strategy}")

    long = {**base.clients, **LONG_MIX}
    every = [
        Part(
            "transitions",
            "From rung to rung",
            "Each update shows how the pods of the earlier rung leave and those of the later one arrive.",
            [replace(base, source=rung(a), destination=rung(b)) for a, b in itertools.pairwise(RUNGS)],
        ),
        Part(
            "rungs",
            "Each rung onto itself",
            "What each rung costs: the same with a new version. v5 also without v4's minReadySeconds, "
            "which v3 does not have either.",
            [*(to_itself(name) for name in RUNGS), to_itself("v5", 0, WITHOUT_PACE)],
        ),
        Part(
            "pace",
            "Recreate, and maxSurge/maxUnavailable",
            "v5 onto itself without minReadySeconds, by different strategies: Recreate is an outage, and the "
            "others differ in pods beyond and below the three asked for.",
            [paced(strategy) for strategy in STRATEGIES],
        ),
        Part(
            "long",
            "With requests of 4 s and 5 s",
            "Ten connections each with /api/sleep/4 and /api/sleep/5 beside the usual load.",
            [
                replace(to_itself(name, title=f"{name} → {name}, long requests"), clients=long)
                for name in KEEPS_LONG
            ],
        ),
        Part(
            "replicas",
            "With more pods",
            "v3 and v5 onto themselves without minReadySeconds, so that what grows is the pods' own part: "
            "they start, and they leave. v3 has the default of 25% for maxSurge and maxUnavailable; v5 "
            "takes one after the other, and then up to a quarter at once (maxSurge/maxUnavailable).",
            [
                *(of_size(base, rung(name, 0), replicas) for name in ("v3", "v5") for replicas in REPLICAS),
                # A quarter of the first is v5's own 1.
                *(
                    of_size(base, rung("v5", 0), replicas, f"{math.ceil(replicas / 4)}/0")
                    for replicas in REPLICAS[1:]
                ),
            ],
        ),
    ]
    return [part for part in every if part.name in names]


WITHOUT_PACE = "v5 → v5 without minReadySeconds"


def goals(reports: Sequence[tuple[str, Report]]) -> list[Goal]:
    """Return the goals of the course to which these reports (part's name, report) apply."""
    found = []
    for part, report in reports:
        figures = Figures.of(report)
        if report.problem:
            found.append(Goal(f"{report.title}: the update completes", held=False))
        if RECREATE in report.title:
            found.append(Goal(f"{report.title}: {figures.lost} lost, an outage", figures.lost > 0))
        elif report.source in (KEEPS_LONG if part == "long" else KEEPS_ALL):
            sentence = f"{report.title}: {figures.lost} of {figures.requests:,} requests lost; none may be"
            enough = part != "transitions" or figures.requests >= ENOUGH
            if not enough:
                sentence += f", of at least {ENOUGH:,}"
            found.append(Goal(sentence, figures.lost == 0 and enough))
    by_title = {report.title: Figures.of(report) for _, report in reports}
    slow, fast = by_title.get("v3 → v3"), by_title.get(WITHOUT_PACE)
    if slow and fast and slow.seconds_old_gone and fast.seconds_old_gone:
        share = fast.seconds_old_gone / slow.seconds_old_gone
        sentence = (
            f"{WITHOUT_PACE} takes {fast.seconds_old_gone:.1f} s, v3 → v3 {slow.seconds_old_gone:.1f} s: "
            f"{share:.2f} of the time; at most {FASTER} is the goal"
        )
        found.append(Goal(sentence, share <= FASTER))
    return found
