"""The proxy that delays the connections of the tests."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading

import psutil
import pytest

from tests.process.delay import DelayProxy
from tests.waiting import wait_until

pytestmark = pytest.mark.fast


def test_proxy_closes_connections_that_the_server_closes_first() -> None:
    """Otherwise a load of some seconds with new connections exhausts the file descriptors."""
    count = 20
    descriptors = psutil.Process().num_fds
    before = descriptors()

    def serve(listener: socket.socket) -> None:
        for _ in range(count):
            listener.accept()[0].close()

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        DelayProxy(listener.getsockname()[1], round_trip=0.002) as proxy,
    ):
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        beside = descriptors()
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
                assert client.recv(1) == b""
        thread.join()
        wait_until(lambda: descriptors() <= beside, "the proxy's connections are closed", 10)
    wait_until(lambda: descriptors() <= before, "the proxy's own descriptors are closed", 10)


def test_stopped_proxy_closes_connections_just_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for number in range(30):
            with (
                contextlib.ExitStack() as clients,
                DelayProxy(listener.getsockname()[1], round_trip=0.004 * (number % 3)) as proxy,
            ):
                for _ in range(5):
                    client = clients.enter_context(socket.socket())
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", proxy.port))
    gc.collect()  # a socket that is left open is a warning, and so an error
