"""Gunicorn's logger with one format for all lines, including the application's."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import defaultdict
from datetime import timedelta
from types import TracebackType
from typing import Any, TextIO

from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.glogging import Logger
from gunicorn.http.message import Request
from gunicorn.http.wsgi import Response
from gunicorn.instrument.statsd import Statsd

from gunicorn_drain.logs import access
from gunicorn_drain.logs.formats import ACCESS_LOGGER, formatter
from gunicorn_drain.logs.request_id import RequestIdFilter


class AccessFields(logging.Filter):
    """Filter that copies the fields of the access log to their record, and so to a JSON line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if record.name == ACCESS_LOGGER and isinstance(record.args, dict):
            vars(record).update(record.args.get("fields", {}))
        return True


class ServiceLogger(Logger):
    """Gunicorn's logger with the service's formats.

    Gunicorn's flags have their documented effect. A configuration of --log-config or --log-config-json
    replaces all of this.
    """

    log_format = "text"
    access_log_on = False

    def setup(self, cfg: Config) -> None:
        """Configure the loggers from Gunicorn's configuration; again at every reload."""
        # The configuration's class: after a reload not this object's.
        if issubclass(cfg.logger_class, ServiceLogger):
            self.log_format, self.access_log_on = cfg.logger_class.log_format, cfg.logger_class.access_log_on
        root = logging.getLogger()
        self.error_log.propagate = self.access_log.propagate = False
        for handler in [each for each in root.handlers if getattr(each, "_gunicorn", False)]:
            root.removeHandler(handler)
        super().setup(cfg)
        _check_format(cfg.access_log_format)
        # Gunicorn 20 has no logconfig_json.
        if cfg.logconfig or getattr(cfg, "logconfig_json", None) or cfg.logconfig_dict:
            self._propagate_unconfigured()
            return
        if self.access_log_on and cfg.accesslog is None:
            self._set_handler(self.access_log, "-", logging.Formatter(), sys.stderr)
        # Messages of Flask and of libraries have the same destination as Gunicorn's. The same handler,
        # because at SIGUSR1 Gunicorn reopens the files of handlers of loggers other than the root.
        root.setLevel(self.loglevel)
        if (own := self._get_gunicorn_handler(self.error_log)) is not None:
            root.addHandler(own)
        log_uncaught(self.error_log)
        levels = Logger.LOG_LEVELS  # type: ignore[attr-defined] # types-gunicorn lacks it
        if cfg.loglevel.lower() not in levels:
            allowed = ", ".join(levels)
            self.warning("loglevel is %r and has no effect; allowed is one of %s", cfg.loglevel, allowed)

    def atoms(
        self, resp: Response, req: Request, environ: dict[str, Any], request_time: timedelta
    ) -> dict[str, Any]:
        """Return the values for the access log's format, Gunicorn's own names only if it is not ours."""
        fields = access.fields(resp, environ, request_time, self.cfg)
        others = {} if self._is_own_format else super().atoms(resp, req, environ, request_time)
        return {**others, **access.atoms(fields), "fields": fields}

    @property
    def _is_own_format(self) -> bool:
        return bool(self.cfg.access_log_format == access.FORMAT)

    def _propagate_unconfigured(self) -> None:
        """Let the root logger handle loggers that a log configuration does not name (Gunicorn: stderr)."""
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
        """Add a handler in the service's format (Gunicorn: in its own)."""
        super()._set_handler(log, output, formatter(self.log_format), stream)
        if (handler := self._get_gunicorn_handler(log)) is not None:
            handler.addFilter(RequestIdFilter())
            handler.addFilter(AccessFields())

    def _compute_access_log_enabled(self) -> bool:
        return self.access_log_on or super()._compute_access_log_enabled()


class StatsdLogger(ServiceLogger, Statsd):
    """ServiceLogger with Gunicorn's metrics for --statsd-host, which Gunicorn adds to its own logger only."""

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        if self.sock is None:
            self.warning(
                "statsd_host is %s and has no effect: there is no such host or socket", cfg.statsd_host
            )
        else:
            self.sock = _StatsdSocket(self.sock, self)  # type: ignore[assignment] # only its send() is called


class _StatsdSocket:
    """Socket to statsd that logs the first failure of a process (Gunicorn: each, with a traceback)."""

    def __init__(self, sock: Any, log: StatsdLogger) -> None:
        self._sock = sock
        self._log = log
        self._logged_by = 0

    def send(self, data: bytes) -> None:
        """Send a metric. It is lost while nothing listens, which every other datagram to UDP reports."""
        try:
            self._sock.send(data)
        except OSError as error:
            if self._logged_by != os.getpid():
                self._logged_by = os.getpid()  # first, because the warning is counted by another metric
                self._log.warning("Metrics for statsd are lost, as long as it does not listen: %s", error)


def _check_format(access_log_format: str) -> None:
    """Raise the error that Gunicorn reports of its own settings if each request would log a traceback."""
    try:
        _ = access_log_format % defaultdict(int)
    except (TypeError, ValueError) as error:
        sentence = f"access_log_format is {access_log_format!r}, which cannot be used: {error}"
        raise RuntimeError(sentence) from None


def log_uncaught(log: logging.Logger) -> None:
    """Log warnings and uncaught exceptions, which Python writes to stderr without a time, in many lines."""
    logging.captureWarnings(True)

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, Exception):
            sys.__excepthook__(kind, error, trace)
        elif isinstance(error, AppImportError):  # of the application's name: a sentence
            log.critical("%s", str(error).strip())
        else:
            log.critical("Uncaught exception", exc_info=(kind, error, trace))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = "" if args.thread is None else args.thread.name
            trace = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("Uncaught exception in thread %s", name, exc_info=trace)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        error = args.exc_value
        trace = None if error is None else (args.exc_type, error, args.exc_traceback)
        log.error("%s: %r", args.err_msg or "Exception ignored in", args.object, exc_info=trace)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_process, of_thread, unraisable
