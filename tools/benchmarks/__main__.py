"""`python -m tools.benchmarks [SCENARIO ...]`: tables on stdout, JSON and a picture in files."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
from pathlib import Path

import gunicorn

from tools.benchmarks.checks import failures
from tools.benchmarks.figures import Row
from tools.benchmarks.scenarios import SCENARIOS, throughput


def table(rows: list[Row]) -> str:
    """Return rows as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


FIGURES = ("requests/s", "ratio", "CPU us/request", "CPU to granian's")
"""Columns of `by_application`, for each number of connections."""


def by_application(rows: list[Row]) -> str:
    """Lay the rows of `throughput` out as a Markdown table for each application, a line for each server."""
    tables = []
    for application in dict.fromkeys(row["application"] for row in rows):
        lines: dict[str, Row] = {}
        for row in (each for each in rows if each["application"] == application):
            line = lines.setdefault(row["server"], {f"server with {application}": row["server"]})
            line |= {f"{name}, {row['connections']}": row[name] for name in FIGURES}
        tables.append(table(list(lines.values())))
    return "\n\n".join(tables)


def main() -> int:
    """Run the scenarios of the command line, all if it names none; return 1 beyond a limit."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks", description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", help=f"any of {', '.join(SCENARIOS)}; all of them if none is named"
    )
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each comparison (default 10)")
    parser.add_argument("--output", type=Path, default=Path("reports/bench.json"), help="the JSON file")
    asked = parser.parse_args()
    if wrong := [each for each in asked.scenario if each not in SCENARIOS]:
        parser.error(f"SCENARIO is {wrong[0]!r}; allowed are {', '.join(SCENARIOS)}")
    if asked.rounds < 1:
        parser.error(f"--rounds is {asked.rounds}; allowed is a whole number from 1")
    for tool in ("wrk", "taskset", "valgrind"):
        if shutil.which(tool) is None:
            parser.error(
                f"{tool} is not here; install it, on Debian with apt-get install wrk util-linux valgrind"
            )
    if (os.cpu_count() or 1) < 2:
        parser.error("one processor for the server and one for the load are needed")
    # SIGINT stops the servers. They would inherit that it is ignored, as in a command in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results: dict[str, object] = {
        "machine": {
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "gunicorn": gunicorn.__version__,
        },
        "rounds": asked.rounds,
    }
    failed: list[str] = []
    for name in asked.scenario or SCENARIOS:
        rows = SCENARIOS[name](asked.rounds)
        results[name] = rows
        failed += failures(name, rows)
        tables = by_application(rows) if name == throughput.__name__ else table(rows)
        print(f"\n## {name}: {SCENARIOS[name].__doc__}\n\n{tables}", flush=True)
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(json.dumps(results, indent=2) + "\n")
    for each in failed:
        print(f"beyond its limit: {each}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
