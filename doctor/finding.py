"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass


class Severity(enum.StrEnum):
    """How bad it is. `LOSES` and `RISKS` count for the exit status."""

    LOSES = "loses"
    """Requests are lost in an ordinary rolling update."""
    RISKS = "risks"
    """Requests are lost in a case that will come: a long request, a busy pod, a bad version, a drained
    node.
    """
    ADVICE = "advice"
    """Costs time, or matters to some."""
    UNKNOWN = "unknown"
    """Cannot be known from here."""

    @property
    def counts(self) -> bool:
        """Whether it makes the exit status 1."""
        return self in (Severity.LOSES, Severity.RISKS)


@dataclass(frozen=True)
class Finding:
    """One thing that would lose requests, and the line to change."""

    severity: Severity
    what: str
    """What would lose requests, a sentence."""
    why: str
    """Why it would."""
    path: str
    """Where to change it: a path in the object, as in `kubectl explain`, lists by index."""
    value: str
    """What to put there, as YAML; or what to do."""
    object: str = ""
    """Kind and name of the object; the Deployment's unless the check says another."""
    check: str = ""
    """The check's name; the runner puts it in."""

    def as_json(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)
