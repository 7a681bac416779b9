"""Starlette, FastAPI and Django with the drain, in Gunicorn's ASGI worker and in uvicorn's."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from wsproto.events import TextMessage

from gunicorn_drain.asgi import SERVICE_RESTART
from tests.process.clients import Connection, Crowd, Kind
from tests.process.plain import DJANGO_PROJECT
from tests.process.service import Service
from tests.process.streams import EventStream, Socket
from tests.waiting import wait_until

WORKER_CLASSES = ("asgi", "uvicorn_worker.UvicornWorker")

COMMON = """
import asyncio, contextlib, pathlib, sys

async def released():
    while not pathlib.Path("release").exists():
        await asyncio.sleep(0.05)

async def parts():
    for _ in range(20):
        await asyncio.sleep(0.1)
        yield b"x\\n\\n"

async def events(terminating):
    yield b"event: hello\\n\\n"
    await terminating.wait()
    yield b"event: bye\\n\\n"

@contextlib.asynccontextmanager
async def lifespan(application):
    print("lifespan: startup", file=sys.stderr, flush=True)
    yield
    print("lifespan: shutdown", file=sys.stderr, flush=True)
"""

STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

async def index(request):
    return JSONResponse({"message": "Hello"})

async def slow(request):
    await asyncio.sleep(0.5)
    return JSONResponse({"message": "slow"})

async def long(request):
    await released()
    return JSONResponse({"message": "long"})

async def stream(request):
    return StreamingResponse(parts())

async def sse(request):
    terminating = request.scope["gunicorn_drain.terminating"]
    return StreamingResponse(events(terminating), media_type="text/event-stream")

async def ws(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)

routes = [Route("/", index), Route("/slow", slow), Route("/long", long), Route("/stream", stream)]
routes += [Route("/sse", sse), WebSocketRoute("/ws", ws)]
application = Starlette(routes=routes, lifespan=lifespan)
"""

FASTAPI = """
from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
import time

application = FastAPI(lifespan=lifespan)

async def session():
    yield "of a dependency"

@application.get("/")
async def index(name: str = Depends(session)):
    return {"message": name}

@application.get("/slow")
def slow():  # in a thread
    time.sleep(0.5)
    return {"message": "slow"}

@application.get("/long")
async def long():
    await released()
    return {"message": "long"}

@application.get("/stream")
async def stream():
    return StreamingResponse(parts())

@application.get("/sse")
async def sse(request: Request):
    terminating = request.scope["gunicorn_drain.terminating"]
    return StreamingResponse(events(terminating), media_type="text/event-stream")

@application.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())
"""

DJANGO = (
    DJANGO_PROJECT
    + """
from django.core.asgi import get_asgi_application
from django.http import StreamingHttpResponse

application = get_asgi_application()

async def slow(request):
    await asyncio.sleep(0.5)
    return JsonResponse({"message": "slow"})

async def long(request):
    await released()
    return JsonResponse({"message": "long"})

async def stream(request):
    return StreamingHttpResponse(parts())

async def sse(request):
    terminating = request.scope["gunicorn_drain.terminating"]
    return StreamingHttpResponse(events(terminating), content_type="text/event-stream")

urlpatterns = [
    path(each.__name__ if each is not index else "", each) for each in (index, slow, long, stream, sse)
]
"""
)


@dataclass(frozen=True)
class Framework:
    """A framework's application, with the parts of ASGI that the framework itself has."""

    application: str
    has_lifespan: bool = True
    has_websockets: bool = True


FRAMEWORKS = {
    "Starlette": Framework(STARLETTE),
    "FastAPI": Framework(FASTAPI),
    "Django": Framework(DJANGO, has_lifespan=False, has_websockets=False),
}

# Pauses that leave the processor to the frameworks, which it takes to start: 40 requests per second each.
OFTEN = (0.0, 0.05)

KINDS = (
    Kind("kept", path="/", pause=OFTEN),
    Kind("new", path="/", pause=OFTEN, kept=False),
    Kind("idle", path="/", pause=(0.3, 1.0)),
    Kind("slow", path="/slow"),
    Kind("session", path="/", pause=OFTEN, session=True),
)

DRAIN: dict[str, Any] = {"DRAIN_MIN": 1, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 10}

