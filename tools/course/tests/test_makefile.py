"""The experiment's commands in the Makefile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def command(target: str, *variables: str) -> str:
    """Return the command line with which make runs the experiment."""
    printed = subprocess.run(
        ["make", "--dry-run", target, "CONTEXT=c", "FROM=v1", "TO=v2", *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    (line,) = [each for each in printed.splitlines() if "-m tools.course" in each]
    return line


@pytest.mark.parametrize("target", ["rollout", "course"])
def test_image_of_the_command_line_is_rolled_out(target: str) -> None:
    assert " --image 'flask:1' " in command(target, "IMAGE=flask:1")
    assert " --image " not in command(target)
