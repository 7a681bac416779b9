"""Programs that stay in front of a server."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.in_front import WRAPPERS
from kubectl_lossless.doctor.server.start import Start


@pytest.mark.parametrize(("words", "says"), [(["npm", "start"], "npm"), (["conda", "run", "x"], "conda")])
def test_wrapper_is_named(words: list[str], says: str) -> None:
    assert says in WRAPPERS[Start(words).first_program]
    assert Start(["gunicorn"]).first_program not in WRAPPERS