GRACEFUL_TIMEOUT = 30
"""Gunicorn's graceful_timeout, in seconds: a stop that waits for it is distinct on a busy machine, too."""


def start(worker_class: str, application: str, directory: Path, *flags: str) -> Service:
    """Start Gunicorn with one worker, if `flags` have no other number."""
    (directory / "service.py").write_text(COMMON + application)
    (directory / "gunicorn.conf.py").write_text(
        "import gunicorn_drain\n"
        f"worker_class, graceful_timeout, keepalive = {worker_class!r}, {GRACEFUL_TIMEOUT}, 75\n"
        "gunicorn_drain.install(globals(), readiness='/ready')\n"
    )
    return Service(*flags, "service:application", directory=directory, **DRAIN)


@contextmanager
def serving(name: str, worker_class: str, directory: Path, workers: int) -> Iterator[Service]:
    """Run workers with the application of a framework."""
    with start(worker_class, FRAMEWORKS[name].application, directory, "--workers", str(workers)) as service:
        wait_until(lambda: len(service.ready("/ready").workers) == workers, "all workers")
        yield service


class Guests:
    """One client of each kind that a stop finds in the middle: long, streaming, event stream, WebSocket."""

    def __init__(self, port: int, framework: Framework, stack: ExitStack, directory: Path) -> None:
        self._release = directory / "release"
        self._events = stack.enter_context(EventStream(port, path="/sse"))
        assert self._events.part() == "event: hello"
        self._socket: Socket | None = None
        if framework.has_websockets:
            self._socket = stack.enter_context(Socket(port, path="/ws"))
            self._socket.send_event(TextMessage(data="Hello"))
            echoed = self._socket.event()
            assert isinstance(echoed, TextMessage)
            assert echoed.data == "Hello"
        self._long = stack.enter_context(Connection(port))
        self._long.send("/long")
        self._stream = stack.enter_context(EventStream(port, path="/stream"))
        assert self._stream.part() == "x"

    def are_served_to_the_end(self) -> None:
        """Check that each client gets the end of its response, or the code that asks it to reconnect."""
        # The worker has received the signal: a response that ends later announces the close.
        assert self._events.part() == "event: bye"
        assert self._events.part() is None
        self._release.touch()
        assert [self._stream.part() for _ in range(20)] == ["x"] * 19 + [None]
        if self._socket is not None:
            closed = self._socket.closed()
            self._socket.send_event(closed.response())
            assert (closed.code, closed.reason) == (SERVICE_RESTART, "service restart")
        response = self._long.response()
        assert (response.status, response.closes) == (200, True)


def assert_lifespan(service: Service, framework: Framework, *, startups: int, shutdowns: int) -> None:
    if framework.has_lifespan:
        found = service.said("lifespan: startup"), service.said("lifespan: shutdown")
        assert found == (startups, shutdowns), service.log


