"""Connections that wait in a listener's accept queue."""

from __future__ import annotations

import socket
import struct
from typing import Any

UNACKED_OFFSET = 24
"""Offset of `tcpi_unacked` in Linux' struct tcp_info; for a listening socket it is the queue's length."""


def backlog_of(listener: Any) -> int:
    """Return how many connections wait to be accepted; 0 where the kernel cannot tell.

    Gunicorn's listeners have a get_backlog() since 24 only; this asks the kernel in every version. A Unix
    socket, a closed one, and a platform without TCP_INFO (macOS) give 0.
    """
    tcp_info = getattr(socket, "TCP_INFO", None)
    sock = getattr(listener, "sock", None)
    if tcp_info is None or sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, tcp_info, UNACKED_OFFSET + 4)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, UNACKED_OFFSET)[0])
