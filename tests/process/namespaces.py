"""Programs in a separate mount namespace, in which a test changes the mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.service import ROOT

OTHERS_SEARCH = 0o001


def unshared(script: str) -> tuple[str, ...]:
    """Return a command prefix that first runs `script`, a shell script, in a new mount namespace."""
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    command = ("unshare", "--mount", *as_root, "sh", "-ec", script + '\nexec "$@"', "sh")
    tried = subprocess.run([*command, "true"], check=False, capture_output=True, text=True, timeout=20)
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr.strip()}")
    return command


def for_everyone(hold: Path) -> tuple[str, ...]:
    """Return a command prefix that lets any user run Python, which may be in a closed home directory.

    `hold` is an existing directory that every user can search.
    """
    needed = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    closed: dict[Path, Path] = {}  # by the needed path: its uppermost closed directory
    for path in sorted(needed):
        parents = [each for each in reversed(path.parents) if not each.stat().st_mode & OTHERS_SEARCH]
        if parents and not needed & set(path.parents):
            closed[path] = parents[0]
    if not closed:
        return ()
    held = {path: hold / f"held-{number}" for number, path in enumerate(closed)}
    lines = [f"mkdir -p '{held[path]}'; mount --bind '{path}' '{held[path]}'" for path in closed]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs '{each}'" for each in sorted(set(closed.values()))]
    lines += [f"mkdir -p '{path}'; mount --bind '{held[path]}' '{path}'" for path in closed]
    return unshared("\n".join(lines))
