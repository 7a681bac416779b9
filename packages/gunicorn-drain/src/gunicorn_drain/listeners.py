"""Addresses to listen at: both IP families where the kernel has them.

Two listeners and not one for both families, because one would report IPv4 clients as `::ffff:192.0.2.1`,
which matches no rule and no log query for `192.0.2.1`. In gunicorn.conf.py:

    gunicorn_drain.listeners.install(globals(), gunicorn_drain.listeners.ALL, 8080)
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable, MutableMapping
from typing import Any

from gunicorn import sock, util

ALL = ("0.0.0.0", "::")  # noqa: S104 - a container's own addresses

PORT_MAX = 65535


def binds(addresses: Iterable[str], port: int) -> list[str]:
    """Return Gunicorn's `bind` for IP addresses.

    Of all addresses of both families, those of a family that cannot be used are left out: IPv6 may be
    switched off in the kernel or denied by a seccomp profile.
    """
    chosen = tuple(addresses)
    if set(chosen) == set(ALL):
        chosen = tuple(each for each in chosen if _can_bind(each)) or chosen
    return [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in chosen]


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def wrong(addresses: Iterable[object]) -> list[str]:
    """Return a sentence for each of Gunicorn's addresses that no socket can have, none for the others.

    `addresses`: as Gunicorn parses `bind`, which checks neither a port's range nor a file descriptor.
    """
    sentences = []
    for each in addresses:
        if isinstance(each, tuple) and not 0 <= each[1] <= PORT_MAX:
            sentences.append(f"bind has the port {each[1]}; allowed are whole numbers from 0 to {PORT_MAX}")
        elif isinstance(each, int) and not _is_socket(each):
            sentences.append(f"bind is fd://{each}; allowed is the file descriptor of an open socket")
    return sentences


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except (OSError, OverflowError):
        return False


class _TCP6Socket(sock.TCP6Socket):
    """Gunicorn's IPv6 listener, which leaves IPv4 to an IPv4 listener at the same port."""

    def bind(self, sock: Any) -> None:
        """Bind; without IPV6_V6ONLY, `[::]` takes the IPv4 addresses too and the second bind fails."""
        host, port = self.cfg_addr[:2]
        others = [each for each in self.conf.address if isinstance(each, tuple) and each[1] == port]
        if host == "::" and any(not util.is_ipv6(name) for name, _ in others):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().bind(sock)


def install(namespace: MutableMapping[str, Any], addresses: Iterable[str], port: int) -> None:
    """Set `bind` in the configuration file whose `globals()` are `namespace`.

    Gunicorn creates IPv6 listeners in addition to IPv4 ones at the same port from then on.
    """
    sock.TCP6Socket = _TCP6Socket  # type: ignore[misc] # Gunicorn has no setting for it
    namespace["bind"] = binds(addresses, port)
