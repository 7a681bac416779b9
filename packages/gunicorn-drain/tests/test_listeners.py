"""Tests of gunicorn_drain/listeners.py; tests/process/test_families.py has real listeners."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn import sock

from gunicorn_drain import listeners


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["127.0.0.1"], ["127.0.0.1:8000"]),
        (["::1", "192.0.2.1"], ["[::1]:8000", "192.0.2.1:8000"]),
        (["::"], ["[::]:8000"]),
    ],
)
def test_install_sets_bind_of_the_configuration(
    addresses: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sock, "TCP6Socket", sock.TCP6Socket)
    namespace: dict[str, Any] = {}
    listeners.install(namespace, addresses, 8000)
    assert namespace == {"bind": expected}
    assert issubclass(sock.TCP6Socket, sock.TCPSocket)
