"""What is loaded: the workloads to check, and what is left out of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from kubectl_lossless.doctor.workload import Workload


class SourceError(Exception):
    """Nothing can be checked. The message is a sentence for people."""


@dataclass(frozen=True)
class Skipped:
    """An object or a file that is not checked."""

    name: str
    reason: str
    """The rest of a sentence that begins with the name."""
    file: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Refused:
    """A file or an object that cannot be checked, although it should be."""

    reason: str
    """The rest of a sentence that begins with the file or the object."""
    name: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Return the sentence."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{': '.join(filter(None, (where, self.name)))} {self.reason}".strip()


@dataclass
class Loaded:
    """The workloads to check, and what is left out of them."""

    workloads: list[Workload] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
