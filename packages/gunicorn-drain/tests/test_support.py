"""gunicorn_drain.support: additions to workers that would lose connections when they stop."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

from gunicorn_drain.support import EVENTLET, LOOP, keep_listener_names, stop_accepting


class Worker:
    def __init__(self) -> None:
        self.served: list[Any] = []

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        self.served.append(listener.getsockname())


def eventlet_worker() -> Any:
    module, _, name = EVENTLET.rpartition(".")
    return type(name, (Worker,), {"__module__": module})()


def test_eventlet_worker_serves_connections_accepted_before_the_close_of_its_listener() -> None:
    worker = eventlet_worker()
    keep_listener_names(worker)
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        names = [first.getsockname(), second.getsockname()]
        for each in (first, second):
            worker.handle(each, None, None)
    for each in (second, first):  # closed
        worker.handle(each, None, None)
    assert worker.served == [*names, *reversed(names)]


def test_other_workers_are_unchanged() -> None:
    worker = Worker()
    keep_listener_names(worker)
    assert "handle" not in vars(worker)


def test_uvicorn_worker_that_has_closed_its_listeners_can_be_stopped_again() -> None:
    """Gunicorn sends SIGTERM again to a worker that still runs."""
    errors: list[object] = []

    async def stop_twice() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        listener = socket.create_server(("127.0.0.1", 0))
        loop.add_reader(listener, print)
        worker = SimpleNamespace(sockets=[listener], **{LOOP: loop})
        stop_accepting(worker)
        await asyncio.sleep(0)
        assert not loop.remove_reader(listener)
        listener.close()
        stop_accepting(worker)
        await asyncio.sleep(0)

    asyncio.run(stop_twice())
    assert errors == []
