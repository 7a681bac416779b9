"""The number of malloc's arenas, in processes of their own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_fast.malloc import ARENAS

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="arenas are glibc's")

THREADS = 12

PROGRAM = """
import ctypes, sys, threading

from gunicorn_fast.malloc import limit_arenas

if "limit" in sys.argv:
    print(limit_arenas(), file=sys.stderr)
started = threading.Barrier({threads} + 1)
done = threading.Event()

def allocate():
    held = bytes(4096)
    started.wait()
    done.wait()

threads = [threading.Thread(target=allocate) for _ in range({threads})]
for each in threads:
    each.start()
started.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stdout = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stdout)
libc.fflush(stdout)
done.set()
"""


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Return the number of arenas that threads have used, and whether limit_arenas() has limited them."""
    inherited = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(threads=THREADS), *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return result.stdout.count("<heap nr="), result.stderr.strip()


def test_threads_share_the_arenas_after_the_limit() -> None:
    count, _ = run()
    assert count > ARENAS
    assert run("limit") == (ARENAS, "True")


@pytest.mark.parametrize(
    "environment", [{"MALLOC_ARENA_MAX": "3"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}]
)
def test_limit_of_the_environment_takes_precedence(environment: dict[str, str]) -> None:
    assert run("limit", **environment) == (3, "False")
