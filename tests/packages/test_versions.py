"""The packages are released together, with one version."""

from __future__ import annotations

import re
import tomllib

import pytest

import gunicorn_drain
import gunicorn_fast
import kubectl_lossless
from tests.process.service import ROOT

VERSION = gunicorn_drain.__version__


@pytest.mark.parametrize("package", [gunicorn_fast, kubectl_lossless])
def test_packages_have_one_version(package: object) -> None:
    assert getattr(package, "__version__", None) == VERSION


@pytest.mark.parametrize("name", ["gunicorn-fast", "kubectl-lossless"])
def test_package_requires_the_other_packages_in_the_same_version(name: str) -> None:
    project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
    required = [each for each in project["dependencies"] if each.startswith("gunicorn-drain")]
    assert required in ([], [f"gunicorn-drain=={VERSION}"])


def test_changelog_does_not_release_a_later_version() -> None:
    """A release has its heading in the changelog; the version is raised with the first change after it."""
    headings = re.findall(r"^## \[(\d[\d.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [tuple(map(int, each.split("."))) for each in headings]
    assert released == sorted(released, reverse=True)
    assert released[0] <= tuple(map(int, VERSION.split(".")))
