"""Reserved ports, which the kernel assigns to no other program, also while many tests run at once."""

from __future__ import annotations

import socket

_kept: list[socket.socket] = []


def reservation() -> socket.socket:
    """Reserve a TCP port of 127.0.0.1 until the returned socket is closed.

    The socket is bound and never listens. While it is open, the kernel assigns its port to no program that
    requests any free port, neither to listen on nor to connect from. A server that names the port and sets
    SO_REUSEADDR can bind it and listen; before and after that, connections are refused.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def port_of(reserved: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    return int(reserved.getsockname()[1])


def reserve_port() -> int:
    """Reserve a port until this process ends."""
    _kept.append(reservation())
    return port_of(_kept[-1])
