"""Directory through which Gunicorn's workers share the counts of prometheus_client.

prometheus_client decides how to count when it is first imported: the directory must exist before, so this
module does not import it.

Every process of a service holds a shared lock (flock) on the directory: the workers inherit it by the fork,
and the kernel releases it however a process ends. Only a process that gets the exclusive lock removes files,
so a directory in use stays unchanged, also if two containers share /dev/shm and cannot see each other's
processes. systemd-tmpfiles does not remove locked directories either.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import glob
import os
import re
import stat
import tempfile
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from gunicorn import util

from gunicorn_drain.extras import require
from gunicorn_drain.hooks import chain, refuse_to_start
from gunicorn_drain.prometheus.exited import MERGES, ExitedWorkers

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

INHERITED = "GUNICORN_METRICS_DIRECTORY"
"""Variable in which a master passes its directory to the one that SIGUSR2 starts: both count together."""

MEMORY = "/dev/shm"  # noqa: S108 - files and directories of unpredictable names are created in it

MEMORY_MIN = 8 * 1024 * 1024
"""Minimum free space of MEMORY, in bytes: each worker's files begin with 20 KB and grow with its series.

Where there is no space, a write to mapped memory ends the process with SIGBUS: workers would end at their
first request, one after the other.
"""

PREFIX = "gunicorn-metrics-"
"""Beginning of the names of directories that the service itself creates and removes."""

FILE = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_[0-9]+\.db")
"""Names that prometheus_client gives its files. No other file is read; of the others, MERGES are removed."""

LOCK_TIMEOUT = 2.0
"""Maximum time to wait for a lock, in seconds. Emptying a directory holds the lock for milliseconds."""

EXIT_TIMEOUT = 0.2
"""Maximum time that a master waits at its exit for killed workers to release the directory, in seconds."""

ATTEMPTS = 10
"""Number of attempts to create a directory that no other master takes for a leftover before it is locked."""


class DirectoryError(ValueError):
    """A sentence about a directory that cannot be used: the variable, its value and the allowed values."""


def memory_directory() -> str | None:
    """Return a directory in memory with space to write to; None where there is none (macOS, --ipc=none)."""
    if not (Path(MEMORY).is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)):
        return None
    system = os.statvfs(MEMORY)
    return MEMORY if system.f_bavail * system.f_frsize >= MEMORY_MIN else None


def temporary_directory() -> str:
    """Return a directory for temporary files: in memory if possible, else TMPDIR or /tmp."""
    try:
        return memory_directory() or tempfile.gettempdir()
    except FileNotFoundError:
        raise DirectoryError(
            f"TMPDIR is {os.environ.get('TMPDIR', '')!r}; allowed is a directory that the service can write "
            f"to, because it can write to neither {MEMORY} nor /tmp"
        ) from None


class MetricsDirectory:
    """Metrics directory of this master and its workers.

    Keep it in an imported module: gunicorn.conf.py is executed again on every SIGHUP.
    """

    def __init__(self) -> None:
        self.path = ""
        self.exited = ExitedWorkers()
        self._given = ""  # value of the variable; empty where the directory is our own
        self._descriptor = -1
        self._created: list[str] = []  # the directory and its parents, as far as they were missing
        self._master = 0
        self._leftovers = 0
        self._warning = ""

    def prepare(self, environ: Mapping[str, str]) -> None:
        """Choose, create and empty the directory, once per master; report errors and exit with status 2."""
        try:
            if not self.path:  # a reload executes gunicorn.conf.py again
                self._choose(environ)
        except DirectoryError as error:
            refuse_to_start(str(error))
        self.export()

    def export(self) -> None:
        """Set the variable for prometheus_client: Gunicorn sets it as in --env, after gunicorn.conf.py."""
        if self.path:
            os.environ[VARIABLE] = self.path

    def on_starting(self, server: Any) -> None:
        """Make the workers' user the owner of the directory, and log (Gunicorn's hook of this name)."""
        self._master = os.getpid()  # with --daemon not the process of `prepare`
        try:
            self._give(server.cfg)
        except DirectoryError as error:
            if server.pidfile is not None:
                server.pidfile.unlink()
            refuse_to_start(str(error))
        if self._leftovers:
            server.log.info("Removed metrics directories of services that have ended: %d", self._leftovers)
        if self._warning:
            server.log.warning("%s", self._warning)

    def pre_exec(self, server: Any) -> None:
        """Pass the directory to the master that SIGUSR2 starts (Gunicorn's hook of this name)."""
        environ = server.cfg.env_orig
        environ[INHERITED] = f"{self._given and 'given'}:{self.path}"
        if not self._given:
            environ.pop(VARIABLE, None)  # set by a reload, and not by the user

    def post_worker_init(self, worker: Any) -> None:  # noqa: ARG002 - Gunicorn's signature
        """Set the variable again: Gunicorn has set those of --env in this worker (Gunicorn's hook)."""
        self.export()
        # Without the directory, which a cleaner may have removed, requests of this worker would fail.
        with contextlib.suppress(OSError):
            Path(self.path).mkdir(parents=True, exist_ok=True)

    def child_exit(self, server: Any, worker: Any) -> None:
        """Remove the live gauges of an exited worker, and merge its other counts (Gunicorn's hook)."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid, glob.escape(self.path))  # type: ignore[no-untyped-call] # it has no types
        try:
            self.exited.merge(self.path, worker.pid, self._master)
        except Exception:  # an exception would end the master
            server.log.exception(
                "The metrics files of worker %s could not be merged, and are kept", worker.pid
            )

    # ---- choosing ----------------------------------------------------------------------------------

    def _choose(self, environ: Mapping[str, str]) -> None:
        self._master = os.getpid()
        atexit.register(self._at_exit)
        succeeds = "GUNICORN_PID" in os.environ  # started by another master's SIGUSR2
        given, _, inherited = os.environ.pop(INHERITED, "").partition(":")
        base = temporary_directory()
        self._leftovers = sum(_remove(entry.path) for entry in os.scandir(base) if _is_ours(entry))
        if succeeds and inherited and not given and self._join(inherited):
            return
        if given or environ.get(VARIABLE):
            self._use(inherited if succeeds and given else environ[VARIABLE], succeeds)
        else:
            self._create(base)

    def _create(self, base: str) -> None:
        """Create our own directory."""
        for _ in range(ATTEMPTS):
            path = tempfile.mkdtemp(prefix=PREFIX, dir=base)
            if self._join(path):
                self._created = [path]
                return
        raise DirectoryError(
            f"{VARIABLE} is not set, and no directory in {base} stays; set it to a directory that can be "
            "written to"
        )

    def _join(self, path: str) -> bool:
        """Lock our own directory; return whether it still exists."""
        try:
            descriptor = _open(path)
        except OSError:
            return False
        # A file system without locks: no other master can take the directory for a leftover either.
        with contextlib.suppress(OSError):
            _share(descriptor)
        if not _is_at(path, descriptor):  # another master found it unlocked and has removed it
            os.close(descriptor)
            return False
        self.path, self._descriptor = path, descriptor
        return True

    def _use(self, value: str, succeeds: bool) -> None:
        """Use the directory that the variable names: create it if missing, empty it unless it is in use."""
        self._given = value
        # prometheus_client opens files whenever a series begins, whatever the working directory is by then.
        path = os.path.realpath(value)
        try:
            self._created = _create_missing(path)
            descriptor = _open(path)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise self._refusal(f"{error.strerror}: {error.filename or path!r}") from None
        self.path, self._descriptor = path, descriptor
        try:
            if _lock(descriptor, fcntl.LOCK_EX):
                _empty(descriptor)
            elif not succeeds:
                self._warning = (
                    f"{VARIABLE} is {value!r}, which another running service uses: it is not emptied, and "
                    "/metrics has the sum of both; allowed is a directory for each service"
                )
            _share(descriptor)
        except _NotEmptiedError as error:
            raise self._refusal(str(error)) from None
        except OSError as error:
            self._warning = (
                f"{VARIABLE} is {value!r}, which cannot be locked ({error.strerror}): it is not emptied, and "
                "/metrics may have old counts; allowed is a directory of a local file system"
            )

    def _refusal(self, why: str) -> DirectoryError:
        return DirectoryError(
            f"{VARIABLE} is {self._given!r}; allowed is a directory that the service can write to, or a path "
            f"at which it can create one ({why})"
        )

    def _give(self, cfg: Any) -> None:
        """Make the user of --user the owner of created files, and check that it can write there."""
        if (cfg.uid, cfg.gid) == (os.geteuid(), os.getegid()):
            return
        try:
            for path in self._created:
                os.chown(path, cfg.uid, cfg.gid)
            for name in _files(self._descriptor, FILE):
                if name.endswith(f"_{os.getpid()}.db"):  # of a preloaded application
                    os.chown(name, cfg.uid, cfg.gid, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError as error:
            raise self._refusal(f"{error.strerror}: {error.filename!r}") from None
        if not self._is_writable_for(cfg):
            raise self._refusal(f"the user {cfg.uid} of --user cannot write there")

    def _is_writable_for(self, cfg: Any) -> bool:
        # In a separate process: this one could not return from the user's groups.
        child = os.fork()
        if child == 0:
            try:
                util.set_owner_process(cfg.uid, cfg.gid, initgroups=cfg.initgroups)
                os._exit(0 if os.access(self.path, os.R_OK | os.W_OK | os.X_OK) else 1)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        return status == 0

    def _at_exit(self) -> None:
        """Remove our own directory, unless a master that SIGUSR2 started still uses it."""
        if os.getpid() != self._master or self._given or not self.path:
            return
        os.close(self._descriptor)
        deadline = time.monotonic() + EXIT_TIMEOUT
        while not _remove(self.path) and time.monotonic() < deadline:
            time.sleep(0.01)


# ---- files, directories and locks ------------------------------------------------------------------------


class _NotEmptiedError(Exception):
    """A file of an earlier service that cannot be removed."""


def _open(path: str, flags: int = 0) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        # --daemon closes 0 to 2, which are free where the parent has closed them.
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _share(descriptor: int) -> None:
    """Take the shared lock; wait if another master empties the directory."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while not _lock(descriptor, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            raise TimeoutError(0, "another program holds its lock")
        time.sleep(0.01)


def _is_at(path: str, descriptor: int) -> bool:
    """Return whether `path` is still the directory that `descriptor` was opened for."""
    try:
        found, opened = os.lstat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def _create_missing(path: str) -> list[str]:
    """Create the directory `path` and its missing parents; return those created."""
    missing = []
    here = Path(path)
    while not here.exists():
        missing.append(here)
        here = here.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
    return [str(each) for each in missing]


def _files(descriptor: int, *patterns: re.Pattern[str]) -> list[str]:
    return [name for name in os.listdir(descriptor) if any(each.fullmatch(name) for each in patterns)]


def _empty(descriptor: int) -> None:
    """Remove prometheus_client's files and our own. Needs the exclusive lock."""
    for name in _files(descriptor, FILE, MERGES):
        try:
            os.unlink(name, dir_fd=descriptor)
        except OSError as error:
            raise _NotEmptiedError(f"{error.strerror}: {name!r}, which an earlier service left") from None


def _is_ours(entry: os.DirEntry[str]) -> bool:
    if not entry.name.startswith(PREFIX):
        return False
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    # A directory that root has created for the user of --user is owned by that user.
    return stat.S_ISDIR(found.st_mode) and os.geteuid() in {0, found.st_uid}


def _remove(path: str) -> bool:
    """Remove one of our own directories unless a process uses it; return whether it no longer exists."""
    try:
        descriptor = _open(path, os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not _lock(descriptor, fcntl.LOCK_EX) or not _is_at(path, descriptor):
            return False
        _empty(descriptor)
        Path(path).rmdir()
    except (OSError, _NotEmptiedError):
        return False
    finally:
        os.close(descriptor)
    return True


DIRECTORY = MetricsDirectory()
"""Metrics directory of this process and of the workers that Gunicorn forks from it."""


def directory() -> str | None:
    """Return the directory in use; None where this process counts alone."""
    return DIRECTORY.path or os.environ.get(VARIABLE)


def install(namespace: MutableMapping[str, Any], environ: Mapping[str, str] = os.environ) -> None:
    """Let the workers of the configuration file whose `globals()` are `namespace` count in one directory.

    Call it before `gunicorn_drain.install()`, and before anything imports prometheus_client. Hooks that the
    file has are kept. `environ`: has PROMETHEUS_MULTIPROC_DIR if a directory is chosen; without it, one is
    created in memory and removed at the end. An unusable directory ends the process with status 2.
    ModuleNotFoundError without the extra.
    """
    require("prometheus", "prometheus_client")  # which a worker's exit would need first
    DIRECTORY.prepare(environ)
    for name in ("on_starting", "pre_exec", "post_worker_init", "child_exit"):
        namespace[name] = chain(name, getattr(DIRECTORY, name), namespace.get(name))
