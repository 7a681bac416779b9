"""Extras of this package, which `pip install gunicorn-drain` alone does not install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Name the extra to install if an import in the block fails because a module is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"gunicorn_drain.{name} needs {error.name}, which is not installed: "
            f"install gunicorn-drain[{name}]",
            name=error.name,
        ) from None


def require(name: str, module: str) -> None:
    """Raise the error of `extra()` if a module of an extra is missing; do not import the module."""
    with extra(name):
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
