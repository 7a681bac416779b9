"""The worker's part of a drain: boot, count requests, announce closes, retire."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from gunicorn_drain.http2 import announce_close
from gunicorn_drain.master import TICK
from gunicorn_drain.open_files import limit_connections
from gunicorn_drain.policy import DrainPolicy, end_reason
from gunicorn_drain.probes import ProbeMatcher
from gunicorn_drain.shared import (
    LAST_SLOT,
    NANOSECONDS,
    MasterCell,
    Phase,
    SharedPage,
    StreamCounter,
    WorkerCell,
    open_streams,
    seconds_since,
    status_since,
)
from gunicorn_drain.signals import exit_at_stop_signals_after
from gunicorn_drain.support import stop_accepting

Handler = Callable[[int, FrameType | None], None]

# Integers for the cells that every request reads or writes: an enum's member takes three times as long.
PHASE = int(MasterCell.PHASE)
IN_FLIGHT = int(WorkerCell.IN_FLIGHT)
RESPONSES = int(WorkerCell.RESPONSES)
LAST_REQUEST = int(WorkerCell.LAST_REQUEST)
LAST_ARRIVAL = int(WorkerCell.LAST_ARRIVAL)

logger = logging.getLogger("gunicorn.error")


class Worker:
    """Gunicorn's hooks in the worker processes."""

    def __init__(self, page: SharedPage) -> None:
        self.policy: DrainPolicy | None = DrainPolicy()
        self.probes = ProbeMatcher()
        self.retiring_since = 0
        """Time at which this worker alone was asked to terminate, in monotonic nanoseconds; 0 before."""
        self.prepared = False
        """True once every part of the drain works in this process. An ASGI worker becomes ready by itself."""
        self._page = page
        self._master = page.master
        self._slot = page.slot(LAST_SLOT)
        self._lock = threading.Lock()
        self._retired = False
        self._faults: set[str] = set()
        self._gunicorn_worker: Any = None
        self._on_request: Callable[[Any], object] | None = None

    @property
    def booted(self) -> bool:
        """True from the moment at which this process can serve."""
        return bool(self._slot[WorkerCell.BOOTED])

    def mark_ready(self) -> None:
        """Record that this process can serve."""
        self._slot[WorkerCell.BOOTED] = 1

    @property
    def blocked(self) -> bool:
        """True while requests wait and no thread of this worker becomes free."""
        return bool(self._slot[WorkerCell.BLOCKED])

    @blocked.setter
    def blocked(self, blocked: bool) -> None:
        self._slot[WorkerCell.BLOCKED] = int(blocked)

    @property
    def seconds_since_request(self) -> float:
        """Seconds since a client request last began or ended in this worker."""
        return seconds_since(self._slot[WorkerCell.LAST_REQUEST])

    def count_stalled(self) -> None:
        """Count a response that its client did not read."""
        self._slot[WorkerCell.STALLED] += 1

    @property
    def connections_max(self) -> int:
        """Gunicorn's `worker_connections`; 0 in a process that is no worker of Gunicorn."""
        return 0 if self._gunicorn_worker is None else int(self._gunicorn_worker.cfg.worker_connections)

    def count_stream(self, kind: str, counter: StreamCounter, change: int) -> None:
        """Change a counter of this process's streams."""
        cell = self._page.stream_cell(kind, counter)
        with self._lock:
            self._slot[cell] += change

    # ---- boot ------------------------------------------------------------------------------------------

    def post_fork(self, server: Any, worker: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Take the worker's slot and set its signals (Gunicorn's hook)."""
        self._slot = self._page.slot(worker.drain_slot)
        self._lock = threading.Lock()
        if self.policy is None:
            return
        limit_connections(worker)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # A SIGTERM or SIGINT for the whole process group is the master's to act on.
        os.setpgrp()
        # Gunicorn looks both up a little later, right before the application loads.
        worker.handle_exit = partial(self.on_sigterm, worker.handle_exit)
        worker.init_signals = partial(exit_at_stop_signals_after, worker.init_signals)

    def post_worker_init(self, worker: Any) -> None:
        """Restore Gunicorn's signal handlers; the application is loaded (Gunicorn's hook)."""
        if self.policy is not None:
            signal.signal(signal.SIGQUIT, worker.handle_quit)
            signal.signal(signal.SIGTERM, worker.handle_exit)
            signal.siginterrupt(signal.SIGTERM, False)
        self._gunicorn_worker = worker

    # ---- requests --------------------------------------------------------------------------------------

    def count_in(self) -> None:
        """Count a client request that begins."""
        slot = self._slot
        with self._lock:
            slot[IN_FLIGHT] += 1
            slot[LAST_REQUEST] = now = time.monotonic_ns()
            if self._master[PHASE]:
                slot[LAST_ARRIVAL] = now

    def count_out(self) -> None:
        """Count a client request whose response was sent."""
        slot = self._slot
        with self._lock:
            slot[IN_FLIGHT] -= 1
            slot[LAST_REQUEST] = time.monotonic_ns()
            if self._master[PHASE]:
                slot[RESPONSES] += 1

    def worker_abort(self, worker: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Leave the requests in flight to be counted as aborted: the worker ends (Gunicorn's hook).

        A sync worker that the master ends after its timeout calls post_request for the request that it
        serves, although its client gets no response, or from Gunicorn 22 on a 500.
        """
        vars(self)["count_out"] = lambda: None

    @contextmanager
    def guarded(self, part: str) -> Iterator[None]:
        """Log a fault of the drain in the block once, and continue: a request must not fail because of it."""
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever it is
            self.log_once(part)

    def leave_requests_to(self, on_request: Callable[[Any], object]) -> None:
        """Let a middleware count requests and announce closes; hooks call `on_request` for each request."""
        self._on_request = on_request

    def pre_request(self, worker: Any, req: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Count a request in, and let its response announce the close (Gunicorn's hook)."""
        try:
            if self._on_request is not None:
                self._on_request(req)
                return
            if self.policy is not None:
                req.should_close = partial(self._should_close, req)
            if self.probes.matches(req):
                return
            self.count_in()
            req.is_client_request = True
        except Exception:  # noqa: BLE001 - the request must not fail because of the drain
            self.log_once("pre_request")

    def post_request(self, worker: Any, req: Any, environ: Any = None, resp: Any = None) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Count a request out (Gunicorn's hook)."""
        if self._on_request is not None:
            return
        try:
            attributes = req.__dict__
            attributes.pop("should_close", None)
            if self.retiring_since or self._master[PHASE]:
                announce_close(req)
            if not attributes.pop("is_client_request", False):
                return
            self.count_out()
        except Exception:  # noqa: BLE001 - as above
            self.log_once("post_request")

    def _should_close(self, req: Any) -> bool:
        """Replace a request's should_close() until Gunicorn calls it to write the headers.

        So a request that began before the drain announces the close too. Called once only: Gunicorn calls it
        again after the response, and a drain that began in between must not close a connection that was kept.
        """
        req.__dict__.pop("should_close", None)
        try:
            if self.retiring_since or self._master[PHASE]:
                if not hasattr(req, "force_close"):  # before Gunicorn 22
                    req.should_close = lambda: True
                else:
                    req.force_close()
        except Exception:  # noqa: BLE001 - as above
            self.log_once("should_close")
        return bool(req.should_close())

    def log_once(self, hook: str) -> None:
        """Log the exception that is being handled, once for each `hook`."""
        if hook not in self._faults:
            self._faults.add(hook)
            logger.exception("The drain's %s hook failed; requests are served without it", hook)

    # ---- retirement of one worker ------------------------------------------------------------------------

    def on_sigterm(self, handle_exit: Handler, sig: int, frame: FrameType | None) -> None:
        """Retire before `handle_exit` is called, unless the whole service has drained."""
        if self._retired or self._master[PHASE] == Phase.STOPPING:
            handle_exit(sig, frame)
        elif not self.retiring_since:
            # The master continues without this worker (a reload, one worker fewer): its clients are notified
            # as in a drain of the whole service, while the other workers take new connections.
            self.retiring_since = time.monotonic_ns()
            # Not threading.Thread: its start() takes a lock whose holder this signal may have
            # interrupted, and waits, which gevent cannot do in a signal handler.
            try:
                _thread.start_new_thread(self._retire, ())
            except RuntimeError:  # no thread can be started
                self._retired = True
                handle_exit(sig, frame)

    def _retire(self) -> None:
        policy = self.policy or DrainPolicy()
        while not self._retired:
            try:
                self._retired = self._is_over(policy)
            except Exception:  # noqa: BLE001 - requests in flight must not be lost
                self.log_once("retirement")
                self._retired = time.monotonic_ns() - self.retiring_since > policy.maximum * NANOSECONDS
            time.sleep(TICK)
        # A signal and not a call, because a signal wakes every kind of worker from its wait.
        os.kill(os.getpid(), signal.SIGTERM)

    def _is_over(self, policy: DrainPolicy) -> bool:
        """Return whether this worker may stop."""
        if time.monotonic_ns() - self.retiring_since > policy.minimum * NANOSECONDS:
            stop_accepting(self._gunicorn_worker)
        status = status_since(
            self.retiring_since,
            last_request=self._slot[LAST_REQUEST],
            in_flight=self._slot[IN_FLIGHT],
            backlog=0,  # the other workers accept the connections that wait there
            streams=open_streams(self._slot),
        )
        return end_reason(policy, status) is not None
