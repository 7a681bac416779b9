"""Agreement of the locked requirements with their sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.process.service import ROOT
from tests.pythons import PYTHONS


def requirements(suffix: str) -> list[Path]:
    """Return the requirements files outside of hidden directories, in which environments are."""
    patterns = (f"requirements*{suffix}", f"[!.]*/**/requirements*{suffix}")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


SOURCES = requirements(".in")


def logical_lines(path: Path) -> list[str]:
    """Return the lines of a requirements file without comments, with continued lines joined."""
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def locked(path: Path) -> list[tuple[Requirement, list[str]]]:
    """Return each pin of a locked file and its hashes."""
    pins = []
    for line in logical_lines(path):
        pin, *hashes = line.split("--hash=")
        pins.append((Requirement(pin), [each.strip() for each in hashes]))
    return pins


def versions(path: Path, python: str) -> dict[str, str]:
    """Return the versions that a locked file installs on Linux with a Python version, by package."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin, _ in locked(path)
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def wanted(path: Path) -> list[Requirement]:
    """Return the requirements of a source file, including those of the sources that it includes."""
    found = []
    for line in logical_lines(path):
        if line.startswith("-r "):
            found += wanted(path.parent / line[3:].strip())
        elif not line.startswith("-c "):
            found.append(Requirement(line))
    return found


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_requirements_file_has_a_source() -> None:
    assert [path.with_suffix(".txt") for path in SOURCES] == requirements(".txt")


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_every_pin_is_exact_and_has_hashes(source: Path) -> None:
    pins = locked(source.with_suffix(".txt"))
    assert pins
    for pin, hashes in pins:
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_lock_satisfies_its_source(source: Path, python: str) -> None:
    """Detect a line that was changed without `make lock`."""
    installed = versions(source.with_suffix(".txt"), python)
    for requirement in wanted(source):
        version = installed.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked: make lock"
        assert requirement.specifier.contains(version), f"{requirement}, locked is {version}: make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_package_has_the_same_version_in_every_lock(python: str) -> None:
    service = versions(ROOT / "requirements.txt", python)
    for source in SOURCES:
        if source.name == "requirements-audit.in":  # installed in a separate environment
            continue
        others = versions(source.with_suffix(".txt"), python)
        assert {name: others[name] for name in others.keys() & service.keys()} == {
            name: service[name] for name in others.keys() & service.keys()
        }, names(source)
