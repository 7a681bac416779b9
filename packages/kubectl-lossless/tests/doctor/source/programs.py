"""Programs that stand in for kubectl, kustomize and docker."""

from __future__ import annotations

import sys
from pathlib import Path


def program(folder: Path, name: str, text: str) -> None:
    # Without site and json, Python starts in half the time; a cluster is read with dozens of calls.
    (folder / name).write_text(f"#!{sys.executable} -IS\nimport sys\nwords = sys.argv[1:]\n{text}")
    (folder / name).chmod(0o755)
