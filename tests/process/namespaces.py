"""Programs in a mount namespace of their own, where a test changes what is mounted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.service import ROOT

OTHERS_SEARCH = 0o001


def unshared(script: str) -> tuple[str, ...]:
    """Return the beginning of a command that runs `script`, a shell's, in a new mount namespace first."""
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    command = ("unshare", "--mount", *as_root, "sh", "-ec", script + '\nexec "$@"', "sh")
    tried = subprocess.run([*command, "true"], check=False, capture_output=True, text=True, timeout=20)
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr.strip()}")
    return command


def for_everyone(hold: Path) -> tuple[str, ...]:
    """Return the beginning of a command that any user can run: Python may lie in a home that is closed.

    `hold` is an existing directory that is closed to nobody.
    """
    needed = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    closed: dict[Path, Path] = {}  # by what is needed: the uppermost directory that is closed
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
