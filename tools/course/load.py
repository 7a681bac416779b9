"""Clients of the course, which request the service's paths and refuse a response without its version."""

from __future__ import annotations

from kubectl_lossless.measure import load
from kubectl_lossless.measure.load import Client, Mix, Plan, Target
from kubectl_lossless.measure.load.process import Place

REQUEST_TIMEOUT = 10.0
"""Timeout in seconds, in addition to the time that a request takes by design."""

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

# 12 x 10 + 10 x 10 + 20 / 2.25 + 8 = some 237 requests/s: 10,000 in 42 s.
DEFAULT_MIX: Mix = {"new": 12, "busy": 10, "idle": 20, "sleep1": 8}
# The course's 10 connections each.
LONG_MIX: Mix = {"sleep4": 10, "sleep5": 10}


def target_of(url: str, host: str | None = None) -> Target:
    """Return the target for a base URL, http://name[:port].

    Raises ValueError for anything else.
    """
    target = Target.of(url, host, expect=((200, 299),), strict=True)
    if target.path or target.tls:
        raise ValueError(f"{url!r} is no base URL of the form http://name[:port]")
    return target


class Load(load.Load):
    """The course's load."""

    def __init__(  # noqa: PLR0913 - each is one property of a load, all but the first named
        self,
        url: str,
        *,
        clients: Mix = DEFAULT_MIX,
        host: str | None = None,
        place: Place | None = None,
        timeout: float = REQUEST_TIMEOUT,
        patience: float = 30.0,
    ) -> None:
        """Create the load. `patience`: timeout for a steady load, in seconds. `host`: another Host header."""
        kinds = tuple((CLIENTS[name], number) for name, number in clients.items())
        super().__init__(Plan((target_of(url, host),), kinds, timeout), place=place, patience=patience)


def mix_from_text(text: str) -> dict[str, int]:
    """Parse a mix such as "new=12,busy=10". Raises ValueError with the allowed values."""
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
    """Return the text of a mix: the inverse of `mix_from_text`."""
    return ",".join(f"{name}={number}" for name, number in mix.items())
