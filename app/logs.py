"""The log: text lines for people at a terminal, JSON lines for what collects a cluster's logs."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd
from pythonjsonlogger.json import JsonFormatter

from app.settings import Settings

TEXT = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
JSON = "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"
NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "process": "pid"}

ACCESS = '%(h)s "%(r)s" %(s)s %(b)s %(M)sms'


def formatter(log_format: str) -> logging.Formatter:
    """Create the formatter for one of LOG_FORMAT's values."""
    return JsonFormatter(JSON, rename_fields=NAMES) if log_format == "json" else logging.Formatter(TEXT)


class ServiceLogger(Logger):  # type: ignore[misc] # Gunicorn has no types
    """Gunicorn's logger with the service's formats, for the messages of the application too.

    Its flags have the effect that Gunicorn documents. A configuration of --log-config or --log-config-json
    replaces all of this.
    """

    _settings: Settings

    def setup(self, cfg: Any) -> None:
        """Configure the loggers from Gunicorn's configuration and the settings; again at every reload."""
        self._settings = Settings.from_environment({**os.environ, **cfg.env})
        root = logging.getLogger()
        self.error_log.propagate = self.access_log.propagate = False
        for handler in [each for each in root.handlers if getattr(each, "_gunicorn", False)]:
            root.removeHandler(handler)
        super().setup(cfg)
        if cfg.logconfig or cfg.logconfig_json or cfg.logconfig_dict:
            self._propagate_unconfigured()
            return
        if self._settings.access_log and cfg.accesslog is None:
            self._set_handler(self.access_log, "-", logging.Formatter(), sys.stderr)
        # Flask's messages and those of the libraries go where Gunicorn's go. The same handler, because
        # Gunicorn reopens files at SIGUSR1 that are handlers of a logger other than the root.
        root.setLevel(self.loglevel)
        if (handler := self._get_gunicorn_handler(self.error_log)) is not None:
            root.addHandler(handler)

    def _propagate_unconfigured(self) -> None:
        """Leave it to the root logger to handle what a log configuration does not name (Gunicorn: stderr)."""
        for log in (self.error_log, self.access_log):
            if (handler := self._get_gunicorn_handler(log)) is not None:
                log.removeHandler(handler)
                log.propagate = True

    def _set_handler(
        self,
        log: logging.Logger,
        output: str | None,
        fmt: logging.Formatter,  # noqa: ARG002 - Gunicorn's signature
        stream: TextIO | None = None,
    ) -> None:
        """Add a handler in the service's format (Gunicorn: in one of its own)."""
        super()._set_handler(log, output, formatter(self._settings.log_format), stream)

    def _compute_access_log_enabled(self) -> bool:
        return self._settings.access_log or bool(super()._compute_access_log_enabled())


class StatsdLogger(ServiceLogger, Statsd):  # type: ignore[misc] # Gunicorn has no types
    """The same with Gunicorn's metrics for --statsd-host, which Gunicorn adds to its own logger only."""
