"""gunicorn_drain.open_files, with limits of another process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gunicorn_drain.open_files import SPARE_FILES

PROGRAM = """
import resource, sys
from gunicorn_drain import raise_file_limit
soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_file_limit(connections), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "allowed", "raised"),
    [
        (200, 1000, 500, 500, 500 + SPARE_FILES),
        (200, 400, 500, 400 - SPARE_FILES, 400),
        (900, 1000, 500, 500, 900),  # never lowered
    ],
)
def test_limit_is_raised_up_to_the_hard_limit(
    soft: int, hard: int, connections: int, allowed: int, raised: int
) -> None:
    command = [sys.executable, "-c", PROGRAM, *map(str, (soft, hard, connections))]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert list(map(int, printed)) == [allowed, raised, hard]
