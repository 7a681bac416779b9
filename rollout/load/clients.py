"""The kinds of clients, and how many of each make a load."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """One kind of client.

    `keep`: its connection is kept between requests, one at a time. `every`: it sends a request every so many
    seconds; on a kept connection not before the last one was answered. `idle`: instead, it waits for a random
    time of this range, seconds, after each answer. `takes`: the seconds that the service needs by design, on
    top of which the timeout runs.
    """

    name: str
    says: str
    path: str
    keep: bool
    every: float = 0.0
    idle: tuple[float, float] | None = None
    takes: float = 0.0

    @property
    def paced(self) -> bool:
        """Whether it sends at its rate whatever became of the requests before.

        A client that waits for answers sends fewer requests just while the service hangs, and so hides
        most of what is lost then.
        """
        return not self.keep and self.every > 0


CLIENTS = {
    client.name: client
    for client in (
        Client("new", "a new connection for each request, 10 requests/s", "/api", keep=False, every=0.1),
        Client("busy", "a kept connection, 10 requests/s", "/api", keep=True, every=0.1),
        Client("idle", "a kept connection, idle for 0.5-4 s between requests", "/api", True, idle=(0.5, 4.0)),
        Client("sleep1", "a kept connection, requests of 1 s back to back", "/api/sleep", True, takes=1.0),
        Client("sleep4", "a new connection for each request of 4 s", "/api/sleep/4", False, takes=4.0),
        Client("sleep5", "a new connection for each request of 5 s", "/api/sleep/5", False, takes=5.0),
    )
}

Mix = Mapping[str, int]

# 12 x 10 + 10 x 10 + 20 / 2.25 + 8 = some 237 requests/s: 10,000 in 42 s, at less than a tenth of a core.
DEFAULT_MIX: Mix = {"new": 12, "busy": 10, "idle": 20, "sleep1": 8}
# The course's 10 connections each.
LONG_MIX: Mix = {"sleep4": 10, "sleep5": 10}


def mix_from_text(text: str) -> dict[str, int]:
    """The mix in "new=12,busy=10". Raises ValueError, saying what is allowed."""
    allowed = f"write KIND=NUMBER,... with the kinds {', '.join(CLIENTS)}"
    mix: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in CLIENTS or not number.isdecimal():
            raise ValueError(f"{part.strip()!r} names no clients: {allowed}")
        mix[name] = int(number)
    if not sum(mix.values()):
        raise ValueError(f"{text!r} has no client at all: {allowed}")
    return {name: number for name, number in mix.items() if number}


def mix_to_text(mix: Mix) -> str:
    """The inverse of `mix_from_text`."""
    return ",".join(f"{name}={number}" for name, number in mix.items())
