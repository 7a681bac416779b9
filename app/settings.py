"""The service's settings: read from the environment once, checked together, frozen."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from app.lifecycle import DrainPolicy
from app.probe_rule import Probe

VERSION_PROBE_HEADER = "X-Custom-Header"
"""What the course's readiness probe sends, and people and programs that ask for the version do not."""

PROBES = (
    Probe("/health"),
    Probe("/health/ready"),
    Probe("/metrics"),
    Probe("/api/nowater/version", header=VERSION_PROBE_HEADER),
)
"""What kubelets and Prometheus ask here. A drain does not wait for them."""

LANE_WORKER = "app.worker.ProbeLaneWorker"
"""gthread with a lane for probes and an event loop that waits for no peer."""

LEADER_WORKER = "leader.worker.LeaderWorker"
"""The same, and the thread that runs the event loop serves requests itself."""

WORKER_CLASSES = (LEADER_WORKER, LANE_WORKER, "gthread", "sync", "gevent")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
"""A whole or decimal number as people write it: float() takes nan, inf, 1e3 and 1_000 too."""

SWITCH = {"on": True, "off": False}

WORKER_CONNECTIONS = 8192
"""Connections of a worker at once, streams apart; idle ones cost memory only."""

WORKER_TIMEOUT = 30.0
"""Seconds after which Gunicorn replaces a worker whose event loop has not shown a sign of life."""

ORDERED = (
    ("drain_min", "drain_max"),
    ("stream_tell_first", "stream_tell_last"),
    ("stream_tell_last", "stream_deadline"),
    ("stream_retry_min", "stream_retry_max"),
)
"""Settings of which the first must not be above the second."""


class SettingsError(ValueError):
    """The settings that are wrong, a line each: name, value and what is allowed."""


@dataclass(frozen=True)
class Rule:
    """How a setting's text is read, and what to say is allowed where reading raises ValueError."""

    read: Callable[[str], Any]
    allowed: str
    unit: str = ""


def _within(read: Callable[[str], float], text: str, low: float, high: float) -> float:
    value = read(text)
    if not low <= value <= high:
        raise ValueError
    return value


def _whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError
    return int(text)


def _decimal(text: str) -> float:
    if not DECIMAL.fullmatch(text):
        raise ValueError
    return float(text)


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


def _count(default: int, low: int, high: int, unit: str) -> Any:
    rule = Rule(lambda text: _within(_whole, text, low, high), f"a whole number from {low} to {high}", unit)
    return _setting(default, rule)


def _seconds(default: float, low: float, high: float) -> Any:
    rule = Rule(
        lambda text: _within(_decimal, text, low, high),
        f"seconds from {low:g} to {high:g}, whole or decimal",
        "seconds",
    )
    return _setting(default, rule)


def _share(default: float, high: float = 1.0) -> Any:
    rule = Rule(
        lambda text: _within(_decimal, text, 0, high),
        f"a decimal number from 0 to {high:g}",
        "share of `DRAIN_MAX`",
    )
    return _setting(default, rule)


def _choice(default: Any, choices: Mapping[str, Any]) -> Any:
    def read(text: str) -> Any:
        if text not in choices:
            raise ValueError
        return choices[text]

    return _setting(default, Rule(read, "one of " + ", ".join(choices)))


def _text(default: str, pattern: str, allowed: str) -> Any:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return _setting(default, Rule(read, allowed))


