""".ci/run on a machine where not everything can be checked, with a substitute for `make`."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.process.service import ROOT
from tests.pythons import PYTHONS
from tools.matrix import __main__ as matrix

UNREACHABLE = "ERROR:pip_audit._cli:Could not connect to PyPI"
VULNERABLE = "Found 1 known vulnerability in 1 package"


def run_ci(directory: Path, *, audit: str = "", tests: str = "exit 0") -> subprocess.CompletedProcess[str]:
    """Run .ci/run with programs that do nothing; `make audit` fails if `audit`, its output, is not empty."""
    # With the real apt-get, root would install what is missing on the machine that tests.
    programs = ("chromium", "promtool", "zsh", "busybox", "apt-get", "go", "docker")
    scripts = dict.fromkeys(programs, "exit 0")
    status = int(bool(audit))
    scripts["make"] = f'case $1 in test) {tests};; audit) echo "{audit}"; exit {status};; *) exit;; esac'
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "LAB": "/no/cluster"}
    return subprocess.run(
        [ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_list_of_pythons_has_the_versions_of_the_makefile() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    assert tuple(jobs["fast"]["strategy"]["matrix"]["python"]) == PYTHONS
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) <= set(PYTHONS)
    assert matrix.PYTHONS == PYTHONS
    for package in ROOT.glob("packages/*/pyproject.toml"):
        assert tomllib.loads(package.read_text())["project"]["requires-python"] == f">={PYTHONS[0]}"


def test_ci_names_the_missing_cluster_on_its_last_line(tmp_path: Path) -> None:
    done = run_ci(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "not checked: everything on a cluster: there is no /no/cluster"


def test_ci_names_unchecked_vulnerabilities_in_its_last_lines(tmp_path: Path) -> None:
    done = run_ci(tmp_path, audit=UNREACHABLE)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-2:]
    assert last[0].startswith("not checked: known vulnerabilities of the packages: ")
    assert last[1].startswith("not checked: everything on a cluster: ")


@pytest.mark.parametrize(
    ("options", "status"), [({"audit": VULNERABLE}, 1), ({"tests": "exit 2"}, 2)], ids=["audit", "tests"]
)
def test_ci_fails_with_a_vulnerability_or_a_failed_test(
    tmp_path: Path, options: dict[str, str], status: int
) -> None:
    assert run_ci(tmp_path, **options).returncode == status
