"""End of a drain: a pure function of a policy and of an observation."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
"""A whole or decimal number of digits; float() also accepts nan, inf, 1e3 and 1_000."""

LIMIT = 3600.0
"""Maximum of each duration that is read from the environment, in seconds."""

SETTINGS = ("DRAIN", "DRAIN_MIN", "DRAIN_QUIET", "DRAIN_MAX")
"""Variables of the environment from which a policy is read."""

SWITCH = {"on": True, "off": False}
"""Values of a setting that is a switch."""


class PolicyError(ValueError):
    """Wrong environment variables of the drain, one per line: name, value and allowed values."""


@dataclass(frozen=True)
class DrainPolicy:
    """Durations of a drain, in seconds: `0 <= minimum <= maximum` and `0 <= quiet`."""

    minimum: float = 5.0
    """Time in which load balancers and kube-proxies stop sending new connections."""
    quiet: float = 1.0
    """Time without a client request after which the traffic has stopped."""
    maximum: float = 15.0
    """Time after which the drain ends in any case."""

    def __post_init__(self) -> None:
        for name in ("minimum", "quiet", "maximum"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                raise ValueError(f"{name} is {value!r}; allowed are seconds from 0")
        if self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum!r}; allowed is at most maximum, {self.maximum!r}")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> DrainPolicy | None:
        """Read DRAIN_MIN, DRAIN_QUIET and DRAIN_MAX; return None where DRAIN is `off`.

        An empty variable counts as not set. Other variables that begin with DRAIN_ are ignored: Kubernetes
        creates DRAIN_SERVICE_HOST and the like for a Service called `drain`. Raises PolicyError.
        """
        wrong = []
        switch = environ.get("DRAIN") or "on"
        if switch not in SWITCH:
            wrong.append(f"DRAIN is {switch!r}; allowed is one of {', '.join(SWITCH)}")
        seconds = {"DRAIN_MIN": cls.minimum, "DRAIN_QUIET": cls.quiet, "DRAIN_MAX": cls.maximum}
        for name in seconds:
            if not (text := environ.get(name)):
                continue
            if DECIMAL.fullmatch(text) and float(text) <= LIMIT:
                seconds[name] = float(text)
            else:
                wrong.append(f"{name} is {text!r}; allowed are seconds from 0 to {LIMIT:g}, whole or decimal")
        minimum, quiet, maximum = seconds.values()
        if not wrong and minimum > maximum:
            unset = {name: "" if environ.get(name) else " where it is not set" for name in seconds}
            wrong.append(
                f"DRAIN_MIN is {minimum:g}{unset['DRAIN_MIN']}; "
                f"allowed is at most DRAIN_MAX, which is {maximum:g}{unset['DRAIN_MAX']}"
            )
        if wrong:
            raise PolicyError("\n".join(wrong))
        return cls(minimum, quiet, maximum) if SWITCH[switch] else None


@dataclass(frozen=True)
class DrainStatus:
    """Observation of a drain at one moment."""

    elapsed: float
    """Seconds since SIGTERM."""
    quiet: float
    """Seconds since a client request last began or ended, counted from SIGTERM at the earliest."""
    in_flight: int
    """Client requests that are being processed."""
    backlog: int
    """Connections in the accept queues of the listeners."""
    streams: int = 0
    """Open streams."""


class EndReason(enum.StrEnum):
    """Reason for the end of a drain."""

    QUIET = "quiet"
    MAXIMUM = "maximum"
    SECOND_SIGNAL = "second signal"


def end_reason(policy: DrainPolicy, status: DrainStatus) -> EndReason | None:
    """Return the reason for the end of a drain, or None while it has to continue."""
    if status.elapsed >= policy.maximum:
        return EndReason.MAXIMUM
    if status.elapsed < policy.minimum or status.quiet < policy.quiet:
        return None
    return None if status.in_flight or status.backlog or status.streams else EndReason.QUIET
