"""`python -m tools.benchmarks.soak`: a long run under a mixed load; fails if anything grows or is lost.

The first part of the run is disturbed: a SIGHUP and a SIGKILL of a worker every few minutes. The second is
not, so that the workers become old. Every sample is a line of JSON, so an interrupted run can be reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from app.settings import WORKER_CLASSES
from gunicorn_drain.prometheus import VARIABLE
from gunicorn_fast import LEADER_WORKER
from kubectl_lossless.measure.report.figures import percentile
from tools.benchmarks.applications import SERVICE
from tools.benchmarks.growth import slope
from tools.benchmarks.servers import Server, drained
from tools.benchmarks.soak_load import RANDOM, Load

WORKERS = 2

SAMPLE_INTERVAL = 30.0
"""Interval between two samples, in seconds."""

SETTLE_SHARE = 0.5
"""Share of each part of the run, its beginning, that no slope includes: a new worker grows while it warms up,
ever more slowly; a leak grows until the end."""

DISTURBED_SHARE = 0.55
"""Share of the run with SIGHUPs and SIGKILLs."""

DISTURBED, UNDISTURBED = "disturbed", "undisturbed"

GROWTH_LIMITS: Mapping[str, float] = {
    "memory MB": 0.02,
    "master memory MB": 0.02,
    "descriptors": 0.05,
    "threads": 0.05,
    "metrics files": 0.05,
    "shm KB": 0.05,
    "p50 ms": 0.2,
    "p99 ms": 0.5,
}
"""Growth within an hour that is a failure, as a share of the mean. Latencies depend on the machine most."""

STARTED_LATE = {"threads": 1}
"""Difference between the samples of a part that is no growth: a worker starts each of its threads when
requests need it, and may start the last one after an hour."""


# ---- samples ---------------------------------------------------------------------------------------------


def own_memory(process: psutil.Process) -> float:
    """Return a process's proportional set size (PSS) without mapped files, in MB.

    Python's own pages are mapped by every Python process of the machine: a PSS with them grows whenever one
    of the others exits. Raises FileNotFoundError or ProcessLookupError for a process that has exited.
    """
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
    return (sizes["Pss_Anon"] + sizes["Pss_Shmem"]) * 1024 / 1e6


def sample(server: Server, load: Load) -> dict[str, Any]:
    """Measure the server's processes.

    Raises psutil.NoSuchProcess, FileNotFoundError or ProcessLookupError for one that exits meanwhile.
    """
    family = server.family()
    sizes = [own_memory(each) for each in family]
    files = [each for each in server.metrics.rglob("*") if each.is_file()]
    waits = load.waits or [0.0]
    found = {
        "processes": len(family),
        "memory MB": round(sum(sizes), 2),
        "master memory MB": round(sizes[0], 2),
        "descriptors": sum(each.num_fds() for each in family),
        "threads": sum(each.num_threads() for each in family),
        "metrics files": len(files),
        "shm KB": round(sum(each.stat().st_size for each in files) / 1e3, 1),
        "p50 ms": round(percentile(waits, 0.5) * 1e3, 2),
        "p99 ms": round(percentile(waits, 0.99) * 1e3, 2),
        "CPU s": round(server.processor_seconds(), 2),
        **load.counts,
        "errors": dict(load.errors),
    }
    load.waits.clear()
    return found


async def settled_sample(server: Server, load: Load) -> dict[str, Any]:
    """Measure once no worker retires or starts; after 25 s in any case."""
    for attempt in range(26):
        try:
            if len(server.family()) == WORKERS + 1 or attempt == 25:
                return sample(server, load)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            pass
        await asyncio.sleep(1)
    return {}


@dataclass(frozen=True)
class Plan:
    """Durations of a run and its disturbances, in minutes, and its load."""

    minutes: float
    hup_every: float
    kill_every: float
    load: int


async def soak(server: Server, plan: Plan, output: Path) -> None:
    """Run the load, with SIGHUPs and SIGKILLs at intervals, and write samples."""
    load = Load(server.port, plan.load)
    began = time.monotonic()
    disturbed_until, until = began + 60 * plan.minutes * DISTURBED_SHARE, began + 60 * plan.minutes
    # Not at the time of a sample, by when the old workers have exited.
    next_hup, next_kill = began + 60 * plan.hup_every + 4, began + 60 * plan.kill_every + 4
    next_sample = began + SAMPLE_INTERVAL
    part = DISTURBED
    clients = [asyncio.create_task(load.forever(each)) for each in load.clients()]
    try:
        while (now := time.monotonic()) < until:
            if part == DISTURBED and now >= disturbed_until:
                part, next_hup, next_kill = UNDISTURBED, now, until
            if now >= next_hup:
                load.hup(server.process)
                next_hup = until if part == UNDISTURBED else next_hup + 60 * plan.hup_every
            if now >= next_kill:
                if len(family := server.family()) == WORKERS + 1:
                    load.kill(RANDOM.choice(family[1:]))
                next_kill += 60 * plan.kill_every
            if now >= next_sample:
                found = await settled_sample(server, load)
                line = {"seconds": round(now - began), "part": part, **found}
                with output.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                next_sample += SAMPLE_INTERVAL
            if ended := [each for each in clients if each.done()]:
                ended[0].result()
            await asyncio.sleep(0.5)
    finally:
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


# ---- report ----------------------------------------------------------------------------------------------


def growth(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each figure and part of the run: its mean, its slope per hour and the verdict."""
    rows = []
    for part in dict.fromkeys(each["part"] for each in samples):
        mine = [each for each in samples if each["part"] == part]
        first, last = mine[0]["seconds"], mine[-1]["seconds"]
        begin = first + SETTLE_SHARE * (last - first)
        counted = [each for each in mine if each["seconds"] >= begin]
        hours = [each["seconds"] / 3600 for each in counted]
        for figure, share in GROWTH_LIMITS.items():
            values = [each[figure] for each in counted]
            fit = slope(hours, values)
            grows = fit.grows(share) and max(values) - min(values) > STARTED_LATE.get(figure, 0)
            rows.append(
                {
                    "part": f"{part}, {begin / 60:.0f}-{last / 60:.0f} min",
                    "figure": figure,
                    "samples": len(counted),
                    "mean": f"{fit.mean:.2f}",
                    "slope per hour": f"{fit.per_unit:+.2f} ± {fit.error:.2f}",
                    "verdict": "grows" if grows else "flat",
                }
            )
    return rows


