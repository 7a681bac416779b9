"""The drain with HTTP/2 in Gunicorn itself, over TLS. `make drain-matrix` runs it with older versions."""

from __future__ import annotations

import sys
from pathlib import Path

import gunicorn
import pytest

from tools.matrix.scenario import Pair, http2_loses_nothing

pytestmark = pytest.mark.long


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "asgi"])
def test_http2_clients_lose_nothing_in_a_rolling_update(worker_class: str, tmp_path: Path) -> None:
    http2_loses_nothing(Pair(gunicorn.__version__, worker_class, sys.executable), tmp_path)
