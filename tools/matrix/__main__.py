"""Run gunicorn-drain on each Gunicorn and worker class, and write the table of the package's README.

    python -m tools.matrix [--environments DIRECTORY] [--only VERSION/CLASS ...] [--applications] [--write]

Each version gets an environment of its own, built with pip on the first run. `--applications` runs the
published applications of `tools.matrix.applications` instead, with the newest version.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tools.matrix.applications import APPLICATIONS, REQUIREMENTS, replaced_under_load
from tools.matrix.scenario import SCENARIOS, Pair

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "packages/gunicorn-drain/README.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- end of matrix -->\n"

VERSIONS = ("20.1.0", "21.2.0", "22.0.0", "23.0.0", "25.3.0", "26.2.0", "27.0.1")
UVICORN = "uvicorn_worker.UvicornWorker"
CLASSES = ("gthread", "sync", "gevent", "eventlet", "asgi", UVICORN)


def alongside(version: str) -> list[str]:
    """Return what is installed beside a version of Gunicorn."""
    if version == "20.1.0":
        # It imports pkg_resources, which later setuptools no longer have; uvicorn-worker 0.4 needs 21.
        return ["setuptools==79.0.1", "gevent==26.9.0", "uvicorn==0.35.0", "uvicorn-worker==0.3.0"]
    return ["gevent==26.9.0", "eventlet==0.41.3", "uvicorn==0.54.0", "uvicorn-worker==0.4.0"]


def exists(version: str, worker_class: str) -> bool:
    """Return whether a version has a worker class."""
    major = int(version.partition(".")[0])
    if worker_class == "asgi":
        return major >= 24
    # 20.1 imports a name that eventlet no longer has where Python 3.11 runs it; 26 has removed the class.
    return worker_class != "eventlet" or 20 < major < 26


def environment(home: Path, version: str, packages: Sequence[str]) -> str:
    """Return the interpreter of an environment with a Gunicorn and `packages`, built if it is not there."""
    python = home / "bin/python"
    if not (home / ".made").exists():
        venv.create(home, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"gunicorn=={version}", *packages], check=True)
        subprocess.run([*install, "--no-deps", str(ROOT / "packages/gunicorn-drain")], check=True)
        (home / ".made").touch()
    return str(python)


def failure(scenario: Callable[[Path], None]) -> str:
    """Return why a scenario does not hold, empty where it does."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            scenario(Path(directory))
        except Exception as error:  # noqa: BLE001 - reported, whatever it is
            return f"{type(error).__name__}: {error}\n" + "\n".join(getattr(error, "__notes__", ()))
    return ""


def run(pair: Pair) -> dict[str, str]:
    """Return what each scenario found, empty where it holds."""
    found = {}
    for name, scenario in SCENARIOS.items():
        found[name] = failure(partial(scenario, pair))
        print(
            f"{pair.version:8} {pair.worker_class:30} {name:22} {'failed' if found[name] else 'ok'}",
            flush=True,
        )
        if found[name]:
            print(found[name], file=sys.stderr, flush=True)
    return found


def table(results: dict[tuple[str, str], dict[str, str]]) -> str:
    """Return the table in Markdown: a row for each class, a column for each version."""
    lines = ["| Gunicorn | " + " | ".join(VERSIONS) + " |", "|---" * (len(VERSIONS) + 1) + "|"]
    for worker_class in CLASSES:
        cells = []
        for version in VERSIONS:
            found = results.get((version, worker_class))
            failed = [name for name, text in (found or {}).items() if text]
            cells.append("-" if found is None else "yes" if not failed else "not: " + ", ".join(failed))
        lines.append(f"| {worker_class} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def run_applications(environments: Path) -> int:
    """Run the published applications; return 1 if anything was lost."""
    status = 0
    python = environment(environments / "applications", VERSIONS[-1], REQUIREMENTS)
    for published in APPLICATIONS:
        why = failure(partial(replaced_under_load, published, python))
        print(f"{published.name:28} {published.worker_class:30} {'failed' if why else 'ok'}", flush=True)
        if why:
            print(why, file=sys.stderr, flush=True)
            status = 1
    return status


def main() -> int:
    """Run the matrix; return 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-matrix")
    parser.add_argument("--only", nargs="*", default=[], metavar="VERSION/CLASS")
    parser.add_argument("--write", action="store_true", help="write the table into the package's README")
    parser.add_argument("--applications", action="store_true", help="run published applications instead")
    options = parser.parse_args()
    if options.applications:
        return run_applications(options.environments)
    results = {}
    for version in VERSIONS:
        for worker_class in CLASSES:
            wanted = not options.only or f"{version}/{worker_class}" in options.only
            if wanted and exists(version, worker_class):
                python = environment(options.environments / version, version, alongside(version))
                results[version, worker_class] = run(Pair(version, worker_class, python))
    print(table(results))
    if options.write:
        text = README.read_text()
        before, rest = text.split(BEGIN)
        README.write_text(before + BEGIN + "\n" + table(results) + "\n" + END + rest.split(END)[1])
    return int(any(text for found in results.values() for text in found.values()))


if __name__ == "__main__":
    sys.exit(main())
