"""SIGHUP: a new configuration replaces the old one only when a worker serves with it.

Gunicorn's own reload() discards the old configuration first. A mistake in the new one then ends the master
and all workers, without a drain.
"""

from __future__ import annotations

import contextlib
import copy
import enum
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gunicorn import sock, util
from gunicorn.app.base import Application
from gunicorn.errors import HaltServer
from gunicorn.pidfile import Pidfile

from gunicorn_drain.spawn import reason_of

if TYPE_CHECKING:
    from gunicorn_drain.drain import Drain

POLL = 0.1
"""Interval between two checks whether a worker is ready or has exited, in seconds."""

CONFIGURATION = "__config__"
"""Name of the module as which Gunicorn executes its configuration file."""

REMOVED = "listeners_removed_by_reload"
"""Attribute of Gunicorn's arbiter with the listeners that the new configuration does not have."""

STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Wait(enum.Enum):
    """Reason for the end of a wait."""

    OVER = enum.auto()
    TIMEOUT = enum.auto()
    STOPPED = enum.auto()


class ReloadError(Exception):
    """A sentence about the mistake in the new configuration."""


def take_over_sighup(arbiter: Any, drain: Drain) -> None:
    """Handle SIGHUP here instead of in Gunicorn's `handle_hup`, which its main loop looks up by name.

    Gunicorn before 25 keeps its own reload: its main loop cannot be asked to wait for a worker.
    """
    if not all(hasattr(arbiter, name) for name in ("wait_for_signals", "dirty_arbiter_pid", "_stats")):
        return
    arbiter.handle_hup = partial(_handle_hup, arbiter, drain)


def _handle_hup(arbiter: Any, drain: Drain) -> None:
    if drain.draining:
        arbiter.log.warning("Reload ignored: the service is terminating")
        return
    arbiter.log.info("Hang up: %s", arbiter.master_name)
    before = _Before(arbiter, drain)
    oldest = arbiter.worker_age
    try:
        _apply(arbiter, drain)
        _start_first_worker(arbiter, drain)
    except BaseException as error:  # a configuration may raise anything, SystemExit above all
        if os.getpid() != arbiter.pid:  # a worker, which Gunicorn ends with SystemExit
            raise
        before.restore()
        arbiter.log.error(  # noqa: TRY400 - the reason is enough, Gunicorn has printed most tracebacks
            "Reload failed: %s. The service keeps serving with its old configuration; "
            "correct the new one and send SIGHUP again",
            _reason(error),
        )
        return
    before.discard()
    drain.master.when_reloaded()
    _replace_workers(arbiter, drain, oldest)


def close_removed_listeners(arbiter: Any) -> None:
    """Close the listeners that a reload removes in a new worker, which has inherited them."""
    for each in getattr(arbiter, REMOVED, ()):
        each.close()


class _Before:
    """State before a reload, of everything that a reload changes."""

    def __init__(self, arbiter: Any, drain: Drain) -> None:
        self._arbiter = arbiter
        self._drain = drain
        self._app = arbiter.app
        self._cfg = arbiter.cfg
        self._workers = arbiter.num_workers
        self._listeners = list(arbiter.LISTENERS)
        self._pidfile = arbiter.pidfile
        self._policy, self._probes = drain.policy, drain.probes
        self._environ = dict(os.environ)
        self._directory = Path.cwd()
        self._module: ModuleType | None = sys.modules.get(CONFIGURATION)

    def restore(self) -> None:
        """Restore everything; workers of the new configuration have exited."""
        os.environ.clear()
        os.environ.update(self._environ)
        os.chdir(self._directory)
        if self._module is not None:
            sys.modules[CONFIGURATION] = self._module
        self._drain.set(self._policy, self._probes)
        arbiter = self._arbiter
        for each in arbiter.LISTENERS:
            if each not in self._listeners:
                each.close()
        arbiter.LISTENERS = self._listeners
        setattr(arbiter, REMOVED, [])
        if arbiter.pidfile is not self._pidfile:
            arbiter.pidfile.unlink()
            arbiter.pidfile = self._pidfile
        if arbiter.cfg is not self._cfg or arbiter.log.cfg is not self._cfg:
            arbiter.setup(self._app)
            arbiter.num_workers = self._workers  # SIGTTIN and SIGTTOU change it

    def discard(self) -> None:
        """Close listeners and remove the PID file that the new configuration does not use any more."""
        arbiter = self._arbiter
        for each in getattr(arbiter, REMOVED):
            each.close()
        setattr(arbiter, REMOVED, [])
        if self._listeners != arbiter.LISTENERS:
            arbiter.log.info("Listening at: %s", ",".join(map(str, arbiter.LISTENERS)))
        if self._pidfile is not None and arbiter.pidfile is not self._pidfile:
            self._pidfile.unlink()


