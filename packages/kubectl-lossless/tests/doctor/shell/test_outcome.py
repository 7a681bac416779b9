"""Which process a script leaves as PID 1: by the module, and by the installed shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from doctor.shell.scripts import generated
from doctor.shell.shells import SHELLS
from kubectl_lossless.doctor.server.command_line import program
from kubectl_lossless.doctor.server.programs import serves
from kubectl_lossless.doctor.shell.outcome import End, outcome
from kubectl_lossless.doctor.shell.tokens import Shell
from tests.waiting import wait_until

STAYS, REPLACED, LEAVES = End.STAYS, End.REPLACED, End.LEAVES


# script: what dash, bash and busybox do. `b` is the server.
MEASURED: dict[str, tuple[End, End, End]] = {
    "b": (STAYS, REPLACED, REPLACED),
    "A=1 b": (STAYS, REPLACED, REPLACED),
    "a && b": (STAYS, REPLACED, REPLACED),
    "a; b": (STAYS, REPLACED, REPLACED),
    "a\nb\n": (STAYS, REPLACED, STAYS),
    "b 2>&1": (STAYS, STAYS, REPLACED),
    "b; true": (STAYS, STAYS, STAYS),
    "b | cat": (STAYS, STAYS, STAYS),
    "b & wait": (STAYS, STAYS, STAYS),
    "exec b 2>&1": (REPLACED, REPLACED, REPLACED),
    "exec b \\\n": (REPLACED, REPLACED, REPLACED),
    "if true; then exec b; fi": (REPLACED, REPLACED, REPLACED),
    "exec b # comment": (REPLACED, REPLACED, REPLACED),
    "a && exec b || exit 1": (REPLACED, REPLACED, REPLACED),
    "exec b || a": (REPLACED, REPLACED, REPLACED),
    "eval exec b": (REPLACED, REPLACED, REPLACED),
    "eval 'exec b'": (REPLACED, REPLACED, REPLACED),
    "command exec b": (REPLACED, REPLACED, REPLACED),
    "exec 2>&1; b": (STAYS, REPLACED, REPLACED),
    "exec b &> file": (LEAVES, REPLACED, REPLACED),
    "b &>file": (LEAVES, STAYS, REPLACED),
    "b &": (LEAVES, LEAVES, LEAVES),
    "b &\necho started\n": (LEAVES, LEAVES, LEAVES),
    "a &> file; exec b": (REPLACED, REPLACED, REPLACED),
    "if a; then b; fi": (STAYS, STAYS, REPLACED),
    "if a; then b; fi\n": (STAYS, STAYS, STAYS),
    "case x in x) a; b;; esac": (STAYS, STAYS, REPLACED),
    "{ b; }": (STAYS, STAYS, REPLACED),
    "{ b; } > file": (STAYS, STAYS, STAYS),
    "( b ) > file": (STAYS, STAYS, REPLACED),
    "( exec b )": (STAYS, STAYS, REPLACED),
    "for i in 1; do b; done": (STAYS, STAYS, STAYS),
    "for i in 1; do ( exec b ); done": (STAYS, STAYS, STAYS),
    "a; a && b": (STAYS, STAYS, REPLACED),
    "a\na && b": (STAYS, REPLACED, REPLACED),
    "a && a; b": (STAYS, REPLACED, REPLACED),
    "a & b": (STAYS, STAYS, REPLACED),
    "a & a\nb": (STAYS, REPLACED, REPLACED),
    "a &\na && b": (STAYS, REPLACED, REPLACED),
    "! b": (STAYS, STAYS, STAYS),
    "trap '' INT; b": (STAYS, REPLACED, REPLACED),
    "trap a EXIT; b": (STAYS, STAYS, STAYS),
}


# The same for dash and bash alone.
MORE: dict[str, tuple[End, End]] = {
    "b || exit 1": (STAYS, STAYS),
    "b; exit $?": (STAYS, STAYS),
    "x=0; b || x=$?; exit $x": (STAYS, STAYS),
    "f() { b; }; f": (STAYS, STAYS),
    "f() ( exec b ); f": (STAYS, STAYS),
    "if a; then exec b; else echo no; fi": (REPLACED, REPLACED),
    "for i in 1; do exec b; done": (REPLACED, REPLACED),
    "while a; do if a; then exec b; fi; done": (REPLACED, REPLACED),
    "until a; do a; done; exec b": (REPLACED, REPLACED),
    "exec b &>> file": (LEAVES, REPLACED),
}


# Forms that only bash can read.
OF_BASH: dict[str, End] = {
    'x=(1 "2 3"); exec b "${x[@]}"': REPLACED,
    "x=(1 2)\nb": REPLACED,
    'x=(1); x+=(2); x[5]=3; exec b "${x[@]}"': REPLACED,
    "exec b > >(cat)": REPLACED,
    "b > >(cat)": STAYS,
    "function f { exec b; }; f": REPLACED,
    "function f() { b; }; f": STAYS,
    "time b": STAYS,
    "b |& cat": STAYS,
}


CASES = [
    *(
        (script, shell, ends[number])
        for script, ends in MEASURED.items()
        for number, shell in enumerate(SHELLS)
    ),
    *(
        (script, shell, end)
        for script, ends in MORE.items()
        for shell, end in zip(SHELLS, ends, strict=False)
    ),
    *((script, Shell.BASH, end) for script, end in OF_BASH.items()),
]


@pytest.mark.parametrize(("script", "shell", "end"), CASES)
def test_outcome_is_the_measured_one(script: str, shell: Shell, end: End) -> None:
    assert outcome(script, shell).end is end


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the programs of the scripts; the server writes its process ID."""
    programs = {"a": "", "n": "exit 1\n", "b": "echo $$ >pid.new; mv pid.new pid\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def is_replaced(
    script: str, shell: Shell, folder: Path, *, background: bool = True, in_file: bool = False
) -> bool | None:
    """Return whether a script's server has the process ID of the shell; None where it was not started.

    `background`: wait for a server that starts later than the shell ends.
    """
    path = shutil.which(SHELLS[shell])
    if path is None:
        pytest.skip(f"{SHELLS[shell]} is not installed")
    pid = folder / "pid"
    pid.unlink(missing_ok=True)
    (folder / "script").write_text(script)
    given = ["script"] if in_file else ["-c", script]
    words = [path, *(["sh"] if shell is Shell.BUSYBOX else []), *given]
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    process.wait(20)
    if background:
        wait_until(pid.exists, "the server's start")
    return int(pid.read_text()) == process.pid if pid.exists() else None


