"""The program that serves, behind shells and scripts."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.start import Start
from kubectl_lossless.doctor.shell.outcome import End


@pytest.mark.parametrize(
    ("words", "serving"),
    [
        (["sh", "-c", "./migrate && exec gunicorn a:b"], ["gunicorn", "a:b"]),
        (["sh", "-c", "exec bash -c 'exec gunicorn a:b'"], ["gunicorn", "a:b"]),
        (["sh", "-c", "bash -c 'gunicorn a:b'"], ["gunicorn", "a:b"]),
        (["bash", "-euo", "pipefail", "-c", "gunicorn a:b"], ["gunicorn", "a:b"]),
        (["sh", "-c", 'exec "$0" "$@"', "gunicorn", "a:b"], ["gunicorn", "a:b"]),
        (["sh", "-c", 'exec sh -c "$START"'], ["sh", "-c", "$START"]),
        (["/entrypoint.sh", "gunicorn", "a:b"], ["gunicorn", "a:b"]),
    ],
)
def test_serving_program_is_the_one_behind_the_shells(words: list[str], serving: list[str]) -> None:
    assert Start(words).serving == serving


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exec sh -c 'gunicorn a:b'", End.STAYS),
        ("exec bash -c 'gunicorn a:b'", End.REPLACED),
        ("exec sh -c 'exec sh -c \"gunicorn a:b\"'", End.STAYS),
        ("bash -c 'gunicorn a:b'", End.STAYS),  # by the outer dash
        ("exec sh -c 'gunicorn a:b & wait; wait'", End.STAYS),
    ],
)
def test_outcome_is_that_of_the_inner_shell(script: str, end: End) -> None:
    found = Start(["sh", "-c", script]).outcome
    assert found is not None
    assert found.end is end


def test_first_program_is_the_one_that_replaces_the_inner_shell() -> None:
    assert Start(["sh", "-c", "exec bash -c 'exec npm start'"]).first_program == "npm"
    assert Start(["sh", "-c", "exec sh -c 'npm start'"]).first_program == ""