@pytest.mark.long
@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_drain_of_a_framework_serves_every_client_to_the_end(
    name: str, worker_class: str, tmp_path: Path
) -> None:
    framework = FRAMEWORKS[name]
    with serving(name, worker_class, tmp_path, workers=2) as service, ExitStack() as stack:
        port = service.port
        with Crowd(lambda: port, KINDS, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            guests = Guests(port, framework, stack, tmp_path)
            service.begin_drain("/ready")
            assert service.get("/").closes
            crowd.wait_for_responses(50, "traffic while draining")
            crowd.stop()
        guests.are_served_to_the_end()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        service.wait()
        assert service.said("Drain ended: quiet") == 1, service.log
        assert service.said("Stopped: every request completed") == 1, service.log
        assert_lifespan(service, framework, startups=2, shutdowns=2)


@pytest.mark.long
@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_reload_of_a_framework_serves_every_client_to_the_end(
    name: str, worker_class: str, tmp_path: Path
) -> None:
    framework = FRAMEWORKS[name]
    with serving(name, worker_class, tmp_path, workers=1) as service, ExitStack() as stack:
        port, old = service.port, set(service.workers)
        with Crowd(lambda: port, KINDS, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            guests = Guests(port, framework, stack, tmp_path)
            service.signal(signal.SIGHUP)
            wait_until(lambda: service.said("Reload succeeded") == 1, "the reload")
            guests.are_served_to_the_end()
            wait_until(lambda: not old & set(service.workers), "the exit of the old workers")
            crowd.wait_for_responses(50, "traffic after the reload")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        assert_lifespan(service, framework, startups=2, shutdowns=1)
        service.begin_drain("/ready")
        service.wait()
        assert_lifespan(service, framework, startups=2, shutdowns=2)


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_idle_connections_do_not_keep_a_lifespan_from_its_shutdown(worker_class: str, tmp_path: Path) -> None:
    with start(worker_class, STARLETTE, tmp_path) as service:
        port = service.ready("/ready").port
        with Connection(port) as idle, Connection(port):  # the second one has sent nothing
            assert idle.ask("/").status == 200
            service.begin_drain("/ready")
            assert service.wait() < GRACEFUL_TIMEOUT / 2, service.log
        assert service.said("lifespan: shutdown") == 1, service.log


BACKGROUND = (
    FASTAPI
    + """
from fastapi import BackgroundTasks

async def task():
    await released()
    print("task: over", file=sys.stderr, flush=True)

@application.get("/task")
async def begin(tasks: BackgroundTasks):
    tasks.add_task(task)
    return {"message": "begun"}
"""
)


def test_background_task_does_not_delay_the_next_request_and_ends_before_the_drain(tmp_path: Path) -> None:
    with start("asgi", BACKGROUND, tmp_path) as service:
        with Connection(service.ready("/ready").port) as connection:
            assert connection.ask("/task").status == 200
            assert connection.ask("/").status == 200
            service.begin_drain("/ready")
            enough = time.monotonic() + DRAIN["DRAIN_MIN"] + 3 * DRAIN["DRAIN_QUIET"]
            wait_until(
                lambda: time.monotonic() > enough, "the end of a drain that does not wait for the task"
            )
            assert service.said("Drain ended") == 0, service.log
            (tmp_path / "release").touch()
            service.wait()
        assert service.said("task: over") == 1, service.log
        assert service.said("Drain ended: quiet") == 1, service.log


SLOW_STARTUP = (
    """
import os, time

@contextlib.asynccontextmanager
async def lifespan(application):
    if os.path.exists("fail"):
        raise LookupError("of the startup")
    begun = time.monotonic()
    while not os.path.exists("started") or time.monotonic() < begun + 4:
        await asyncio.sleep(0.05)
    yield
    print("lifespan: shutdown", file=sys.stderr, flush=True)
"""
    + STARLETTE
)


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_worker_may_take_longer_than_its_timeout_for_the_startup_of_its_lifespan(
    worker_class: str, tmp_path: Path
) -> None:
    (tmp_path / "started").touch()
    with start(worker_class, SLOW_STARTUP, tmp_path, "--timeout", "2") as service:
        service.ready("/ready")
        assert service.said("Booting worker") == 1, service.log
        service.begin_drain("/ready")
        service.wait()


@pytest.mark.long
@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_reload_waits_for_the_startup_of_the_lifespan(worker_class: str, tmp_path: Path) -> None:
    (tmp_path / "started").touch()
    with start(worker_class, SLOW_STARTUP, tmp_path) as service:
        port, old = service.ready("/ready").port, set(service.workers)
        (tmp_path / "started").unlink()
        with Crowd(lambda: port, KINDS, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            service.signal(signal.SIGHUP)
            wait_until(lambda: len(service.workers) == 2, "a new worker")
            # For longer than the old worker would take to retire.
            wait_until(lambda: time.monotonic() > service.signalled + 3, "time for the startup")
            assert old < set(service.workers)
            assert service.said("Reload succeeded") == 0, service.log
            (tmp_path / "started").touch()
            wait_until(lambda: not old & set(service.workers), "the exit of the old worker")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        service.begin_drain("/ready")
        service.wait()


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_reload_whose_lifespan_fails_keeps_the_old_worker(worker_class: str, tmp_path: Path) -> None:
    (tmp_path / "started").touch()
    with start(worker_class, SLOW_STARTUP, tmp_path) as service:
        service.ready("/ready")
        old = service.workers
        (tmp_path / "fail").touch()
        service.signal(signal.SIGHUP)
        wait_until(lambda: service.said("Reload failed: its first worker") == 1, "the failure")
        assert service.workers == old
        assert service.get("/").status == 200
        service.begin_drain("/ready")
        assert service.process.wait(60) == 0, service.log  # the log has the lifespan's traceback
