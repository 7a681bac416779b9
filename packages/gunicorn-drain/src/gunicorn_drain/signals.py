"""Signals around a fork: a worker that boots must neither miss nor mishandle a signal to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT)
"""Signals by which Gunicorn's master stops its workers, gracefully and at once."""


def exit_at_stop_signals() -> None:
    """Let the kernel end this process at the first of STOP_SIGNALS: a Python handler may run late.

    A handler waits for the interpreter, which may be in a C function for as long as an import takes, and
    which a signal right before does not wake (gevent's loop). An exception from a handler may be swallowed
    (in a weak reference's callback) or be taken for the application's failure (from __set_name__).
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def exit_at_stop_signals_after(init_signals: Callable[[], None]) -> None:
    """Call a worker's `init_signals`, and let STOP_SIGNALS end the worker at once until it is ready."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    init_signals()
    exit_at_stop_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, held)


class ForkGuard:
    """Guard that blocks STOP_SIGNALS in the master around each fork.

    Gunicorn sends a worker SIGTERM or SIGQUIT once, and a new worker misses an early signal: Python drops it
    (PyOS_AfterFork_Child), or the inherited handler of the master queues it. A blocked signal waits in the
    kernel.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._held: set[int | signal.Signals] | None = None
        os.register_at_fork(
            before=self._block, after_in_parent=self._unblock, after_in_child=self._exit_at_stop_signals
        )

    def _block(self) -> None:
        if os.getpid() == self._pid:
            self._held = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def _exit_at_stop_signals(self) -> None:
        if self._held is not None:
            exit_at_stop_signals()
            self._unblock()

    def _unblock(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
