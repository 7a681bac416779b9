"""Requirements of the drain: versions of Gunicorn, worker classes, settings."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import gunicorn
from gunicorn import util
from gunicorn.config import Config

OLDEST = (20, 1)
"""Oldest version of Gunicorn with which the drain is tested."""

ASGI = {
    "gunicorn.workers.gasgi.ASGIWorker",
    "uvicorn_worker._workers.UvicornWorker",
    "uvicorn.workers.UvicornWorker",
}
"""Worker classes, subclasses included, of ASGI applications."""

HOOKED = {
    "gunicorn.workers.sync.SyncWorker",
    "gunicorn.workers.base_async.AsyncWorker",  # gevent and eventlet
    "gunicorn.workers.gthread.ThreadWorker",
}
"""Worker classes, subclasses included, that call the hooks of each request of a WSGI application."""

EVENTLET = "gunicorn.workers.geventlet.EventletWorker"

TORNADO = {"gunicorn.workers.gtornado.TornadoWorker"}
"""Worker classes, subclasses included, of tornado's server."""


def unsupported_version(version: str) -> str | None:
    """Return a sentence about a version of Gunicorn that is too old, else None."""
    numbers = tuple(int(number) for number in re.findall("[0-9]+", version)[:2])
    if numbers >= OLDEST:
        return None
    return f"Gunicorn is {version}; allowed is {'.'.join(map(str, OLDEST))} or newer"


def unknown_worker_class(worker_class: Any, later: Sequence[str] = ()) -> str | None:
    """Return a sentence about a `worker_class` that is none, else None. Gunicorn would print a traceback.

    `later`: directories that Gunicorn adds to sys.path later. A class of a module in one of them may exist.
    """
    try:
        found = util.load_class(worker_class)
    except (RuntimeError, AttributeError) as error:  # a RuntimeError has the traceback of the import as text
        if PathFinder.find_spec(worker_class.partition(".")[0], later) is not None:
            return None
        reason = str(error).rstrip("]\n").rpartition("\n")[2]
        return f"worker_class is {worker_class!r}, which cannot be loaded: {reason}"
    return None if inspect.isclass(found) else f"worker_class is {worker_class!r}, which is not a class"


def refusals(cfg: Config) -> list[str]:
    """Return a sentence for each setting of Gunicorn with which requests would be lost in a drain."""
    worker_class = cfg.worker_class
    if getattr(worker_class, "server_class", None) is not None:
        return [
            f"worker_class is {worker_class.__module__}.{worker_class.__qualname__}, whose server, "
            "gevent.pywsgi, calls no hooks of a request; allowed is gevent"
        ]
    if _names(worker_class) & (HOOKED | ASGI | TORNADO):
        return []
    return [
        f"worker_class is {worker_class.__module__}.{worker_class.__qualname__}, which does not report its "
        "requests; allowed are gthread, sync, gevent, eventlet, tornado, asgi, uvicorn_worker.UvicornWorker "
        "and classes derived from them"
    ]


def restrictions(cfg: Config, send_timeout: float | None) -> list[str]:
    """Return a sentence for each part of the drain that these settings leave without effect."""
    sentences = []
    worker_class = cfg.worker_class
    if cfg.reuse_port:
        sentences.append(
            "reuse_port is on, so the drain cannot observe connections that wait in the accept queues"
        )
    if send_timeout is not None and _names(worker_class) & (ASGI | TORNADO):
        sentences.append(f"send_timeout has no effect with {worker_class.__qualname__}")
    return sentences


LOOP = "drain_loop"
"""Attribute of a uvicorn worker with its event loop."""


def stop_accepting(worker: Any) -> None:
    """Stop accepting, if the worker would lose new connections at its exit; other workers accept them.

    gthread before Gunicorn 25 closes connections that it has accepted and not read; so do uvicorn and, in a
    loop that a request blocks, tornado. Called from another thread than the loop's; safe to call again.
    """
    if is_tornado(type(worker)):
        worker.ioloop.add_callback(worker.server.stop)
        return
    if (loop := getattr(worker, LOOP, None)) is not None:
        for listener in worker.sockets:
            loop.call_soon_threadsafe(_remove_reader, loop, listener)
        return
    poller = getattr(worker, "poller", None)
    if poller is None or gunicorn.version_info >= (25,):
        return
    for listener in worker.sockets:
        with contextlib.suppress(KeyError, ValueError, OSError):
            poller.unregister(listener)


def _remove_reader(loop: Any, listener: Any) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed: the server has stopped meanwhile
        loop.remove_reader(listener)


def start_successor_as_module(arbiter: Any) -> None:
    """Let SIGUSR2 start `python -m gunicorn` again, if this master was started so.

    Gunicorn executes its __main__.py as a script then: Python's path begins with Gunicorn's directory, whose
    package `http` takes the place of the standard library's.
    """
    arguments = arbiter.START_CTX["args"]
    if [Path(each) for each in arguments[1:2]] == [Path(gunicorn.__file__).with_name("__main__.py")]:
        arguments[1:2] = ["-m", "gunicorn"]


def keep_listener_names(worker: Any) -> None:
    """Let an eventlet worker serve the connections that it has accepted last.

    The worker closes its listeners when it stops, and then reads the address of one for each connection that
    it has accepted and not begun to serve. The error would end that connection.
    """
    if EVENTLET not in _names(type(worker)):
        return
    handle = worker.handle
    names: dict[int, _Named] = {}

    def handle_named(listener: Any, client: Any, address: Any) -> Any:
        if id(listener) not in names:
            names[id(listener)] = _Named(listener)
        return handle(names[id(listener)], client, address)

    worker.handle = handle_named


class _Named:
    """Address of a listener, all that Gunicorn reads of it for a connection."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener  # kept, because its id must not be reused
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name


def is_asgi(worker_class: type) -> bool:
    """Return whether workers of this class serve ASGI applications."""
    return bool(_names(worker_class) & ASGI)


def is_tornado(worker_class: type) -> bool:
    """Return whether workers of this class run tornado's server."""
    return bool(_names(worker_class) & TORNADO)


def _names(worker_class: type) -> set[str]:
    return {f"{each.__module__}.{each.__qualname__}" for each in worker_class.__mro__}