def _apply(arbiter: Any, drain: Drain) -> None:
    """Read the configuration, check it and apply it to new workers."""
    module = sys.modules.get(CONFIGURATION)
    file = getattr(module, "__file__", None)
    if file is not None and not Path(file).exists():  # Gunicorn would continue with its defaults
        raise ReloadError(f"{file} does not exist any more")
    old = arbiter.cfg
    for name in old.env:
        os.environ.pop(name, None)
        if name in old.env_orig:
            os.environ[name] = old.env_orig[name]
    app = copy.copy(arbiter.app)
    app.reload()
    cfg = app.cfg
    if sentences := drain.refusals(cfg):
        raise ReloadError("; ".join(sentences))
    before = arbiter.LISTENERS
    arbiter.LISTENERS = _listeners(arbiter, cfg)
    setattr(arbiter, REMOVED, [each for each in before if each not in arbiter.LISTENERS])
    arbiter.log.setup(cfg)  # Gunicorn's setup() hides mistakes in the log's configuration
    arbiter.setup(app)
    arbiter.log.reopen_files()
    if cfg.pidfile != old.pidfile:
        arbiter.pidfile = None
        if cfg.pidfile is not None:
            pidfile = Pidfile(cfg.pidfile)
            pidfile.create(arbiter.pid)
            arbiter.pidfile = pidfile
    cfg.on_reload(arbiter)


def _listeners(arbiter: Any, cfg: Any) -> list[Any]:
    """Return the listeners for `cfg`: those that exist already, and new ones."""
    addresses = cfg.address
    if addresses == arbiter.cfg.address or cfg.reuse_port:
        return list(arbiter.LISTENERS)
    existing = {_address(each.cfg_addr): each for each in arbiter.LISTENERS}
    found: list[Any] = []
    for address in addresses:
        try:
            found.append(existing.get(address) or _listener(address, cfg, arbiter.log))
        except (OSError, ValueError, ReloadError) as error:
            for each in found:
                if each not in arbiter.LISTENERS:
                    each.close()
            text = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ReloadError(f"bind is {_shown(address)}: {text}") from error
    return found


def _address(address: Any) -> Any:
    # The address of an inherited IPv6 socket has two more numbers.
    return address[:2] if isinstance(address, tuple) else address


def _shown(address: Any) -> str:
    return f"{address[0]} port {address[1]}" if isinstance(address, tuple) else str(address)


def _listener(address: Any, cfg: Any, log: Any) -> Any:
    if isinstance(address, int):
        raise ReloadError("a file descriptor can only be used from the start on")
    kind: type[sock.BaseSocket]
    if isinstance(address, tuple):
        kind = sock.TCP6Socket if util.is_ipv6(address[0]) else sock.TCPSocket
    else:
        kind = sock.UnixSocket
    return kind(address, cfg, log)


def _start_first_worker(arbiter: Any, drain: Drain) -> None:
    """Start a worker with the new configuration and wait until it is ready."""
    pid = arbiter.spawn_worker()
    worker = arbiter.WORKERS[pid]
    if not hasattr(worker, "drain_slot"):
        _end_worker(arbiter, pid, arbiter.cfg.graceful_timeout)
        raise ReloadError("the drain's pre_fork hook failed; the lines above say why")
    try:
        end = _wait_until(
            arbiter,
            drain,
            lambda: pid not in arbiter.WORKERS or drain.master.has_booted(worker),
            # A worker's first heartbeat comes when it is ready, so Gunicorn allows no more time.
            arbiter.timeout or float("inf"),
        )
    except HaltServer:
        if pid in arbiter.WORKERS:
            raise
        # Gunicorn's reap_workers() has raised this and skipped the rest of its work.
        end = Wait.OVER
        worker.tmp.close()
        arbiter.cfg.child_exit(arbiter, worker)
    if pid not in arbiter.WORKERS:
        raise ReloadError(f"its first worker, pid {pid}, exited before it was ready; the lines above say why")
    if end is Wait.STOPPED:
        if not (drain.draining and drain.master.has_booted(worker)):
            _end_worker(arbiter, pid, arbiter.cfg.graceful_timeout if drain.draining else 0)
        raise ReloadError(f"its first worker, pid {pid}, was not ready yet when the service had to stop")
    if end is Wait.TIMEOUT:
        _end_worker(arbiter, pid, arbiter.cfg.graceful_timeout)
        raise ReloadError(f"its first worker, pid {pid}, was not ready within {arbiter.timeout} s")


