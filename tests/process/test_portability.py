"""The service without parts of Linux: /dev/shm, or the options that macOS does not have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from wsproto.events import CloseConnection

from app.settings import WORKER_CLASSES
from tests.process.namespaces import unshared
from tests.process.service import ROOT, Service
from tests.process.streams import EventStream, Socket

# /dev with all that Python and Gunicorn open, and no shm: as with `docker run --ipc=none` and on macOS.
WITHOUT_SHM = """
mkdir -p '{hold}/dev'
mount -t tmpfs tmpfs '{hold}/dev'
for each in null urandom random zero
do touch '{hold}/dev/'$each; mount --bind /dev/$each '{hold}/dev/'$each
done
mount --rbind '{hold}/dev' /dev
"""

READ_ONLY_SHM = "mount -t tmpfs -o ro tmpfs /dev/shm"

READ_ONLY_EVERYTHING = (
    READ_ONLY_SHM + "\nmount -t tmpfs -o ro tmpfs /tmp\nmount -t tmpfs -o ro tmpfs /var/tmp"
)

FULL_SHM = "mount -t tmpfs -o size=1m tmpfs /dev/shm"

MACHINES = {"absent": WITHOUT_SHM, "read-only": READ_ONLY_SHM, "full": FULL_SHM}

# Names of the modules that a program for Linux uses and that macOS lacks.
MACOS = """
import os, resource, select, signal, socket, time, fcntl, mmap

SOCKET = ["TCP_USER_TIMEOUT", "TCP_INFO", "TCP_KEEPIDLE", "TCP_QUICKACK", "TCP_DEFER_ACCEPT", "TCP_CORK",
    "TCP_LINGER2", "TCP_SYNCNT", "TCP_CONGESTION", "TCP_WINDOW_CLAMP", "SO_PEERCRED", "SO_BINDTODEVICE",
    "SO_DOMAIN", "SO_PROTOCOL", "SO_PRIORITY", "SO_MARK", "SO_INCOMING_CPU", "SOCK_NONBLOCK", "SOCK_CLOEXEC",
    "MSG_NOSIGNAL", "MSG_MORE", "MSG_ERRQUEUE", "AF_NETLINK", "AF_PACKET", "IP_FREEBIND"]
OS = ["sched_getaffinity", "sched_setaffinity", "pipe2", "memfd_create", "eventfd", "pidfd_open", "O_PATH",
    "O_TMPFILE", "O_DIRECT", "splice", "posix_fadvise", "posix_fallocate", "fdatasync", "copy_file_range",
    "getrandom", "getresuid", "setresuid", "prlimit", "waitid", "P_PIDFD"]
OTHERS = {resource: ["prlimit"], signal: ["sigtimedwait", "sigwaitinfo", "SIGPOLL", "SIGPWR", "SIGRTMIN",
    "SIGRTMAX", "SIGSTKFLT", "pidfd_send_signal"], time: ["CLOCK_BOOTTIME", "CLOCK_TAI"],
    fcntl: ["F_SETPIPE_SZ", "F_ADD_SEALS", "F_OFD_SETLK"], mmap: ["MAP_POPULATE", "MAP_STACK"]}
for module, names in {socket: SOCKET, os: OS, **OTHERS}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
socket.__all__ = [name for name in socket.__all__ if hasattr(socket, name)]

setrlimit, OPEN_MAX = resource.setrlimit, 10240

def refuse_more(kind, limits):
    if kind == resource.RLIMIT_NOFILE and limits[0] > OPEN_MAX:
        raise ValueError("current limit exceeds maximum limit")
    setrlimit(kind, limits)

resource.setrlimit = refuse_more
"""


def program(machine: str, hold: Path) -> tuple[str, ...]:
    return (*unshared(machine.format(hold=hold)), sys.executable, "-m", "gunicorn")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_service_without_usable_shm_serves_and_drains(
    tmp_path: Path, machine: str, worker_class: str
) -> None:
    (tmp_path / "tmp").mkdir()
    with Service(
        program=program(MACHINES[machine], tmp_path),
        WORKER_CLASS=worker_class,
        TMPDIR=tmp_path / "tmp",
        DRAIN_MIN=0,
    ) as service:
        assert service.ready().get("/api").status == 200
        metrics = service.get("/metrics").body.decode()
        assert re.findall(r'duration_seconds_count\{.*"/api".*\} (\S+)', metrics) == ["1.0"]
        (directory,) = (tmp_path / "tmp").iterdir()
        service.signal(signal.SIGTERM)
        service.wait()
        assert not directory.exists()


def test_shm_of_the_namespaces_is_absent_or_read_only(tmp_path: Path) -> None:
    def shm(machine: str) -> str:
        command = [*unshared(machine.format(hold=tmp_path)), "touch", "/dev/shm/x"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stderr

    assert "No such file or directory" in shm(WITHOUT_SHM)
    assert "Read-only file system" in shm(READ_ONLY_SHM)


def test_service_without_any_writable_directory_ends_with_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*program(READ_ONLY_EVERYTHING + "\nmount -o bind,ro . .\ncd .", tmp_path), "-b", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": "/nowhere"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        "gunicorn-drain: TMPDIR is '/nowhere'; allowed is a directory that the service can write to"
    )


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_service_with_the_options_of_macos_serves_streams_and_drains(
    tmp_path: Path, worker_class: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(MACOS)
    with Service(WORKER_CLASS=worker_class, PYTHONPATH=tmp_path, DRAIN_MIN=1, DRAIN_MAX=6) as service:
        port = service.ready().port
        assert service.get("/api").status == 200
        assert service.get("/api/sleep/0.1").status == 200
        assert service.get("/no/such/page").status == 404
        with EventStream(port) as stream, Socket(port) as socket:
            assert abs(stream.tick() - socket.tick()) <= 1
            service.signal(signal.SIGTERM)
            stream.notification()
            while not isinstance(socket.event(), CloseConnection):
                pass
        service.wait()
        assert service.said(" ERROR ") == 0, service.log
