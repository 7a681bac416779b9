"""Linux' TCP_INFO of a socket: length of the accept queue, and bytes that a client has acknowledged."""

from __future__ import annotations

import socket
import struct
from typing import Any, NamedTuple

OPTION = getattr(socket, "TCP_INFO", None)  # not on macOS
SIZE = 148
"""Size of Linux' struct tcp_info up to the last member that is read here. Linux 4.6 has it."""


class TcpInfo(NamedTuple):
    """Members of struct tcp_info (linux/tcp.h)."""

    acknowledged: int
    """Bytes that the peer has acknowledged."""
    in_flight: int
    """Segments that are sent and not acknowledged; of a listening socket the length of its accept queue."""
    not_sent: int
    """Bytes that wait to be sent."""


def tcp_info(sock: Any) -> TcpInfo | None:
    """Read TCP_INFO; None for a Unix or closed socket, and on a platform without it."""
    if OPTION is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, OPTION, SIZE)
    except (OSError, AttributeError):
        return None
    if len(info) < SIZE:
        return None
    # tcpi_bytes_acked, tcpi_unacked and tcpi_notsent_bytes
    return TcpInfo(
        *(struct.unpack_from(kind, info, at)[0] for kind, at in (("Q", 120), ("I", 24), ("I", 144)))
    )


def backlog_of(listener: Any) -> int:
    """Return the number of connections in a listener's accept queue; 0 if the kernel does not report it.

    Gunicorn's listeners have a get_backlog() since 24 only; this asks the kernel in every version.
    """
    sock = getattr(listener, "sock", None)
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return 0
    info = tcp_info(sock)
    return 0 if info is None else info.in_flight
