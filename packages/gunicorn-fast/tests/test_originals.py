"""Flask's and the exporter's own tests with the faster classes in place of theirs: `make test-originals`.

Compared with the same tests of the originals, as some fail with the installed Werkzeug and pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

ARCHIVES = Path(sys.prefix) / "originals"
"""Directory into which `make test-originals` puts the source archives."""

HERE = Path(__file__).parent / "originals"

Outcomes = dict[str, str]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def outcomes(sources: Path, *plugins: str) -> Outcomes:
    """Return the outcome of each test below `sources`."""
    report = sources / f"{'-'.join(plugins)}.xml"
    options = [option for plugin in plugins for option in ("-p", plugin)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, f"--junitxml={report}", "tests"],
        cwd=sources,
        env=environ | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    return {
        f"{case.get('classname')}::{case.get('name')}": ",".join(child.tag for child in case) or "passed"
        for case in ElementTree.parse(report).getroot().iter("testcase")
    }


@pytest.mark.parametrize(("name", "least"), [("flask", 400), ("prometheus_flask_exporter", 60)])
def test_original_tests_have_the_same_outcome_with_the_faster_class(
    name: str, least: int, tmp_path: Path
) -> None:
    archive = next(ARCHIVES.glob(f"{name}-*.tar.gz"), None)
    if archive is None:
        pytest.skip(f"{name}'s source archive is not here: make test-originals")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    (sources,) = tmp_path.iterdir()
    original = outcomes(sources, "old_pytest")
    assert list(original.values()).count("passed") >= least
    assert outcomes(sources, "old_pytest", "in_place") == original
