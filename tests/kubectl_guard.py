"""A kubectl first on PATH for a whole test session, which records every call and refuses forbidden ones.

Tests without a cluster may neither change nor reach one: KUBECONFIG names an empty file. The tests in
tests/cluster may use one context only. A refused call fails the session, even if the test that made the call
passes: the record is read at the end of the session and covers every process that the tests started.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# This file is also the program that replaces kubectl, run without site-packages.
sys.path[:0] = [str(ROOT), str(ROOT / "packages" / "kubectl-lossless" / "src")]

from kubectl_lossless.kubectl import changes  # noqa: E402 - the path is set above

HOME = "KUBECTL_GUARD"
"""Environment variable with the guard's folder, which pytest-xdist's workers inherit."""

CONTEXT = "KUBECTL_GUARD_CONTEXT"
"""Environment variable with the only allowed context; empty: no cluster may be changed."""


def refusal(arguments: Sequence[str], context: str) -> str | None:
    """Return the reason to refuse kubectl with these arguments, None if they are allowed."""
    if not context:
        return "it may change a cluster, and no test here may" if changes(arguments) else None
    words = list(arguments)
    local = words[:1] == ["config"] or words[:2] == ["version", "--client"]
    named = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--context"]
    return None if local or named == [context] else f"it does not carry --context {context}"


def install(context: str = "") -> Path:
    """Put the guard first on PATH, and return its folder."""
    if found := os.environ.get(HOME):
        return Path(found)
    folder = Path(tempfile.mkdtemp(prefix="kubectl-guard-"))
    program = folder / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -S "{Path(__file__).resolve()}" "$@"\n')
    program.chmod(0o755)
    (folder / "empty").write_text("apiVersion: v1\nkind: Config\n")
    os.environ |= {HOME: str(folder), CONTEXT: context}
    os.environ["PATH"] = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if not context:
        os.environ["KUBECONFIG"] = str(folder / "empty")
    return folder


def refused(folder: Path) -> list[str]:
    """Return the calls that were refused so far, each with its reason."""
    record = folder / "record"
    calls = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return [f"kubectl {' '.join(call['arguments'])}: {call['why']}" for call in calls if call["why"]]


def remove(folder: Path) -> None:
    """Delete the guard's folder."""
    shutil.rmtree(folder, ignore_errors=True)


def real() -> str | None:
    """Return the path of the real kubectl, None if none is installed."""
    own = os.environ.get(HOME)
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = [each for each in folders if own is None or each != str(Path(own) / "bin")]
    return shutil.which("kubectl", path=os.pathsep.join(others))


def main() -> int:
    """Run in place of kubectl: record the call, then refuse it or pass it on to the real kubectl."""
    arguments, folder = sys.argv[1:], Path(os.environ[HOME])
    why = refusal(arguments, os.environ.get(CONTEXT, ""))
    with (folder / "record").open("a") as record:
        record.write(json.dumps({"arguments": arguments, "why": why}) + "\n")
    if why:
        print(f"refused: {why}", file=sys.stderr)
        return 1
    if program := real():
        os.execv(program, ["kubectl", *arguments])
    print("kubectl is not installed", file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main())
