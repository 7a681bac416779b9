"""Settings of the service: read from the environment once, checked together, frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from app import rules
from gunicorn_drain import DrainPolicy, Probe
from gunicorn_drain.listeners import ALL as ALL_ADDRESSES
from gunicorn_drain.logs import exit_with
from gunicorn_drain.policy import SWITCH
from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER

VERSION_PROBE_HEADER = "X-Custom-Header"
"""Header that the course's readiness probe sends, and other clients that request the version do not."""

PROBES = (
    Probe("/health"),
    Probe("/health/ready"),
    Probe("/metrics"),
    Probe("/api/nowater/version", header=VERSION_PROBE_HEADER),
)
"""Requests of kubelets and Prometheus. A drain does not wait for them."""

WORKER_CLASSES = (LEADER_WORKER, PROBE_LANE_WORKER, "gthread", "sync", "gevent")

RENAMED = {"leader.worker.LeaderWorker": LEADER_WORKER, "app.worker.ProbeLaneWorker": PROBE_LANE_WORKER}
"""Values of WORKER_CLASS of earlier releases, and their present names."""

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
WORKER_CONNECTIONS = 8192
"""Maximum number of connections of a worker, streams excluded; idle ones cost memory only."""

ALIASES = {"WORKERS": "WEB_CONCURRENCY"}
"""Variables that are read where the setting is not set. Gunicorn's own default comes from this one, too."""

ORDERED = (
    ("drain_min", "drain_max"),
    ("stream_tell_first", "stream_tell_last"),
    ("stream_tell_last", "stream_deadline"),
    ("stream_retry_min", "stream_retry_max"),
)
"""Pairs of settings of which the first must not be above the second."""


class SettingsError(ValueError):
    """Wrong settings, one per line: name, value and allowed values."""


@dataclass(frozen=True)
class Settings:
    """Settings of the service, each read from the environment variable of its name in capitals.

    docs/settings.md has the table. Comments here name the defaults that depend on Kubernetes' own defaults.
    """

    bind: str = rules.addresses(",".join(ALL_ADDRESSES))
    port: int = rules.count(8080, 1, 65535, "TCP port")
    workers: int = rules.count(2, 1, 64, "processes")
    threads: int = rules.count(16, 1, 512, "threads a worker")
    worker_class: str = rules.choice(LEADER_WORKER, {name: name for name in WORKER_CLASSES}, RENAMED)
    drain: bool = rules.choice(True, SWITCH)
    # Endpoints propagate within 5 s in an ordinary cluster; the whole drain and the graceful stop
    # then fit Kubernetes' default grace period of 30 s: 15 + 10 + some margin.
    drain_min: float = rules.seconds(DrainPolicy.minimum, 0, 3600)
    drain_quiet: float = rules.seconds(DrainPolicy.quiet, 0, 600)
    drain_max: float = rules.seconds(DrainPolicy.maximum, 0, 3600)
    graceful_timeout: int = rules.count(10, 0, 3600, "seconds")
    # A worker's heartbeat comes once a second, on a busy machine later.
    worker_timeout: int = rules.count(30, 5, 3600, "seconds")
    # Longer than the idle timeout of most proxies, 60 s; docs/limits.md names the others.
    keepalive: int = rules.count(75, 0, 3600, "seconds")
    # A client with a full receive buffer that reads 8 KB/s acknowledges bytes every 17 s on loopback.
    send_timeout: float = rules.seconds(20.0, 1, 3600)
    log_level: str = rules.choice("info", {name: name for name in LOG_LEVELS})
    log_format: str = rules.choice("text", {"text": "text", "json": "json"})
    access_log: bool = rules.choice(False, SWITCH)
    # Shares of DRAIN_MAX, so that they fit any value of it. At the first, endpoints have mostly propagated.
    stream_tell_first: float = rules.share(0.2)
    stream_tell_last: float = rules.share(0.6)
    stream_deadline: float = rules.share(0.8, high=0.95)  # the drain must end after it
    stream_retry_min: float = rules.seconds(0.5, 0, 3600)
    stream_retry_max: float = rules.seconds(3.0, 0, 3600)
    stream_replay: int = rules.count(300, 1, 3600, "seconds")
    stream_limit: int = rules.count(4096, 1, 65536, "connections a worker")
    websocket_ping: float = rules.seconds(20.0, 1, 3600)
    websocket_message: int = rules.count(16384, 1, 1048576, "bytes")
    websocket_rate: int = rules.count(50, 1, 10000, "frames a second")
    sleep_limit: float = rules.seconds(60.0, 0, 3600)
    app_version: str = rules.text("dev", r"[!-~]{1,128}", "1 to 128 visible ASCII characters without spaces")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. Raises SettingsError with every wrong setting, not just the first.

        An empty variable counts as not set.
        """
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for each in fields(cls):
            name, rule = _variable(each.name.upper(), environ), each.metadata["rule"]
            if name is None:
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
        """Policy of the drain; None if the drain is switched off."""
        return DrainPolicy(self.drain_min, self.drain_quiet, self.drain_max) if self.drain else None

    @property
    def is_sync(self) -> bool:
        """True for Gunicorn's worker class sync."""
        return self.worker_class == "sync" or self.worker_class.endswith("SyncWorker")

    @property
    def is_gevent(self) -> bool:
        """True for Gunicorn's gevent worker classes."""
        return "gevent" in self.worker_class

    @property
    def threads_per_worker(self) -> int:
        """THREADS, or 1 for sync: with more, Gunicorn would run a gthread worker instead."""
        return 1 if self.is_sync else self.threads

    @property
    def timeout(self) -> int:
        """Timeout of a worker's heartbeat, in seconds, after which Gunicorn replaces the worker.

        A sync worker has no heartbeat while it serves a request, so its longest request is added.
        """
        return int(self.worker_timeout + (self.sleep_limit if self.is_sync else 0))


NAMES = tuple(each.name.upper() for each in fields(Settings))
"""Names of the environment variables that are settings."""


def _variable(setting: str, environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable that gives `setting`; None where its default applies."""
    return next((name for name in (setting, ALIASES.get(setting, "")) if environ.get(name)), None)


def settings_or_exit(environ: Mapping[str, str] = os.environ, worker_class: str | None = None) -> Settings:
    """Read the settings of `environ`; report the wrong ones and exit with status 2.

    `worker_class`: value of Gunicorn's flag, which may be any class and takes precedence.
    """
    report = partial(exit_with, logger="settings", log_format=environ.get("LOG_FORMAT", ""))
    try:
        settings = Settings.from_environment(environ)
    except SettingsError as error:
        report(str(error))
    if worker_class is None:
        return settings
    if worker_class in RENAMED:  # of which Gunicorn would report only that there is no such module
        report(f"-k is {worker_class!r}; its name is {RENAMED[worker_class]} now")
    return replace(settings, worker_class=worker_class)
