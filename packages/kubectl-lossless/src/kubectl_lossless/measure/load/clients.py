"""The kinds of clients, and the plan of a load: which clients send which request how often."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kubectl_lossless.measure.load.target import Target


@dataclass(frozen=True, slots=True)
class Client:
    """One kind of client.

    `path` is appended to the target's own. `keep`: its connection is kept between requests, one at a time.
    `every`: interval between two requests, in seconds; on a kept connection not before the last
    response. `idle`: instead, it waits for a random time of this range, in seconds, after each response.
    `takes`: seconds that the service needs by design, added to the timeout. `targets`: indexes of the targets
    that it requests in turn; empty for all of them.
    """

    name: str
    description: str
    path: str = ""
    keep: bool = False
    every: float = 0.0
    idle: tuple[float, float] | None = None
    takes: float = 0.0
    targets: tuple[int, ...] = ()

    @property
    def paced(self) -> bool:
        """True where it sends at its rate whatever became of the requests before.

        A client that waits for responses sends fewer requests just while the service hangs, and so hides
        most of the losses.
        """
        return not self.keep and self.every > 0


Mix = Mapping[str, int]
"""Number of clients of each kind."""


@dataclass(frozen=True)
class Plan:
    """The whole load. `clients` are pairs of a kind and its number; `timeout` in seconds is per request."""

    targets: tuple[Target, ...]
    clients: tuple[tuple[Client, int], ...]
    timeout: float = 10.0

    @property
    def mix(self) -> dict[str, int]:
        """Number of clients of each kind."""
        return {client.name: number for client, number in self.clients}

    @property
    def kinds(self) -> dict[str, Client]:
        """The kinds by name."""
        return {client.name: client for client, _ in self.clients}

    @property
    def slowest(self) -> float:
        """The longest time that a request may take, in seconds."""
        return self.timeout + max((client.takes for client, _ in self.clients), default=0.0)

    def to_json(self) -> str:
        """Return the plan as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan in JSON text, the inverse of `to_json`."""
        found: dict[str, Any] = json.loads(text)
        clients = []
        for each, number in found["clients"]:
            idle = tuple(each.pop("idle") or ()) or None
            clients.append((Client(**{**each, "idle": idle, "targets": tuple(each["targets"])}), number))
        return cls(
            tuple(Target.from_fields(each) for each in found["targets"]), tuple(clients), found["timeout"]
        )


IDLE = (0.5, 4.0)
"""Range of the pauses of an idle client, in seconds: shorter than most keep-alive timeouts, and around that
of
Gunicorn's default."""

SHARES = {"new": 0.5, "busy": 0.35, "idle": 0.15}
"""The share of the requests that each kind of client sends."""

SLOW_CLIENTS = 2
"""Clients that send slow requests back to back."""

KINDS = (*SHARES, "slow")


def general(
    rps: float, connections: int, kinds: Sequence[str], targets: Sequence[int]
) -> list[tuple[Client, int]]:
    """Return clients of these kinds that send `rps` requests per second together.

    `connections` of them are kept open. `targets` are the indexes of the targets, each of which gets its
    share. Raises ValueError for a load that cannot be.
    """
    known = [kind for kind in kinds if kind in SHARES]
    whole = sum(SHARES[kind] for kind in known)
    kept = [kind for kind in known if kind != "new"]
    if kept and connections < len(kept):
        raise ValueError(f"{connections} kept connections are too few for the clients {' and '.join(kept)}")
    found: list[tuple[Client, int]] = []
    for kind in known:
        rate = rps * SHARES[kind] / whole
        if kind == "new":
            # One client for each 10 requests/s, and one for each target at least.
            number = max(len(targets), round(rate / 10), 1)
            description = f"a new connection for each request, {rate:.3g} requests/s"
            found.append((Client("new", description, every=number / rate, targets=tuple(targets)), number))
            continue
        number = (
            connections if len(kept) == 1 else connections // 2 + (connections % 2 if kind == "busy" else 0)
        )
        if kind == "busy":
            description = f"a kept connection, {rate / number:.2g} requests/s"
            found.append(
                (Client("busy", description, keep=True, every=number / rate, targets=tuple(targets)), number)
            )
        else:
            pause = max(1.0, number / rate / (sum(IDLE) / 2))
            low, high = (round(bound * pause, 2) for bound in IDLE)
            description = f"a kept connection, idle for {low:g}-{high:g} s between requests"
            found.append(
                (Client("idle", description, keep=True, idle=(low, high), targets=tuple(targets)), number)
            )
    return found


def slow(targets: Sequence[int], takes: float) -> tuple[Client, int]:
    """Return the clients of requests that take `takes` seconds by design."""
    description = f"a new connection for each request of {takes:g} s, back to back"
    return Client("slow", description, takes=takes, targets=tuple(targets)), max(SLOW_CLIENTS, len(targets))
