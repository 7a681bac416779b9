"""The settings of a service with the drain of gunicorn-drain, as far as a rollout depends on them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
WHOLE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Setting:
    """A number in an environment variable: its default and its range."""

    default: float
    low: float
    high: float
    whole: bool = False

    @property
    def allowed(self) -> str:
        """Allowed values, in words."""
        if self.whole:
            return f"a whole number from {self.low:g} to {self.high:g}"
        return f"seconds from {self.low:g} to {self.high:g}, whole or decimal"

    def read(self, text: str) -> float | None:
        """Return the number, None for a value that the service refuses."""
        if not (WHOLE if self.whole else DECIMAL).fullmatch(text):
            return None
        return value if self.low <= (value := float(text)) <= self.high else None


SETTINGS = {
    "WORKERS": Setting(2, 1, 64, whole=True),
    "THREADS": Setting(16, 1, 512, whole=True),
    "DRAIN_MIN": Setting(5, 0, 3600),
    "DRAIN_QUIET": Setting(1, 0, 600),
    "DRAIN_MAX": Setting(15, 0, 3600),
    "GRACEFUL_TIMEOUT": Setting(10, 0, 3600, whole=True),
    "KEEPALIVE": Setting(75, 0, 3600, whole=True),
}
"""tests/manifests/test_doctor.py compares them with the service's."""

SWITCH = "DRAIN"

OTHERS = ("APP_VERSION", "WORKER_CLASS", "LOG_FORMAT", "STREAM_LIMIT", "SLEEP_LIMIT")
"""More settings of the service; with one of them, or of SETTINGS, a switch named DRAIN is its own."""

NAMES = ("DRAIN", "DRAIN_MIN", "DRAIN_QUIET", "DRAIN_MAX")
"""Environment variables that a service with the drain is recognized by."""

PACKAGE = "python:gunicorn_drain.config"
"""Gunicorn's configuration file of a service that has the drain without a file of its own."""

PACKAGE_GRACEFUL = 10.0
"""`graceful_timeout` of that configuration, in seconds."""

OF_PACKAGE = ("DRAIN_READINESS", "DRAIN_PROBES")
"""More settings of that configuration."""

NOT_OF_PACKAGE = tuple(name for name in SETTINGS if name not in NAMES)
"""Settings of the service that are Gunicorn's flags with that configuration."""

STATES = ("starting", "ready", "blocked", "draining", "stopping")
"""States in the drain's response to a readiness probe."""

# The rule for misspelt variables is gunicorn_drain.variables', repeated here because kubectl-lossless is
# installed without gunicorn-drain. tests/manifests/test_doctor.py compares the two.

LIKE = 0.75
"""Similarity from which an unknown DRAIN_ variable is reported as a likely typo, as difflib measures it."""

INJECTED = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Names of variables that Kubernetes injects for the Services of the namespace."""

INJECTED_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
"""Value of the one that is called NAME_PORT, as others are too."""


def maximum_of(readiness: str) -> float | None:
    """Return the maximum of a drain, in seconds, by the response of gunicorn-drain to a readiness probe.

    0 where the drain is off, None where the response is another program's.
    """
    try:
        found = json.loads(readiness)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("state") not in STATES or "drain" not in found:
        return None
    if found["drain"] is None:
        return 0.0
    maximum = found["drain"].get("max") if isinstance(found["drain"], dict) else None
    return float(maximum) if isinstance(maximum, int | float) else None


def is_own(environment: Mapping[str, str], gunicorn: bool) -> bool:
    """Return whether a container's variables are those of the service; DRAIN alone may be anybody's."""
    named = sum(each in environment for each in NAMES)
    if named > 1 or (gunicorn and named and SWITCH not in environment):
        return True
    others = gunicorn or any(each in environment for each in (*SETTINGS, *OTHERS))
    return environment.get(SWITCH) in ("on", "off") and others


@dataclass(frozen=True)
class Own:
    """The settings, read."""

    drains: bool
    values: Mapping[str, float]
    wrong: tuple[str, ...]
    """Sentences without their end: settings that the service refuses."""
    ignored: tuple[str, ...]
    """Settings that have no effect because they are misspelt."""


def read(environment: Mapping[str, str], more: Sequence[str] = ()) -> Own:
    """Read the settings as the service does: an empty variable counts as not set.

    `more`: settings of the drain in addition to NAMES.
    """
    values = {name: each.default for name, each in SETTINGS.items()}
    wrong: list[str] = []
    for name, setting in SETTINGS.items():
        text = environment.get(name, "")
        if not text:
            continue
        value = setting.read(text)
        if value is None:
            wrong.append(f"{name} is {text!r}; allowed is {setting.allowed}")
        else:
            values[name] = value
    switch = environment.get(SWITCH) or "on"
    if switch not in ("on", "off"):
        wrong.append(f"{SWITCH} is {switch!r}; allowed is one of on, off")
    if not wrong and values["DRAIN_MIN"] > values["DRAIN_MAX"]:
        wrong.append(
            f"DRAIN_MIN is {values['DRAIN_MIN']:g}; allowed is at most DRAIN_MAX, which is "
            f"{values['DRAIN_MAX']:g}"
        )
    return Own(switch != "off", values, tuple(wrong), tuple(_misspelt(environment, (*NAMES, *more))))


def _misspelt(environment: Mapping[str, str], settings: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each variable whose name begins with DRAIN_ and is none of the settings."""
    for name in sorted(environment.keys() - set(settings)):
        canonical = re.sub("[^A-Z0-9]+", "_", name.upper())
        address = name.endswith("_PORT") and INJECTED_ADDRESS.fullmatch(environment[name])
        if not canonical.startswith("DRAIN_") or INJECTED.fullmatch(name) or address:
            continue
        like = difflib.get_close_matches(canonical, settings, n=1, cutoff=LIKE)
        meant = f"{like[0]} may be meant" if like else f"the settings of the drain are {', '.join(settings)}"
        yield f"{name} is not a setting and has no effect; {meant}"
