"""The program as a shell starts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kubectl_lossless import __version__
from kubectl_lossless.cli import COMMANDS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubectl_lossless", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("option", ["-h", "--help", "help"])
def test_help_lists_every_command(option: str) -> None:
    done = run(option)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_version_is_printed() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"kubectl-lossless {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"), [((), "No command is given"), (("heal",), "The command is 'heal'")]
)
def test_unknown_command_is_refused(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{says}; allowed are: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_command_line_is_read_without_the_templates_of_the_page() -> None:
    program = "import sys, kubectl_lossless.measure.command; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