TOTALS = (
    "requests",
    "lost",
    "in flight in killed workers",
    "requests failed by a SIGKILL",
    "streams cut by a SIGKILL",
    "headers later than their timeout",
    "closed while idle",
    "vanished",
    "streams ended by the service",
    "SIGHUPs",
    "killed workers",
)


def report(samples: Sequence[Mapping[str, Any]]) -> int:
    """Print the totals and the slopes; return 1 if something grows or was lost."""
    from tools.benchmarks.__main__ import table

    last, rows = samples[-1], growth(samples)
    print(table([{"total": name, "number": f"{last.get(name, 0):,}"} for name in TOTALS]), end="\n\n")
    print(table(rows))
    failed = [f"{each['figure']} grows ({each['part']})" for each in rows if each["verdict"] != "flat"]
    failed += [f"lost: {number} x {error}" for error, number in last["errors"].items()]
    for each in failed:
        print(f"beyond its limit: {each}", file=sys.stderr)
    return int(bool(failed))


def read(path: Path) -> list[dict[str, Any]]:
    """Read the samples of a run, finished or not."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> int:
    """Run, or report the samples of a run; return 1 if something grows or was lost."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120, help="duration (default 120)")
    parser.add_argument(
        "--worker-class", default=LEADER_WORKER, choices=WORKER_CLASSES, help="default: the service's"
    )
    parser.add_argument("--hup-every", type=float, default=5, help="minutes between SIGHUPs (default 5)")
    parser.add_argument("--kill-every", type=float, default=7, help="minutes between SIGKILLs (default 7)")
    parser.add_argument(
        "--load", type=int, default=1, help="times the usual load of 40 requests a second (default 1)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("reports/soak.jsonl"), help="file of the samples, a line each"
    )
    parser.add_argument("--report", type=Path, help="report this file of samples, and run nothing")
    asked = parser.parse_args()
    if asked.report:
        return report(read(asked.report))
    for name in ("minutes", "hup_every", "kill_every", "load"):
        if getattr(asked, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} is {getattr(asked, name):g}; allowed is more than 0")
    contender = drained(asked.worker_class, asked.worker_class, SERVICE)
    contender = replace(contender, environment={**contender.environment, VARIABLE: "{metrics}"})
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text("")
    log = asked.output.with_suffix(".log")
    with log.open("wb") as file, Server(contender, workers=WORKERS, log=file) as server:
        plan = Plan(asked.minutes, asked.hup_every, asked.kill_every, asked.load)
        asyncio.run(soak(server, plan, asked.output))
    return report(read(asked.output))


if __name__ == "__main__":
    sys.exit(main())