@dataclass(frozen=True)
class Settings:
    """What can be set, each by the environment variable of its name in capitals.

    README.md has the table. A default that Kubernetes' own defaults bear on says so here.
    """

    port: int = _count(8080, 1, 65535, "TCP port")
    workers: int = _count(2, 1, 64, "processes")
    threads: int = _count(16, 1, 512, "threads a worker")
    worker_class: str = _choice(LEADER_WORKER, {name: name for name in WORKER_CLASSES})
    drain: bool = _choice(True, SWITCH)
    # Endpoints propagate within 5 s in an ordinary cluster; the whole drain and the graceful stop
    # then fit the 30 s that Kubernetes gives a pod unless told otherwise: 15 + 10 + some margin.
    drain_min: float = _seconds(5.0, 0, 3600)
    drain_quiet: float = _seconds(1.0, 0, 600)
    drain_max: float = _seconds(15.0, 0, 3600)
    graceful_timeout: int = _count(10, 0, 3600, "seconds")
    # Longer than the 60 s for which most proxies keep idle connections; docs/limits.md names the others.
    keepalive: int = _count(75, 0, 3600, "seconds")
    log_level: str = _choice("info", {name: name for name in LOG_LEVELS})
    log_format: str = _choice("text", {"text": "text", "json": "json"})
    access_log: bool = _choice(False, SWITCH)
    # As shares of DRAIN_MAX, so that they fit whatever it is. By the first, endpoints have mostly propagated.
    stream_tell_first: float = _share(0.2)
    stream_tell_last: float = _share(0.6)
    stream_deadline: float = _share(0.8, high=0.95)  # the drain is to end after it
    stream_retry_min: float = _seconds(0.5, 0, 3600)
    stream_retry_max: float = _seconds(3.0, 0, 3600)
    stream_replay: int = _count(300, 1, 3600, "seconds")
    stream_limit: int = _count(4096, 1, 65536, "connections a worker")
    websocket_ping: float = _seconds(20.0, 1, 3600)
    websocket_message: int = _count(16384, 1, 1048576, "bytes")
    websocket_rate: int = _count(50, 1, 10000, "frames a second")
    sleep_limit: float = _seconds(60.0, 0, 3600)
    app_version: str = _text("dev", r"[!-~]{1,128}", "1 to 128 visible ASCII characters without spaces")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; raises SettingsError with all that is wrong, not just the first."""
        values: dict[str, Any] = {}
        wrong = _unknown(environ)
        for each in fields(cls):
            name, rule = each.name.upper(), each.metadata["rule"]
            if name not in environ:
                continue
            try:
                values[each.name] = rule.read(environ[name])
            except ValueError:
                wrong.append(f"{name} is {environ[name]!r}; allowed is {rule.allowed}")
        for lower, upper in ORDERED:
            low, high = (values.get(name, getattr(cls, name)) for name in (lower, upper))
            if low > high:
                wrong.append(
                    f"{lower.upper()} is {low:g}; allowed is at most {upper.upper()}, which is {high:g}"
                )
        if wrong:
            raise SettingsError("\n".join(wrong))
        return cls(**values)

    @property
    def drain_policy(self) -> DrainPolicy | None:
        """How to drain; None where the drain is switched off."""
        return DrainPolicy(self.drain_min, self.drain_quiet, self.drain_max) if self.drain else None

    @property
    def threads_per_worker(self) -> int:
        """THREADS, or 1 for sync: Gunicorn would run a gthread worker in its place."""
        return 1 if self.worker_class == "sync" else self.threads

    @property
    def timeout(self) -> int:
        """Seconds without a sign of life after which Gunicorn replaces a worker.

        A sync worker gives no sign while it answers, so its longest request comes on top.
        """
        return int(WORKER_TIMEOUT + (self.sleep_limit if self.worker_class == "sync" else 0))


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """Find what was probably meant for us and misspelt; the environment has much that is not ours."""
    known = [each.name.upper() for each in fields(Settings)]
    wrong = []
    for name in sorted(set(environ) - set(known)):
        like = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
        if like or name.startswith("DRAIN_"):
            meant = f"; {like[0]} may be meant" if like else ""
            wrong.append(f"{name} is not a setting{meant}; allowed are {', '.join(known)}")
    return wrong


def settings_or_exit() -> Settings:
    """Read the environment's settings; say what is wrong with them and exit with status 2."""
    try:
        return Settings.from_environment()
    except SettingsError as error:
        for line in str(error).splitlines():
            print(f"settings: {line}", file=sys.stderr)
        sys.exit(2)
