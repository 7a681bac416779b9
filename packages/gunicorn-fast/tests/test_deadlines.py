"""Timeouts of waiting connections: their order, their end, and room for new ones. No Gunicorn, no sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gunicorn_fast.deadlines import (
    EXPIRED_AT_ONCE,
    GIVE_WAY,
    LARGE_HEADERS,
    STOP_LINGER,
    DeadlineQueue,
    Deadlines,
    HeaderQueue,
)


class Client:
    """A connection that waits."""

    def __init__(self) -> None:
        self.since = self.timeout = 0.0
        self.queue: DeadlineQueue[Any] = DeadlineQueue()


class Loop:
    """Deadlines, the connections that they have closed, and the callbacks that they have deferred."""

    def __init__(self) -> None:
        self.closed: list[Client] = []
        self.deferred: list[Callable[[], None]] = []
        self.deadlines: Deadlines[Client] = Deadlines(self.closed.append, self.deferred.append)

    def wait(self, name: str, seconds: float, since: float = 0.0) -> Client:
        """Add a client to the queue `name`, with the beginning of its wait moved by `since`."""
        client = Client()
        self.deadlines.wait(client, getattr(self.deadlines, name), seconds)
        client.since += since
        return client


QUEUES = ["idle", "unused", "partial", "lingering"]


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.mark.parametrize("name", QUEUES)
def test_connection_is_closed_after_its_timeout_and_not_before(loop: Loop, name: str) -> None:
    expired, waits = loop.wait(name, -1.0), loop.wait(name, 60.0)
    loop.deadlines.expire()
    assert loop.closed == [expired]
    assert list(waits.queue) == [waits]


def test_connections_with_the_same_timeout_are_closed_a_few_at_a_time(loop: Loop) -> None:
    """Otherwise other clients and probes wait until thousands are closed."""
    count = 4 * EXPIRED_AT_ONCE + 1
    clients = {loop.wait(QUEUES[number % len(QUEUES)], -1.0) for number in range(count)}
    for _ in range(2):  # a second check in between must not start again
        loop.deadlines.expire()
        assert (len(loop.closed), len(loop.deferred)) == (EXPIRED_AT_ONCE, 1)
    while loop.deferred:
        before = len(loop.closed)
        loop.deferred.pop()()
        assert len(loop.closed) <= before + EXPIRED_AT_ONCE
    assert set(loop.closed) == clients
    late = loop.wait("idle", -1.0)
    loop.deadlines.expire()
    assert loop.closed[-1] is late


def test_stop_shortens_the_timeouts_of_silent_connections(loop: Loop) -> None:
    before = loop.wait("unused", 60.0)
    loop.deadlines.stop()
    after = [loop.wait(name, 60.0) for name in QUEUES if name != "partial"]
    now = time.monotonic()
    assert all(client.timeout <= now + STOP_LINGER for client in [before, *after])


def test_stop_keeps_the_timeouts_of_requests_whose_headers_have_begun(loop: Loop) -> None:
    began = time.monotonic()
    before = loop.wait("partial", 60.0)
    loop.deadlines.stop()
    after = loop.wait("partial", 60.0)
    assert min(before.timeout, after.timeout) >= began + 60.0


@pytest.mark.parametrize("name", ["unused", "partial", "lingering"])
def test_oldest_silent_connection_makes_room(loop: Loop, name: str) -> None:
    old, _ = loop.wait(name, 60.0, since=-GIVE_WAY - 1), loop.wait(name, 60.0, since=-GIVE_WAY)
    loop.deadlines.make_room()
    assert loop.closed == [old]


def test_young_and_idle_connections_do_not_make_room(loop: Loop) -> None:
    for name in QUEUES:
        loop.wait(name, 60.0)
    loop.wait("idle", 60.0, since=-GIVE_WAY - 1)  # its client has been served, and may be about to send again
    loop.deadlines.make_room()
    assert loop.closed == []


def test_header_queue_counts_large_headers_that_are_incomplete() -> None:
    queue: HeaderQueue[Client] = HeaderQueue()
    small, first, second = Client(), Client(), Client()
    for client in (small, first, second):
        queue.append(client)
    queue.grow(small, LARGE_HEADERS)
    queue.grow(first, LARGE_HEADERS + 1)
    queue.grow(second, LARGE_HEADERS + 2)
    queue.grow(first, LARGE_HEADERS + 3)
    assert (list(queue.large), queue.large_total) == ([first, second], 2 * LARGE_HEADERS + 5)
    queue.remove(second)
    assert queue.large_total == LARGE_HEADERS + 3
    assert [queue.popleft(), queue.popleft()] == [small, first]
    assert (queue.large, queue.large_total) == ({}, 0)


def test_deadline_queue_keeps_the_order_and_removes_from_the_middle() -> None:
    first, second, third = (type(name, (), {})() for name in "abc")
    queue: DeadlineQueue[Any] = DeadlineQueue()
    for each in (first, second, third):
        queue.append(each)
    queue.remove(second)
    assert list(queue) == [first, third]
    assert (queue[0], queue.popleft(), len(queue)) == (first, first, 1)


def test_deadline_queue_finds_a_connection_without_comparisons() -> None:
    comparisons = 0

    class Compared:
        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return self is other

        __hash__ = object.__hash__

    connections: list[Any] = [Compared() for _ in range(1000)]
    queue: DeadlineQueue[Any] = DeadlineQueue()
    for each in connections:
        queue.append(each)
    for each in reversed(connections):
        queue.remove(each)
    assert (len(queue), comparisons) == (0, 0)
