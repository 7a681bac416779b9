"""Findings of all workloads, skipped and refused objects, and the exit status."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_lossless.doctor.checks import Result
from kubectl_lossless.doctor.finding import Finding, Severity
from kubectl_lossless.doctor.source.loaded import Refused, Skipped

HEADINGS = {
    Severity.LOSES: "LOSES REQUESTS",
    Severity.RISKS: "MAY LOSE REQUESTS",
    Severity.ADVICE: "ADVICE",
    Severity.UNKNOWN: "NOT KNOWN",
}


class Status(enum.IntEnum):
    """Exit status."""

    PASSED = 0
    FOUND = 1
    """Something at or above --fail-on."""
    NOT_CHECKED = 2
    """Something could not be checked, or the command line is wrong."""
    INTERRUPTED = 130


@dataclass(frozen=True)
class Report:
    """Findings and remarks of the doctor for all workloads."""

    results: Sequence[Result]
    skipped: Sequence[Skipped] = ()
    refused: Sequence[Refused] = ()
    fail_on: Severity | None = Severity.RISKS
    """The mildest severity that counts for the exit status; None: none does."""

    @property
    def findings(self) -> list[Finding]:
        """The findings of all workloads."""
        return [each for result in self.results for each in result.findings]

    @property
    def counts(self) -> Counter[Severity]:
        """The number of findings of each severity."""
        return Counter(each.severity for each in self.findings)

    def fails(self, finding: Finding) -> bool:
        """Return whether a finding counts for the exit status."""
        order = list(Severity)
        return self.fail_on is not None and order.index(finding.severity) <= order.index(self.fail_on)

    @property
    def status(self) -> Status:
        """The exit status."""
        if self.refused:
            return Status.NOT_CHECKED
        return Status.FOUND if any(self.fails(each) for each in self.findings) else Status.PASSED
