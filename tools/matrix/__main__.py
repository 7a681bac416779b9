"""Run gunicorn-drain on each Gunicorn and worker class, and write the table of the package's README.

    python -m tools.matrix [--environments DIRECTORY] [--only VERSION/CLASS[/PYTHON] ...]
                           [--jobs 1] [--write]
    python -m tools.matrix --applications
    python -m tools.matrix --compare [--rounds 5] [--write]

Each version gets an environment of its own, built with pip on the first run. `--applications` runs the
published applications of `tools.matrix.applications` instead, with the newest version. `--compare` measures
the drain and other ways to stop a service, and writes its table into docs/adopt.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import product
from pathlib import Path

from tools.matrix.applications import APPLICATIONS, REQUIREMENTS, replaced_under_load
from tools.matrix.compare import PACKAGES, compare, comparison_table, drained
from tools.matrix.scenario import SCENARIOS, TORNADO_PACKAGE, UVICORN_PACKAGES, UVICORN_WORKER, Pair

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "packages/gunicorn-drain/README.md"
ADOPT = ROOT / "docs/adopt.md"

VERSIONS = ("20.1.0", "21.2.0", "22.0.0", "23.0.0", "25.3.0", "26.2.0", "27.0.1")
CLASSES = ("gthread", "sync", "gevent", "eventlet", "tornado", "asgi", UVICORN_WORKER)
OLDEST_PYTHON = "3.11"
PYTHONS = (OLDEST_PYTHON, "3.12", "3.13", "3.14", "3.15")
"""Versions of Python. Every version of Gunicorn runs on the oldest one, versions from NEWER on run on all."""
NEWER = 26
PYTHONS_OF = {"23.0.0": (OLDEST_PYTHON, "3.12", "3.13")}
"""Versions of Python of a version before NEWER that many services still run."""


class MissingPythonError(Exception):
    """A sentence that names a Python that is not installed."""


class UnknownPairError(Exception):
    """A sentence that names a pair that does not exist, and what is allowed."""


def alongside(version: str) -> tuple[str, ...]:
    """Return the packages that are installed in addition to a version of Gunicorn."""
    common = ("gevent==26.9.0", "packaging==26.4", TORNADO_PACKAGE)  # packaging: gunicorn[gevent]
    if version == "20.1.0":
        # It imports pkg_resources, which later setuptools no longer have; uvicorn-worker 0.4 needs 21.
        return (*common, "setuptools==79.0.1", "uvicorn==0.35.0", "uvicorn-worker==0.3.0")
    return (*common, "eventlet==0.41.3", "h2==4.4.1", *UVICORN_PACKAGES)


def exists(version: str, worker_class: str, python_version: str) -> bool:
    """Return whether a version has a worker class, and runs on a Python here."""
    major = int(version.partition(".")[0])
    if major < NEWER and python_version not in PYTHONS_OF.get(version, (OLDEST_PYTHON,)):
        return False
    if worker_class == "asgi":
        return major >= 24
    # 20.1 imports a name that eventlet no longer has where Python 3.11 runs it; 26 has removed the class.
    return worker_class != "eventlet" or 20 < major < 26


def interpreter(version: str) -> str:
    """Return the interpreter of a Python, pyenv's where pyenv has it; MissingPythonError if there is none."""
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted(home.glob(f"versions/{version}.*/bin/python"))
    name = str(found[-1]) if found else shutil.which(f"python{version}")
    if name is None:
        raise MissingPythonError(
            f"Python {version} is not installed; the matrix runs on {', '.join(PYTHONS)}"
        )
    return name


