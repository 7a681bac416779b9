"""Functions of Gunicorn from which a configuration file or an application is executed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gunicorn import util
from gunicorn.app.base import Application


def application_is_imported() -> bool:
    """Return whether this is called while Gunicorn imports the application."""
    return _is_called_by(util.import_app)


def configuration_is_read() -> bool:
    """Return whether this is called from a configuration file that Gunicorn reads."""
    return _is_called_by(Application.load_config_from_module_name_or_filename)


def _is_called_by(function: Callable[..., Any]) -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is function.__code__:
            return True
        frame = frame.f_back
    return False
