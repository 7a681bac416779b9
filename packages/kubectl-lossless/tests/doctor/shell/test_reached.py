"""The commands of a script that are reached, by the module and by the installed shells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from doctor.shell.shells import SHELLS
from kubectl_lossless.doctor.shell.parser import parse
from kubectl_lossless.doctor.shell.reached import reached
from kubectl_lossless.doctor.shell.tokens import Shell


@pytest.mark.parametrize("shell", [Shell.DASH, Shell.BASH])
@pytest.mark.parametrize(
    "script",
    [
        "m 1; exit 0; m 2",
        "false && m 1",
        "true || m 1; m 2",
        "false || m 1 && m 2",
        "! true && m 1",
        "! false && m 1",
        "if false; then m 1; else m 2; fi",
        "if true; then m 1; else m 2; fi",
        "if false; then m 1; elif true; then m 2; else m 3; fi",
        "if false; then m 1; fi; m 2",
        "while false; do m 1; done; m 2",
        "until true; do m 1; done",
        "exec m 1; m 2",
        "{ m 1; exit; }; m 2",
        "(m 1; exit; m 2); m 3",
        "if true; then exit; fi; m 1",
        "m 1 && false && m 2",
        "m 1 || true && m 2",
        ": && { false || m 1; }",
        "false & m 1",
        "exit 1 & m 1",
        "f() { m 1; }; m 2",
        "echo x || m 1",
        "sleep 0 || m 1",
        "set -e && exit 1; m 1",
        "sleep 0.01s && m 1 || true",
        "sleep x 2>/dev/null || m 1",
    ],
)
def test_commands_that_a_shell_runs_are_reached(script: str, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("#!/bin/sh\necho $1 >> ran\n")
    (tmp_path / "m").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = [SHELLS[shell], "-c", script]
    subprocess.run(words, cwd=tmp_path, env=environment, check=False, stdout=subprocess.DEVNULL)
    ran = (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []
    simple = [command.words for command, _ in reached(parse(script, shell)).commands()]
    found = [[each.text for each in words] for words in simple]
    assert [words[-1] for words in found if "m" in words] == ran


@pytest.mark.parametrize("script", ["a && m", "a || m", "a || exit; m", "a && false || m", "a; m || b"])
def test_command_behind_one_of_unknown_status_is_reached(script: str) -> None:
    assert "m" in [command.name for command, _ in reached(parse(script)).commands()]


@pytest.mark.parametrize("script", ["case $X in a) true || m;; esac", "for i in 1 2; do false && m; done"])
def test_command_that_never_runs_in_a_branch_is_not_reached(script: str) -> None:
    assert "m" not in [command.name for command, _ in reached(parse(script)).commands()]
