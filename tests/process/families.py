"""Network namespaces and system call filters, which imitate a machine with one IP family only."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import pytest

T = TypeVar("T")

CLONE_NEWNET = 0x40000000

SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
"""Number of the system call socket(), by machine."""

libc = ctypes.CDLL(None, use_errno=True)


def namespace(*commands: str) -> Sequence[str]:
    """Return a command prefix for a network namespace in which `commands` have been run.

    Skips the test if that is not permitted.
    """
    script = "; ".join(["set -e", "ip link set lo up", *commands, 'exec "$@"'])
    prefix = ("unshare", "--net", "sh", "-c", script, "sh")
    if reason := _refused(prefix):
        pytest.skip(f"no network namespace: {reason}")
    return prefix


@cache
def _refused(prefix: Sequence[str]) -> str:
    try:
        ended = subprocess.run([*prefix, "true"], check=False, capture_output=True, text=True, timeout=30)
    except OSError as error:
        return str(error)
    return ended.stderr.strip() or f"status {ended.returncode}" if ended.returncode else ""


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def within(pid: int, function: Callable[[], T]) -> T:
    """Call `function` in the network namespace of a process. Its sockets stay in that namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:  # in a thread, which then ends: a thread keeps its namespace
        try:
            with open(f"/proc/{pid}/ns/net") as file:  # noqa: PTH123 - its descriptor is needed
                _check(libc.setns(file.fileno(), CLONE_NEWNET))
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - the error is raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def without_ipv6() -> Sequence[str]:
    """Return a command prefix with a seccomp filter that refuses IPv6 sockets as a kernel without IPv6."""
    if platform.machine() not in SOCKET_CALL:
        pytest.skip(f"the number of socket() is not known for {platform.machine()}")
    return (sys.executable, __file__)


def _refuse_ipv6() -> None:
    class Filter(ctypes.Structure):
        _fields_ = (
            ("code", ctypes.c_uint16),
            ("jt", ctypes.c_uint8),
            ("jf", ctypes.c_uint8),
            ("k", ctypes.c_uint32),
        )

    class Program(ctypes.Structure):
        _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(Filter)))

    load, jump_if_equal, end = (
        0x20,
        0x15,
        0x06,
    )  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET
    refuse, allow = 0x00050000, 0x7FFF0000  # SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
    filters = (Filter * 6)(
        Filter(load, 0, 0, 0),  # number of the system call
        Filter(jump_if_equal, 0, 3, SOCKET_CALL[platform.machine()]),
        Filter(load, 0, 0, 16),  # first argument of the system call
        Filter(jump_if_equal, 0, 1, socket.AF_INET6),
        Filter(end, 0, 0, refuse | 97),  # EAFNOSUPPORT
        Filter(end, 0, 0, allow),
    )
    program = Program(len(filters), filters)
    no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(
        set_seccomp, mode_filter, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    _refuse_ipv6()
    os.execvp(sys.argv[1], sys.argv[1:])
