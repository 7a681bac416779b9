"""Scripts that end dash before their program is started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kubectl_lossless.doctor.shell.dash import not_in_dash


@pytest.mark.parametrize(
    ("script", "lacking"),
    [
        ("set -euo pipefail; b", "pipefail (up to 0.5.12)"),
        ("set -o pipefail && b", "pipefail (up to 0.5.12)"),
        ("source env && b", "source"),
        ("set -e; source env; b", "source"),
        ("x=(1 2); b", "arrays"),
        ("x=1; x+=(2); b", "arrays"),
        ("b < <(cat env)", "<()"),
        ("b <<< x", "<<<"),
        ("set -e; source env || true; b", ""),
        ("set -eu; . ./env; b", ""),
        ("echo 'x=(1) <(y) <<< |&'; b", ""),
        ("set -- -e pipe; b", ""),
        ("if true; then b; fi", ""),
    ],
)
def test_script_that_ends_dash_before_its_program_is_known(script: str, lacking: str, tmp_path: Path) -> None:
    (tmp_path / "env").touch()
    (tmp_path / "b").write_text("#!/bin/sh\ntouch started\n")
    (tmp_path / "b").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["dash", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert (tmp_path / "started").exists() is not bool(lacking)
    assert not_in_dash(script) == lacking
