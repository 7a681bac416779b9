"""Observations of the load: one record a request, and the lines that carry records between processes.

Times (`at`) are seconds since the epoch by the clock of the machine that sent the request, taken just
before it was sent; `ms` is how long it took from then, connecting included.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from kubectl_lossless.measure.load.clients import Client
from kubectl_lossless.measure.load.lost import Kind


@dataclass(frozen=True, slots=True)
class Response:
    """A request with a good response. `version` and `pod` are empty where the response does not name them."""

    at: float
    client: str
    ms: float
    version: str
    pod: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A lost request. `kept`: it was sent on a connection that had carried a request before.

    `phase`: "connecting", "handshake" (of TLS) or "waiting" for the response. `status` and `via` are the
    status and the Server header of a response that was not a good one. `target`: which of the load's targets.
    """

    at: float
    client: str
    ms: float
    kind: Kind
    detail: str
    kept: bool
    phase: str = "waiting"
    status: int = 0
    via: str = ""
    target: int = 0

    @property
    def seen(self) -> float:
        """Time of the failure, seconds since the epoch."""
        return self.at + self.ms / 1000


@dataclass(frozen=True, slots=True)
class Closed:
    """The server closed an idle kept connection whose last response had not announced it.

    No request was lost by it, but one would have been, had it been on its way. `at` is when it was seen.
    """

    at: float
    client: str


type_names: dict[type, str] = {Response: "response", Failure: "failure", Closed: "closed"}
types = {name: kind for kind, name in type_names.items()}

Record = Response | Failure | Closed
R = TypeVar("R", Response, Failure, Closed)


def to_line(record: Record) -> str:
    """Return a record as one line of JSON, without the newline."""
    return json.dumps({"is": type_names[type(record)], **asdict(record)}, separators=(",", ":"))


def from_line(fields: dict[str, Any]) -> Record:
    """Return the record in one parsed line.

    Raises KeyError or TypeError for a line that is none.
    """
    values = dict(fields)
    kind: type[Record] = types[values.pop("is")]
    if kind is Failure:
        values["kind"] = Kind(values["kind"])
    return kind(**values)


@dataclass
class Result:
    """Everything one load observed.

    `clients` maps the kind of client to how many of it ran. `cpu` is the load's own processor time over
    its wall time: near 1 it is the load that was slow, not the service.
    """

    url: str
    clients: dict[str, int]
    started: float = 0.0
    steady: float | None = None
    ended: float | None = None
    cpu: float | None = None
    responses: list[Response] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    kinds: dict[str, Client] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Keep one more record."""
        match record:
            case Response():
                self.responses.append(record)
            case Failure():
                self.failures.append(record)
            case Closed():
                self.closed.append(record)

    @property
    def requests(self) -> int:
        """Requests that ended, with a good response or lost."""
        return len(self.responses) + len(self.failures)

    @property
    def lost(self) -> int:
        """Requests without a good response."""
        return len(self.failures)

    def versions(self) -> Counter[str]:
        """Responses by the version of the responding pod."""
        return Counter(response.version for response in self.responses)

    def lost_kinds(self) -> Counter[str]:
        """Lost requests by error."""
        return Counter(str(failure.kind) for failure in self.failures)

    def between(self, start: float, end: float) -> Result:
        """Return the part whose requests were sent in [start, end), both in seconds since the epoch."""

        def part(records: Iterable[R]) -> list[R]:
            return [record for record in records if start <= record.at < end]

        return Result(
            url=self.url,
            clients=dict(self.clients),
            started=max(self.started, start),
            steady=self.steady,
            ended=min(self.ended or end, end),
            cpu=self.cpu,
            responses=part(self.responses),
            failures=part(self.failures),
            closed=part(self.closed),
            kinds=self.kinds,
        )

    def summary(self) -> str:
        """Return a few lines for a terminal or an assertion message."""
        lines = [f"{self.requests} requests, {self.lost} lost, {len(self.closed)} closed without notice"]
        versions = sorted(self.versions().items())
        lines += [f"  {version}: {count} responses" for version, count in versions if version]
        groups = Counter((f.kind, f.client, f.detail) for f in self.failures)
        lines += [
            f"  {n} x {kind} ({client}): {detail}" for (kind, client, detail), n in groups.most_common()
        ]
        return "\n".join(lines)