@cache
def environment(
    home: Path, version: str, packages: tuple[str, ...], python_version: str = OLDEST_PYTHON
) -> str:
    """Return the interpreter of an environment with a Gunicorn and `packages`; build it if it is missing.

    The drain in it is the present one in any case.
    """
    python = home / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (home / ".made").exists():
        subprocess.run([interpreter(python_version), "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([*install, f"gunicorn=={version}", *packages], check=True)
        (home / ".made").touch()
    package = str(ROOT / "packages/gunicorn-drain")
    subprocess.run([*install, "--no-deps", "--force-reinstall", package], check=True)
    return str(python)


def failure(scenario: Callable[[Path], None]) -> str:
    """Return the reason why a scenario fails, empty if it holds."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            scenario(Path(directory))
        except Exception as error:  # noqa: BLE001 - reported, whatever it is
            return f"{type(error).__name__}: {error}\n" + "\n".join(getattr(error, "__notes__", ()))
    return ""


def run(pair: Pair, python_version: str) -> dict[str, str]:
    """Return the failure of each scenario, empty if it holds."""
    found = {}
    for name, scenario in SCENARIOS.items():
        found[name] = failure(partial(scenario, pair))
        print(
            f"{pair.version:8} {pair.worker_class:30} {python_version:6} {name:22} "
            f"{'failed' if found[name] else 'ok'}",
            flush=True,
        )
        if found[name]:
            print(found[name], file=sys.stderr, flush=True)
    return found


Results = Mapping[tuple[str, str, str], Mapping[str, str]]
"""Failures by version of Gunicorn, worker class, version of Python, then by scenario; empty if it holds."""


def table(results: Results) -> str:
    """Return the table in Markdown: a row for each class, a column for each version of Gunicorn."""
    lines = ["| Gunicorn | " + " | ".join(VERSIONS) + " |", "|---" * (len(VERSIONS) + 1) + "|"]
    for worker_class in CLASSES:
        cells = [cell(results, version, worker_class) for version in VERSIONS]
        lines.append(f"| {worker_class} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(results: Results, version: str, worker_class: str) -> str:
    """Return the Pythons with which every scenario holds, and the failed scenarios of the others."""
    held, failed = [], []
    for python_version in PYTHONS:
        found = results.get((version, worker_class, python_version))
        if found is None:
            continue
        names = [name for name, why in found.items() if why]
        if names:
            failed.append(f"not with {python_version}: {', '.join(names)}")
        else:
            held.append(python_version)
    return "; ".join([", ".join(held)] * bool(held) + failed) or "-"


def replace_block(page: Path, name: str, text: str) -> None:
    """Replace the text of a page between `<!-- name -->` and `<!-- end of name -->`."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


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


def run_comparison(environments: Path, rounds: int, write: bool) -> int:
    """Measure each approach of `tools.matrix.compare`; return 1 if the drain lost anything."""
    python = environment(environments / "comparison", VERSIONS[-1], PACKAGES)
    outcomes = compare(python, rounds)
    text = comparison_table(outcomes)
    print(text)
    if write:
        replace_block(ADOPT, "comparison", text)
    return int(any(each.lost or each.unannounced for each in drained(outcomes)))


def selected(only: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the version, worker class and Python of each pair that exists, or those that `only` names.

    Raises UnknownPairError for a name without a pair.
    """
    found = [key for key in product(VERSIONS, CLASSES, PYTHONS) if exists(*key)]
    for name in only:
        if not any(name in names(key) for key in found):
            raise UnknownPairError(
                f"--only {name}: there is no such pair; allowed is VERSION/CLASS or VERSION/CLASS/PYTHON, "
                f"with a version of {', '.join(VERSIONS)}, a class of {', '.join(CLASSES)}, and a Python of "
                f"{', '.join(PYTHONS)}, where the version has the class and runs on the Python"
            )
    return [key for key in found if not only or not names(key).isdisjoint(only)]


def names(key: tuple[str, str, str]) -> set[str]:
    """Return both names of a pair: without its Python and with it."""
    return {"/".join(key[:2]), "/".join(key)}


def run_matrix(environments: Path, only: Sequence[str], jobs: int, write: bool) -> int:
    """Run the scenarios on each pair and Python, `jobs` pairs at a time; return 1 if anything failed."""
    pairs = {}
    for key in selected(only):
        version, worker_class, python_version = key
        home = environments / f"{version}-{python_version}"
        python = environment(home, version, alongside(version), python_version)
        pairs[key] = Pair(version, worker_class, python)
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(lambda key: run(pairs[key], key[2]), pairs)
        results = dict(zip(pairs, found, strict=True))
    print(table(results))
    if write:
        replace_block(README, "matrix", table(results))
    return int(any(text for found in results.values() for text in found.values()))


def main() -> int:
    """Run the matrix, the applications or the comparison; return 1 if anything failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-matrix")
    parser.add_argument("--only", nargs="*", default=[], metavar="VERSION/CLASS[/PYTHON]")
    parser.add_argument("--write", action="store_true", help="write the table into its page")
    parser.add_argument("--applications", action="store_true", help="run published applications instead")
    parser.add_argument("--compare", action="store_true", help="compare with other ways to stop a service")
    parser.add_argument("--rounds", type=int, default=5, help="rollouts of each approach, 5 if not given")
    parser.add_argument("--jobs", type=int, default=1, help="pairs that run at the same time, 1 if not given")
    options = parser.parse_args()
    for name in ("rounds", "jobs"):
        if (value := getattr(options, name)) < 1:
            parser.error(f"--{name} is {value}; allowed is 1 or more")
    if options.only and options.write:
        parser.error("--write with --only would write a table without the other pairs")
    try:
        if options.applications:
            return run_applications(options.environments)
        if options.compare:
            return run_comparison(options.environments, options.rounds, options.write)
        return run_matrix(options.environments, options.only, options.jobs, options.write)
    except (MissingPythonError, UnknownPairError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
