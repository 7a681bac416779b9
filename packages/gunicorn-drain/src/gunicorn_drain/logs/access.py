"""Line of the access log: client, request, response, duration, request ID and the drain's state."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from functools import lru_cache
from typing import Any

from gunicorn.config import Config

from gunicorn_drain.drain import get_drain
from gunicorn_drain.logs.request_id import ENVIRON

FORMAT = '%(client)s "%(r)s" %(s)s %(b)s %(duration)s ms %(id)s %(state)s'
"""Format of a line, in Gunicorn's notation. `client`, `duration`, `id` and `state` are not Gunicorn's."""

MAX_PROXIES = 32
"""Maximum number of entries of X-Forwarded-For that are checked, from the last one on."""


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def fields(response: Any, environ: dict[str, Any], duration: timedelta, cfg: Config) -> dict[str, Any]:
    """Return the fields to log of a request, by their names in the JSON lines."""
    status = response.status
    if isinstance(status, str):
        status = status.split(None, 1)[0]
    return {
        "client": client(environ, cfg),
        "peer": environ.get("REMOTE_ADDR") or "-",
        "method": _printable(environ["REQUEST_METHOD"]),
        "uri": _printable(environ["RAW_URI"]),
        "protocol": environ["SERVER_PROTOCOL"],
        "status": int(status) if str(status).isdecimal() else status,
        "bytes": getattr(response, "sent", None),
        # Of ASGI workers it is no timedelta, and has these two attributes only.
        "duration_ms": round(duration.seconds * 1000 + duration.microseconds / 1000, 3),
        "request_id": environ.get(ENVIRON, "-"),
        "state": str(get_drain().state),
    }


def atoms(known: dict[str, Any]) -> dict[str, Any]:
    """Return the values that FORMAT refers to."""
    return {
        "client": known["client"],
        "r": f"{known['method']} {known['uri']} {known['protocol']}",
        "s": known["status"],
        "b": "-" if known["bytes"] is None else known["bytes"],
        "duration": known["duration_ms"],
        "id": known["request_id"],
        "state": known["state"],
    }


def _printable(text: str) -> str:
    """Escape characters that end a line or control a terminal: a request may contain any byte from 0x80."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


# ---- the client behind proxies -------------------------------------------------------------------------


def client(environ: dict[str, Any], cfg: Config) -> str:
    """Return the client's address: the peer's, or the one that trusted proxies report in X-Forwarded-For.

    Gunicorn's `forwarded_allow_ips` names the trusted proxies. Each proxy appends the address of its own
    client, so the last entry is read first, and the next one only if the last is a trusted proxy's.
    """
    peer = environ.get("REMOTE_ADDR", "")
    forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    if forwarded is None:
        return _plain(peer)
    # Gunicorn trusts the peers of a Unix socket, which have neither address nor port.
    # ASGI workers never log a port.
    unix = "REMOTE_PORT" not in environ and _address(peer) is None
    return _client(peer, forwarded, unix, "*" in cfg.forwarded_allow_ips, _trusted(cfg))


def _trusted(cfg: Config) -> tuple[Network, ...]:
    try:
        return tuple(cfg.forwarded_allow_networks())
    except AttributeError:  # before Gunicorn 25
        return tuple(
            ipaddress.ip_network(each, strict=False) for each in cfg.forwarded_allow_ips if each != "*"
        )


@lru_cache(1024)
def _plain(peer: str) -> str:
    address = _address(peer)
    return peer or "-" if address is None else str(address)


@lru_cache(1024)
def _client(peer: str, forwarded: str, unix: bool, trust_all: bool, networks: tuple[Network, ...]) -> str:
    address = _address(peer)
    for entry in reversed(forwarded.rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]):
        if not (trust_all or unix or (address is not None and any(address in each for each in networks))):
            break
        if (before := _address(entry)) is None:  # "unknown", or invented
            break
        address, unix = before, False
    return peer or "-" if address is None else str(address)


def _address(text: str) -> Address | None:
    """Parse an address, also with a port or in brackets; return None for any other text."""
    text = text.strip(' \t"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if "%" in text:  # a scope may contain any character
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # The address of an IPv4 peer on a socket for both families.
    return getattr(address, "ipv4_mapped", None) or address
