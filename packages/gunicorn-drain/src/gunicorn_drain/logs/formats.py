"""Formats of log lines: text for terminals, JSON for log collectors. All times are UTC (RFC 3339)."""

from __future__ import annotations

import logging
import sys
import time
from typing import NoReturn

from gunicorn_drain.extras import extra

with extra("logs"):
    from pythonjsonlogger.json import JsonFormatter

TEXT = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
JSON = "%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"
NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "process": "pid"}

ACCESS_LOGGER = "gunicorn.access"

FORMATS = ("text", "json")
"""Names of the formats."""


class UtcTime(logging.Formatter):
    """Formatter of times in UTC with milliseconds."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's signature
        """Return the time of `record`, such as 2026-11-25T13:45:28.123Z."""
        seconds, milliseconds = divmod(int(record.created * 1000), 1000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"


class TextFormatter(UtcTime):
    """Formatter of text lines. The request ID follows the message, except in the access log, which has it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        request_id = getattr(record, "request_id", None)
        if request_id is None or record.name == ACCESS_LOGGER:
            return line
        return f"{line} (request {request_id})"


class JsonLinesFormatter(UtcTime, JsonFormatter):
    """Formatter of JSON lines, including tracebacks. Other attributes of a record are separate fields."""


def formatter(log_format: str) -> logging.Formatter:
    """Create the formatter for one of FORMATS; any other name is text."""
    return JsonLinesFormatter(JSON, rename_fields=NAMES) if log_format == "json" else TextFormatter(TEXT)


def exit_with(sentences: str, logger: str, log_format: str) -> NoReturn:
    """Report sentences on stderr as lines of `logger`, which need not exist yet, and exit with status 2."""
    for each in sentences.splitlines():
        record = logging.LogRecord(logger, logging.CRITICAL, "", 0, f"{logger}: {each}", None, None)
        print(formatter(log_format).format(record), file=sys.stderr)
    sys.exit(2)
