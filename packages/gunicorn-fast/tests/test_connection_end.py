"""Reads of a connection, and its end after the response, over a pair of sockets."""

from __future__ import annotations

import selectors
import socket
import tracemalloc
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from gunicorn_fast.connection import LINGER_BYTES, RECEIVE_BYTES, Connection


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Return a connection of the worker, and the client's end."""
    client, server = socket.socketpair()
    server.setblocking(False)
    with client, server:
        yield Connection(Config(), server, ("", 0), ("", 0)), client


def test_receive_allocates_no_more_than_the_data(pair: tuple[Connection, socket.socket]) -> None:
    """A buffer for each read, shrunk to the data, would fragment the heap while the headers are kept."""
    conn, client = pair
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    client.sendall(request)
    tracemalloc.start()
    try:
        assert conn.receive()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert conn.headers == request
    assert peak < RECEIVE_BYTES  # other threads allocate, too


def test_discard_ends_when_the_client_closes(pair: tuple[Connection, socket.socket]) -> None:
    conn, client = pair
    assert not conn.discard()
    client.sendall(b"too late")
    assert not conn.discard()
    client.close()
    assert conn.discard()


def test_discard_ends_when_the_client_keeps_sending(pair: tuple[Connection, socket.socket]) -> None:
    conn, client = pair
    sent = 0
    while not conn.discarded > LINGER_BYTES:
        assert sent <= LINGER_BYTES
        sent += client.send(bytes(8192))
        done = conn.discard()
        assert done == (conn.discarded > LINGER_BYTES)
    assert done


def test_connection_leaves_the_loop_once(pair: tuple[Connection, socket.socket]) -> None:
    conn, _ = pair
    with selectors.DefaultSelector() as conn.poller:
        conn.poller.register(conn.sock, selectors.EVENT_READ)
        conn.polled = True
        conn.leave_loop()
        conn.leave_loop()
        assert not conn.poller.get_map()


@pytest.mark.timeout(10)
def test_loop_does_not_wait_for_a_blocking_socket(pair: tuple[Connection, socket.socket]) -> None:
    """The socket stays blocking between two requests, and an event may be late."""
    conn, client = pair
    conn.init()
    assert conn.sock.getblocking()
    assert not conn.receive()
    assert not conn.discard()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert conn.receive()
    assert conn.headers
