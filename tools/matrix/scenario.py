"""Scenarios in which each pair of a Gunicorn version and a worker class must lose nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.process import http2
from tests.process.clients import Connection, Crowd, Kind, Response, Router, get
from tests.process.http2 import Http2Connection, create_certificate
from tests.process.service import Service
from tests.waiting import wait_until

UVICORN_WORKER = "uvicorn_worker.UvicornWorker"

UVICORN_PACKAGES = ("uvicorn==0.54.0", "uvicorn-worker==0.4.0")
"""Packages of UVICORN_WORKER."""

TORNADO_PACKAGE = "tornado==6.6.1"
"""Package of Gunicorn's tornado worker."""

DRAIN: dict[str, Any] = {"DRAIN_MIN": "1", "DRAIN_QUIET": "0.3", "DRAIN_MAX": "30"}
"""Settings of the services. Two sync workers need 9 s for 20 responses beside slow requests."""

WSGI = """
import time

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(1)
    if path == "/long":
        time.sleep(4)
    if path == "/stream":
        start_response("200 OK", [("Content-Length", "30")])
        return (time.sleep(0.1) or b"x" for _ in range(30))
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]
"""

ASGI = """
import asyncio

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert scope["type"] == "http"
    path = scope["path"]
    if path in ("/slow", "/long"):
        await asyncio.sleep(4 if path == "/long" else 1)
    parts = 30 if path == "/stream" else 1
    body = b"x" if path == "/stream" else b"Hello"
    length = str(parts * len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    for number in range(parts):
        if parts > 1:
            await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": body, "more_body": number < parts - 1})
"""

BOOTS_SLOWLY = "import time\ntime.sleep(30)\n"

KINDS = (
    Kind("busy", path="/"),
    Kind("new", path="/", kept=False),
    Kind("idle", path="/", pause=(0.3, 1.0)),
    Kind("slow", path="/slow"),
    Kind("streaming", path="/stream"),
    Kind("session", path="/", session=True),
)

HTTP2_KINDS = tuple(kind for kind in KINDS if not kind.session)


@dataclass(frozen=True)
class Pair:
    """A Gunicorn and one of its worker classes."""

    version: str
    worker_class: str
    python: str
    """Interpreter of the environment in which that version is installed."""

    @property
    def is_asgi(self) -> bool:
        """True for a class that serves ASGI applications."""
        return self.worker_class == "asgi" or "uvicorn" in self.worker_class

    @property
    def has_http2(self) -> bool:
        """True where Gunicorn itself serves HTTP/2."""
        major = int(self.version.partition(".")[0])
        return major >= 25 and self.worker_class in ("gthread", "gevent", "asgi")

    def start(
        self,
        directory: Path,
        application: str = "",
        *,
        lines: str = "",
        ask: Callable[..., Response] = get,
        **settings: str,
    ) -> Service:
        """Start the service with two workers. `lines`: more of its configuration file."""
        text = application or (ASGI if self.is_asgi else WSGI)
        (directory / "service.py").write_text(text)
        (directory / "gunicorn.conf.py").write_text(
            "import gunicorn_drain\n"
            f"worker_class, workers, graceful_timeout, keepalive = {self.worker_class!r}, 2, 8, 75\n"
            + ("threads = 16\n" if self.worker_class == "gthread" else "")
            + lines
            + "gunicorn_drain.install(globals(), readiness='/ready')\n"
        )
        return Service(
            "service:application",
            directory=directory,
            program=(self.python, "-m", "gunicorn"),
            ask=ask,
            **{**DRAIN, **settings},
        )