def _end_worker(arbiter: Any, pid: int, seconds: float) -> None:
    """Terminate a worker that is not ready and wait for its exit; kill the worker after `seconds`.

    Otherwise Gunicorn would count one worker too many, and end an old one.
    """
    deadline = time.monotonic() + seconds
    number = signal.SIGTERM
    while pid in arbiter.WORKERS:
        if time.monotonic() >= deadline:
            number = signal.SIGKILL
        arbiter.kill_worker(pid, number)
        time.sleep(POLL / 10)
        with contextlib.suppress(HaltServer):  # the worker could not boot
            arbiter.reap_workers()


def _replace_workers(arbiter: Any, drain: Drain, oldest: int) -> None:
    """Start the other workers, and retire the workers that are not younger than `oldest`."""
    try:
        for _ in range(arbiter.num_workers - 1):
            arbiter.spawn_worker()
    except Exception as error:
        if os.getpid() != arbiter.pid:
            raise
        # The old workers give back the resources that a new one lacked; then Gunicorn's main loop starts
        # the missing ones.
        arbiter.log.error(  # noqa: TRY400 - the reason is enough
            "A worker could not be started; the old workers retire first: %s", reason_of(error)
        )
        for pid, worker in list(arbiter.WORKERS.items()):
            if worker.age <= oldest:
                arbiter.kill_worker(pid, signal.SIGTERM)
    else:
        arbiter.manage_workers()
    util._setproctitle(f"master [{arbiter.proc_name}]")  # type: ignore[attr-defined] # no public name does this
    arbiter._stats["reloads"] += 1
    arbiter.log.info("Reload succeeded: %d workers started, the old ones retire", arbiter.num_workers)
    if arbiter.dirty_arbiter_pid:
        arbiter.kill_dirty_arbiter(signal.SIGHUP)
    # Gunicorn's main loop sends another SIGTERM to workers that still run, which cuts short a stop of stock
    # workers. A drain of the whole service does not wait for them here.
    _wait_until(
        arbiter,
        drain,
        lambda: all(each.age > oldest for each in arbiter.WORKERS.values()),
        arbiter.cfg.graceful_timeout,
    )


def _wait_until(arbiter: Any, drain: Drain, over: Callable[[], bool], seconds: float) -> Wait:
    """Wait until `over` returns true, for `seconds` at most and not longer than the service may run.

    Signals that arrive meanwhile are queued for Gunicorn's main loop.
    """
    arrived: list[int] = []
    deadline = time.monotonic() + seconds
    try:
        while not over():
            if drain.draining or STOPS.intersection(arrived):
                return Wait.STOPPED
            if time.monotonic() > deadline:
                return Wait.TIMEOUT
            arrived += [each for each in arbiter.wait_for_signals(POLL) if each != signal.SIGCHLD]
            arbiter.reap_workers()
            arbiter.murder_workers()
        return Wait.OVER
    finally:
        for each in (*arrived, signal.SIGCHLD):
            arbiter.signal(each, None)


def _reason(error: BaseException) -> str:
    """Return the error in one line, with its place in the configuration."""
    # Gunicorn, and the service's settings, report an error on stderr and exit.
    while isinstance(error, SystemExit) and (earlier := error.__context__ or error.__cause__) is not None:
        error = earlier
    lines = [line.strip() for line in str(error).splitlines() if line.strip("] ")]
    if any(line.startswith("[Traceback") for line in lines):  # Gunicorn's load_class()
        lines = [f"{lines[0].rstrip(': ')}: {lines[-1]}"]
    text = "; ".join(lines).rstrip(".")
    if isinstance(error, ReloadError):
        return text
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    trace = error.__traceback__
    line = 0
    while trace is not None:
        frame, number = trace.tb_frame, trace.tb_lineno
        if frame.f_globals.get("__name__") == CONFIGURATION:
            line = number
        elif frame.f_code is Application.load_config_from_module_name_or_filename.__code__:
            setting, value = frame.f_locals.get("k"), frame.f_locals.get("v")
            if setting is not None:  # of the loop over all settings, which the error ended
                text = f"{setting} is {value!r}: {text}"
        trace = trace.tb_next
    return f"{text} (line {line} of the configuration)" if line else text
