"""What a trap for SIGTERM does to the program, by the module and by the installed shells."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from doctor.shell.shells import SHELLS
from kubectl_lossless.doctor.shell.outcome import End, outcome
from kubectl_lossless.doctor.shell.tokens import Shell
from tests.waiting import wait_until


@pytest.mark.parametrize(
    "script",
    [
        "trap 'kill $p; wait $p' TERM; b & p=$!; wait",
        "trap 'kill -TERM $pid' SIGTERM\nb &\npid=$!\nwait $pid\nwait $pid\n",
        "stop() { kill $pid; wait $pid; }; trap stop TERM; b & pid=$!; wait",
        "trap 'kill $p' TERM; b & p=$!; while kill -0 $p; do wait $p; done",
        'trap "$STOP" TERM; b & wait',
    ],
)
def test_trap_that_passes_the_signal_on_is_recognized(script: str) -> None:
    assert outcome(script, Shell.DASH).end is End.FORWARDS


@pytest.mark.parametrize(
    "script",
    [
        "trap 'kill $p' TERM; b & p=$!; wait",
        "trap exit TERM; b & wait; wait",
        "stop() { echo bye; }; trap stop TERM; b & wait",
        "trap 'kill 0; wait' TERM; b & wait",
    ],
)
def test_trap_that_ends_the_script_before_the_program_is_recognized(script: str) -> None:
    assert outcome(script, Shell.DASH).end is End.ENDS


SLOW = """
import pathlib, signal, sys, time

def stop(*_):
    time.sleep(0.5)
    pathlib.Path("finished").touch()
    sys.exit()

signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").touch()
time.sleep(60)
"""
"""A program that needs half a second to stop."""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("script", "finishes"),
    [
        ("trap 'kill $p' TERM; {b} & p=$!; wait $p", False),
        ("trap 'kill $p; wait $p' TERM; {b} & p=$!; wait $p", True),
        ("trap 'kill $p' TERM; {b} & p=$!; wait $p; wait $p", True),
        ("trap exit TERM; {b} & wait", False),
    ],
)
def test_program_finishes_where_the_trap_waits(
    tmp_path: Path, shell: Shell, script: str, finishes: bool
) -> None:
    """As process 1 of a PID namespace, whose end is the end of the program too."""
    program = shutil.which(SHELLS[shell])
    if program is None:
        pytest.skip(f"{SHELLS[shell]} is not installed")
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be created here")
    (tmp_path / "slow.py").write_text(SLOW)
    text = script.format(b=f"{sys.executable} slow.py")
    expected = End.FORWARDS if finishes else End.ENDS
    assert outcome(text, Shell.DASH).end is expected
    words = [program, *(["sh"] if shell is Shell.BUSYBOX else []), "-c", text]
    process = subprocess.Popen([*unshare, *words], cwd=tmp_path)
    wait_until((tmp_path / "ready").exists, "the program's start")
    (shell_pid,) = psutil.Process(process.pid).children()
    shell_pid.send_signal(signal.SIGTERM)
    process.wait(20)
    assert (tmp_path / "finished").exists() is finishes
