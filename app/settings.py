"""Settings of the service: read from the environment once, checked together, frozen."""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from gunicorn_drain import DrainPolicy, Probe
from gunicorn_drain.listeners import ALL as ALL_ADDRESSES
from gunicorn_drain.listeners import binds
from gunicorn_drain.policy import DECIMAL, SWITCH
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

INJECTED = re.compile(
    r"[A-Z0-9_]+_SERVICE_HOST"
    r"|[A-Z0-9_]+_SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|[A-Z0-9_]+_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)
"""Names of variables that Kubernetes creates for each Service of the namespace (`enableServiceLinks`)."""

INJECTED_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
"""Value of the one variable, NAME_PORT, whose name alone does not show that Kubernetes has created it."""

TYPO_RATIO = 0.9
"""Similarity from which an unknown variable is reported as a likely typo, as difflib measures it."""

DRAIN_TYPO_RATIO = 0.75
"""TYPO_RATIO of variables that begin with DRAIN_, of which hardly any is meant for another program."""

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
class Rule:
    """Reader of a setting's text, and the allowed values to report if it raises ValueError."""

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


def _choice(
    default: Any, choices: Mapping[str, Any], renamed: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Create a setting of one of `choices`. `renamed`: texts of earlier releases, and the present ones."""

    def read(text: str) -> Any:
        text = renamed.get(text, text)
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


def _addresses(default: str) -> Any:
    def read(text: str) -> str:
        addresses = [each.strip().removeprefix("[").removesuffix("]") for each in text.split(",")]
        if "%" in text:  # a zone, which Gunicorn does not take
            raise ValueError
        return ",".join(dict.fromkeys(str(ipaddress.ip_address(each)) for each in addresses))

    return _setting(default, Rule(read, "IP addresses, separated by commas"))


@dataclass(frozen=True)
class Settings:
    """Settings of the service, each read from the environment variable of its name in capitals.

    docs/settings.md has the table. Comments here name the defaults that depend on Kubernetes' own defaults.
    """

    bind: str = _addresses(",".join(ALL_ADDRESSES))
    port: int = _count(8080, 1, 65535, "TCP port")
    workers: int = _count(2, 1, 64, "processes")
    threads: int = _count(16, 1, 512, "threads a worker")
    worker_class: str = _choice(LEADER_WORKER, {name: name for name in WORKER_CLASSES}, RENAMED)
    drain: bool = _choice(True, SWITCH)
    # Endpoints propagate within 5 s in an ordinary cluster; the whole drain and the graceful stop
    # then fit Kubernetes' default grace period of 30 s: 15 + 10 + some margin.
    drain_min: float = _seconds(5.0, 0, 3600)
    drain_quiet: float = _seconds(1.0, 0, 600)
    drain_max: float = _seconds(15.0, 0, 3600)
    graceful_timeout: int = _count(10, 0, 3600, "seconds")
    # A worker's heartbeat comes once a second, on a busy machine later.
    worker_timeout: int = _count(30, 5, 3600, "seconds")
    # Longer than the idle timeout of most proxies, 60 s; docs/limits.md names the others.
    keepalive: int = _count(75, 0, 3600, "seconds")
    # A client with a full receive buffer that reads 8 KB/s acknowledges bytes every 17 s on loopback.
    send_timeout: float = _seconds(20.0, 1, 3600)
    log_level: str = _choice("info", {name: name for name in LOG_LEVELS})
    log_format: str = _choice("text", {"text": "text", "json": "json"})
    access_log: bool = _choice(False, SWITCH)
    # Shares of DRAIN_MAX, so that they fit any value of it. At the first, endpoints have mostly propagated.
    stream_tell_first: float = _share(0.2)
    stream_tell_last: float = _share(0.6)
    stream_deadline: float = _share(0.8, high=0.95)  # the drain must end after it
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
    def binds(self) -> list[str]:
        """Addresses to listen at, in the form of Gunicorn's `bind`."""
        return binds(self.bind.split(","), self.port)

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


def notices(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting and has no effect, and for old names."""
    found = []
    if (old := environ.get("WORKER_CLASS", "")) in RENAMED:
        found.append(f"WORKER_CLASS is {old}; its name is {RENAMED[old]} now, which applies")
    for setting in NAMES:
        default, alias = _shown(getattr(Settings, setting.lower())), ALIASES.get(setting, "")
        if environ.get(setting) == "":
            if environ.get(alias):
                found.append(f"{setting} is empty and has no effect; {alias} applies, {environ[alias]}")
            else:
                found.append(f"{setting} is empty and has no effect; its default applies, {default}")
        elif environ.get(alias) and setting in environ and environ[alias] != environ[setting]:
            found.append(
                f"{alias} is {environ[alias]!r} and has no effect; {setting} applies, {environ[setting]}"
            )
    for name in sorted(set(environ) - set(NAMES) - set(ALIASES.values())):
        if not _is_injected(name, environ[name]) and (sentence := _typo(name)) is not None:
            found.append(sentence)
    return found


def _is_injected(name: str, value: str) -> bool:
    """Return whether Kubernetes creates this variable, in every container, for a Service of the namespace."""
    if INJECTED.fullmatch(name):
        return True
    return name.endswith("_PORT") and INJECTED_ADDRESS.fullmatch(value) is not None


def _typo(name: str) -> str | None:
    """Return a sentence about a variable that is probably a misspelt setting, None for all others."""
    canonical = re.sub("[^A-Z0-9]+", "_", name.upper())
    of_drain = canonical.startswith("DRAIN_")
    like = difflib.get_close_matches(
        canonical, NAMES, n=1, cutoff=DRAIN_TYPO_RATIO if of_drain else TYPO_RATIO
    )
    if like:
        return f"{name} is not a setting and has no effect; {like[0]} may be meant"
    if of_drain:
        known = ", ".join(each for each in NAMES if each.startswith("DRAIN"))
        return f"{name} is not a setting and has no effect; the settings of the drain are {known}"
    return None


def _shown(value: object) -> str:
    """Return a setting's value as it is written in the environment."""
    if isinstance(value, bool):
        return next(text for text, meaning in SWITCH.items() if meaning is value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refuse_renamed(worker_class: str | None) -> None:
    # Gunicorn applies its flag later, and would report only that there is no such module.
    if worker_class in RENAMED:
        raise SettingsError(f"-k is {worker_class!r}; its name is {RENAMED[worker_class]} now")


def settings_or_exit(environ: Mapping[str, str] = os.environ, worker_class: str | None = None) -> Settings:
    """Read the settings of `environ`; report the wrong ones and exit with status 2.

    `worker_class`: value of Gunicorn's flag, which may be any class and takes precedence.
    """
    try:
        settings = Settings.from_environment(environ)
        _refuse_renamed(worker_class)
    except SettingsError as error:
        from gunicorn_drain.logs import line as log_line  # the logger does not exist yet

        for sentence in str(error).splitlines():
            line = log_line(
                environ.get("LOG_FORMAT", ""), logging.CRITICAL, "settings", f"settings: {sentence}"
            )
            print(line, file=sys.stderr)
        sys.exit(2)
    return settings if worker_class is None else replace(settings, worker_class=worker_class)
