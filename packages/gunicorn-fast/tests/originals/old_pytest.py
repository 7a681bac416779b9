"""Pytest plugin: a name that Flask's tests use and pytest has renamed since."""

from _pytest import monkeypatch
from _pytest.compat import NOTSET

monkeypatch.notset = NOTSET  # type: ignore[attr-defined]