@pytest.mark.parametrize(("script", "shell", "end"), CASES)
def test_shell_behaves_as_measured(script: str, shell: Shell, end: End, folder: Path) -> None:
    assert is_replaced(script, shell, folder) is (end is REPLACED)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("script", "end"),
    [("b", STAYS), ("a\nb\n", STAYS), ("a\nb", STAYS), ("a && b", STAYS), ("a\nexec b\n", REPLACED)],
)
def test_shell_stays_in_front_of_the_last_command_of_a_file(
    script: str, end: End, shell: Shell, folder: Path
) -> None:
    assert outcome(script, shell, in_file=True).end is end
    assert is_replaced(script, shell, folder, in_file=True) is (end is REPLACED)


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("seed", range(3))
def test_outcome_of_generated_scripts_is_that_of_the_shell(seed: int, shell: Shell, folder: Path) -> None:
    random, compared = Random(seed), 0
    for text in [generated(random) for _ in range(60)]:
        replaced = is_replaced(text, shell, folder, background=False)
        if replaced is not None:
            assert (outcome(text, shell, serves=serves_b).end is REPLACED) is replaced, text
            compared += 1
    assert compared > 10


def serves_b(words: Sequence[str]) -> bool:
    return program(words)[:1] == ["b"]


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("main() { exec gunicorn a; }; main\ntrue", REPLACED),
        ("if b; then eval 'exec gunicorn a'; fi && exit $?", REPLACED),
        ("if b; then exec gunicorn a; fi; /srv/server", STAYS),
        ("( exec gunicorn a ); true", STAYS),
        ("exec nohup gunicorn a", REPLACED),
    ],
)
def test_server_that_is_reached_by_exec_alone_replaces_the_shell(script: str, end: End) -> None:
    assert outcome(script, Shell.DASH, serves=serves).end is end


def test_shell_stays_in_front_of_an_earlier_server() -> None:
    for script in ("gunicorn a; rm x", "f() { gunicorn a; }; f; rm x"):
        assert outcome(script, Shell.BASH, serves=serves).end is STAYS
    assert outcome("if b; then exec gunicorn a; fi; rm x", Shell.BASH, serves=serves).end is REPLACED


@pytest.mark.parametrize("shell", SHELLS)
def test_server_in_the_background_has_a_shell_in_front(shell: Shell) -> None:
    assert outcome("gunicorn a & nginx", shell, serves=serves).end is STAYS


@pytest.mark.parametrize("branch", ["./shell", "echo no", "exit 1", "python manage.py check"])
def test_branch_without_a_server_does_not_count(branch: str) -> None:
    script = f"if b; then exec gunicorn a; else {branch}; fi"
    assert outcome(script, Shell.DASH, serves=serves).end is REPLACED
    assert outcome(script.replace("exec ", ""), Shell.DASH, serves=serves).end is STAYS