def loses_nothing(pair: Pair, directory: Path) -> None:
    """Drain under load: lose nothing, close nothing unannounced, finish a long request."""
    with pair.start(directory) as service:
        port = service.ready("/ready").port
        with Connection(port) as long, Crowd(lambda: port, KINDS, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            long.send("/long")
            service.begin_drain("/ready")
            assert get(port, "/").closes, "a response in the drain does not announce the close"
            crowd.wait_for_responses(20, "traffic while draining")
            crowd.stop()
            response = long.response()
            assert response.status == 200
            assert response.closes, "the response of a request from before the drain does not announce it"
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        service.wait()
        assert service.said("Drain ended: quiet") == 1, service.log
        assert service.said("Stopped: every request completed") == 1, service.log


def second_sigterm_ends_the_drain(pair: Pair, directory: Path) -> None:
    """End the drain at once by a second SIGTERM; some workers then wait 8 s for idle connections."""
    with pair.start(directory, DRAIN_MIN="20", DRAIN_MAX="20") as service:
        service.ready("/ready")
        service.begin_drain("/ready")
        service.signal(signal.SIGTERM)
        assert service.wait() < 15
        assert service.said("Drain ended: second signal") == 1, service.log


def reload_loses_nothing(pair: Pair, directory: Path) -> None:
    """Replace the workers by SIGHUP under load, and lose nothing."""
    with pair.start(directory) as service:
        port = service.ready("/ready").port
        old = set(service.workers)
        with Crowd(lambda: port, KINDS, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            service.signal(signal.SIGHUP)
            wait_until(lambda: not old & set(service.workers), "the old workers' exit", 60)
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        service.begin_drain("/ready")
        service.wait()


def boot_can_be_stopped(pair: Pair, directory: Path) -> None:
    """End the service at once by SIGTERM while the application loads."""
    application = BOOTS_SLOWLY + (ASGI if pair.is_asgi else WSGI)
    with pair.start(directory, application) as service:
        wait_until(lambda: service.said("Booting worker") == 2, "workers that boot")
        service.signal(signal.SIGTERM)
        assert service.wait() < 15


def http2_loses_nothing(pair: Pair, directory: Path) -> None:
    """Replace a service under load of HTTP/2 clients: connections that stay busy get a GOAWAY and move."""
    if not pair.has_http2:
        return
    key, certificate = create_certificate(directory)
    tls = f"http_protocols, keyfile, certfile = 'h2,h1', {str(key)!r}, {str(certificate)!r}\n"

    def start() -> Service:
        return pair.start(directory, lines=tls, ask=http2.get)

    with start() as old, start() as new:
        router = Router(old.ready("/ready").port)
        new.ready("/ready")

        def connect(port: int, streams: int = 1) -> Http2Connection:
            del port  # of the first connection; a GOAWAY is followed to where new ones lead
            return Http2Connection(lambda: router.port, streams)

        at_once = tuple(kind for kind in HTTP2_KINDS if kind.name in ("busy", "idle", "slow"))
        with (
            Crowd(lambda: router.port, HTTP2_KINDS, each=1, connect=connect) as crowd,
            Crowd(lambda: router.port, at_once, each=1, connect=partial(connect, streams=3)) as parallel,
        ):
            wait_until(lambda: crowd.everyone_served() and parallel.everyone_served(), "responses")
            with connect(0) as long:
                long.send("/long")
                old.begin_drain("/ready")
                router.switch(new.port)
                assert long.response().status == 200
                wait_until(lambda: long.closed_within(1) or long.goaways > 0, "the end of a connection")
                assert long.goaways == 1, "the connection was closed without a GOAWAY"
            old.wait()
            crowd.stop()
            parallel.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        assert (parallel.lost, parallel.unannounced) == (0, 0), str(parallel)
        assert old.said("Drain ended: quiet") == 1, old.log
        assert old.said("Stopped: every request completed") == 1, old.log
        new.begin_drain("/ready")
        new.wait()


SCENARIOS: dict[str, Callable[[Pair, Path], None]] = {
    "drain": loses_nothing,
    "second SIGTERM": second_sigterm_ends_the_drain,
    "SIGHUP": reload_loses_nothing,
    "SIGTERM while booting": boot_can_be_stopped,
    "HTTP/2": http2_loses_nothing,
}
