"""Limits of the figures that scenarios measure. `make bench` exits with status 1 beyond one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.benchmarks.servers import LANE, LEADER
from tools.benchmarks.waits import CONNECTIONS

OURS = (LEADER.name, LANE.name)

NAMES = ("application", "server", "greedy clients")
"""Columns that name a row."""


@dataclass(frozen=True)
class Limit:
    """A limit of one column, for our two worker classes where a row names a server."""

    column: str
    servers: tuple[str, ...] = OURS
    at_least: float | None = None
    at_most: float | None = None

    def failure(self, row: Mapping[str, Any]) -> str | None:
        """Return a sentence about a row beyond the limit; None for a row within it."""
        if row.get("server", LEADER.name) not in self.servers:
            return None
        value = row[self.column]
        if isinstance(value, str):  # in place of a figure: nothing was measured
            return f"{self.column} of {_name(row)} is {value!r}"
        figure = getattr(value, "median", value)
        if self.at_least is not None and figure < self.at_least:
            return f"{self.column} of {_name(row)} is {figure:.2f}; at least {self.at_least:g} is expected"
        if self.at_most is not None and figure > self.at_most:
            return f"{self.column} of {_name(row)} is {figure:.2f}; at most {self.at_most:g} is expected"
        return None


LIMITS: Mapping[str, Sequence[Limit]] = {
    "throughput": (Limit("CPU ratio", (LEADER.name,), at_most=1), Limit("errors", at_most=0)),
    "waits": (
        Limit("connections served", at_least=CONNECTIONS),
        Limit("p99 to uWSGI's", (LEADER.name,), at_most=1),
    ),
    "instructions": (Limit("to granian's", (LEADER.name,), at_most=1.15),),
    "idle": (Limit("rate ratio", at_least=0.8),),
    "lazy": (Limit("p99 ratio", at_most=3),),
    "streams": (Limit("p99 ratio", at_most=2),),
    "probes": (Limit("unanswered", at_most=0),),
    "fairness": (Limit("p99 ratio", at_most=2),),
    "stop": (Limit("errors", at_most=0),),
}
"""Limits by scenario. Ratios compare figures of one round, so that the machine matters little."""


def failures(scenario: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each figure beyond its limit."""
    found = (limit.failure(row) for limit in LIMITS.get(scenario, ()) for row in rows)
    return [f"{scenario}: {each}" for each in found if each]


def _name(row: Mapping[str, Any]) -> str:
    return ", ".join(str(row[column]) for column in NAMES if column in row)
