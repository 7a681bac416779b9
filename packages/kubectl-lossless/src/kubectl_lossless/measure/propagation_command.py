"""`kubectl lossless propagation`: the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from kubectl_lossless.completers import complete_with, files
from kubectl_lossless.measure.command import (
    COULD_NOT_RUN,
    HELD,
    add_cluster,
    add_requests,
    ask,
    cluster_of,
    guarded,
    number,
    targets_of,
)
from kubectl_lossless.measure.load import Load, Local, Plan
from kubectl_lossless.measure.load.clients import general
from kubectl_lossless.measure.propagation import MARGIN, survey
from kubectl_lossless.measure.report.terminal import table
from kubectl_lossless.measure.report.timeline import timeline
from kubectl_lossless.measure.run import Console, check_targets
from kubectl_lossless.measure.workload import Facts, refuse_unrollable


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(
        prog="kubectl lossless propagation",
        description="Delete pods of a workload one after the other, and measure for how long each URL still "
        "leads to them. A drain or a preStop sleep has to be longer than that.",
        epilog="Exit status: 0 measured, 2 not, 130 interrupted. Only pods are deleted, and the workload "
        "replaces them.",
    )
    add_cluster(made)
    add_requests(made)
    made.add_argument(
        "--pods",
        type=number(1, 100, whole=True),
        default=3,
        help="pods to delete, one after the other (default: 3)",
    )
    made.add_argument(
        "--rps",
        type=number(1, 200),
        default=20.0,
        help="new connections per second to each URL (default: 20)",
    )
    made.add_argument("--pod-header", metavar="NAME", help="header of a response that names its pod")
    made.add_argument(
        "--pod-field", metavar="NAME", help="field of a JSON response with the pod (default: pod, hostname)"
    )
    made.add_argument(
        "--timeout",
        type=number(1, 3600),
        default=240.0,
        metavar="S",
        help="timeout of each pod, in seconds (default: 240)",
    )
    complete_with(
        made.add_argument("--report", type=Path, metavar="DIR", help="folder of the picture and the JSON"),
        files,
    )
    made.set_defaults(slow_url=[])
    return made


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, report; return the exit status."""
    targets, _ = targets_of(options)
    kubectl, namespace = cluster_of(options)
    kubectl.check()
    reference = options.workload
    workload = reference.get(kubectl, namespace)
    refuse_unrollable(reference, workload)
    plans = {
        target.url: Plan((target,), tuple(general(options.rps, 0, ["new"], [0])), options.request_timeout)
        for target in targets
    }
    for plan in plans.values():
        check_targets(plan, Local())
    alone = " It has one replica: the service is away in between." if Facts.of(workload).replicas == 1 else ""
    pods = "1 pod" if options.pods == 1 else f"{options.pods} pods"
    question = (
        f"context {kubectl.context} ({kubectl.server}), namespace {namespace}\n"
        f"delete {pods} of {reference}, one after the other, each when the one before is "
        f"replaced.{alone}"
    )
    if not ask(question, console, yes=options.yes):
        console.say("Nothing was changed; --yes continues without asking.")
        return COULD_NOT_RUN
    found = survey(
        kubectl,
        namespace=namespace,
        reference=reference,
        loads={url: Load(plan) for url, plan in plans.items()},
        pods=options.pods,
        timeout=options.timeout,
        say=console.say,
        title=str(reference),
    )
    folder = options.report or Path(f"lossless-propagation-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "propagation.json").write_text(found.to_json())
    (folder / "propagation.svg").write_text(timeline(found))
    print(table(found.table()))
    if found.lost:
        print(f"\n{sum(found.lost.values())} of {found.requests:,} requests lost meanwhile")
    print(
        f"\nA drain, or a preStop sleep, of at least {found.drain_min} s: {MARGIN:g} times the longest",
        flush=True,
    )
    console.say(f"{folder}/propagation.svg")
    return HELD


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    options = parser().parse_args(arguments)
    return guarded(lambda console: run(options, console), "the workload replaces the pods that were deleted.")
