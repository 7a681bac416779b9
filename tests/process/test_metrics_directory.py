"""The metrics directory: named by PROMETHEUS_MULTIPROC_DIR or created, and its state after each exit."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from gunicorn_drain.prometheus import PREFIX, VARIABLE
from gunicorn_drain.prometheus.exited import KEPT, MERGES
from gunicorn_fast import LEADER_WORKER
from tests.process.clients import Connection
from tests.process.namespaces import for_everyone
from tests.process.service import ROOT, Service
from tests.waiting import wait_until

REQUESTS = 5

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="--user needs root")
NOBODY = "nobody"


def count(service: Service) -> float:
    """Return the number of requests of /api."""
    body = service.get("/metrics").body.decode()
    series = re.findall(r'flask_http_request_duration_seconds_count\{[^}]*url_rule="/api"[^}]*\} (\S+)', body)
    return sum(map(float, series))


def request(service: Service, number: int = REQUESTS) -> None:
    for _ in range(number):
        assert service.get("/api").status == 200


def directory_of(pid: int) -> Path | None:
    """Return the metrics directory that a process holds open, None if there is none."""
    try:
        links = [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return None
    return next((each for each in links if each.name.startswith(PREFIX)), None)


def own_directory(service: Service) -> Path:
    found = directory_of(service.process.pid)
    assert found is not None
    return found


def databases(path: Path) -> set[str]:
    return {each.name for each in path.glob("*.db")}


def quit_all(service: Service) -> None:
    service.signal(signal.SIGQUIT)
    service.wait()


def kill_all(service: Service) -> None:
    for each in service.processes():
        each.kill()
    service.process.wait()
    wait_until(lambda: not service.processes(), "the end of all processes")


# ---- a directory that the user names ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing", "a/nested/missing", "x[1]", "with space"])
def test_missing_directory_is_created(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with Service(PROMETHEUS_MULTIPROC_DIR=path) as service:
        request(service.ready())
        assert count(service) == REQUESTS
        assert databases(path)


def test_missing_directory_behind_a_link_is_created(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("behind")
    with Service(PROMETHEUS_MULTIPROC_DIR=tmp_path / "link") as service:
        request(service.ready())
        assert count(service) == REQUESTS
    assert databases(tmp_path / "behind")


@pytest.mark.parametrize("by_flag", [False, True])
def test_relative_path_is_one_directory_for_all_processes(tmp_path: Path, by_flag: bool) -> None:
    path = os.path.relpath(tmp_path / "metrics", ROOT)
    flags = ["--env", f"{VARIABLE}={path}"] if by_flag else []
    settings: dict[str, Any] = {} if by_flag else {VARIABLE: path}
    # The application's working directory differs from the one at the start.
    with Service("--chdir", str(tmp_path), "--pythonpath", str(ROOT), *flags, **settings) as service:
        request(service.ready())
        assert count(service) == REQUESTS
        service.signal(signal.SIGHUP)
        wait_until(lambda: service.said("Booting worker") == 4 and len(service.workers) == 2, "new workers")
        request(service.ready())
        assert count(service) == 2 * REQUESTS
    assert databases(tmp_path / "metrics")
    assert {each.name for each in tmp_path.iterdir()} == {"metrics"}


def test_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    with Service("--env", f"{VARIABLE}=", PROMETHEUS_MULTIPROC_DIR="") as service:
        request(service.ready())
        assert count(service) == REQUESTS
        assert own_directory(service).is_dir()
    assert not list(ROOT.glob("*.db"))


@pytest.mark.parametrize("end", [quit_all, kill_all])
def test_kept_directory_is_emptied_at_each_start(tmp_path: Path, end: Callable[[Service], None]) -> None:
    foreign = {"notes.txt", "notes.db", "counter_x.db", "counter_1.db.bak", "gauge_1.db"}
    for name in foreign:
        (tmp_path / name).write_text("not prometheus_client's")
    (tmp_path / "counter").mkdir()
    old: set[str] = set()
    for _ in range(3):
        with Service(PROMETHEUS_MULTIPROC_DIR=tmp_path) as service:
            service.ready()
            assert not old & databases(tmp_path) - foreign
            request(service)
            assert count(service) == REQUESTS
            end(service)
        old = databases(tmp_path) - foreign
        assert old
    names = {each.name for each in tmp_path.iterdir() if not MERGES.fullmatch(each.name)}
    assert foreign | {"counter"} == names - old


@pytest.mark.parametrize("given", [False, True])
def test_reload_keeps_the_counts(tmp_path: Path, given: bool) -> None:
    settings: dict[str, Any] = {VARIABLE: tmp_path} if given else {}
    with Service(**settings) as service:
        request(service.ready())
        for number in (2, 3):
            service.signal(signal.SIGHUP)
            wait_until(
                lambda number=number: (  # type: ignore[misc] # mypy has no inference for such a default
                    service.said("Booting worker") == 2 * number and len(service.workers) == 2
                ),
                "new workers",
            )
            request(service.ready())
            assert count(service) == number * REQUESTS


def test_directory_in_use_is_not_emptied(tmp_path: Path) -> None:
    with Service(PROMETHEUS_MULTIPROC_DIR=tmp_path) as first:
        request(first.ready())
        with Service(PROMETHEUS_MULTIPROC_DIR=tmp_path) as second:
            request(second.ready())
            assert count(first) == count(second) == 2 * REQUESTS
            assert second.said(f"{VARIABLE} is '{tmp_path}', which another running service uses") == 1
        assert first.said(" WARNING ") == 0


def test_killed_workers_leave_their_counts_and_no_files(tmp_path: Path) -> None:
    with Service(PROMETHEUS_MULTIPROC_DIR=tmp_path, WORKERS=2) as service:
        requests = files = 0
        for kills in range(1, 2 * KEPT):
            request(service.ready())
            requests += REQUESTS
            os.kill(service.workers[0], signal.SIGKILL)
            wait_until(lambda kills=kills: service.said("Booting worker") == 2 + kills, "its successor")  # type: ignore[misc] # mypy has no inference for such a default
            service.ready()
            assert count(service) == requests
            if kills == KEPT:
                files = len(databases(tmp_path))
        # A worker that has begun serving has more kinds of files than a new worker.
        assert len(databases(tmp_path)) <= files + 3
        assert len([name for name in databases(tmp_path) if name.startswith("counter_")]) <= 4


def test_removed_directory_is_created_again_for_a_new_worker(tmp_path: Path) -> None:
    with Service(PROMETHEUS_MULTIPROC_DIR=tmp_path / "metrics", WORKERS=1) as service:
        request(service.ready())
        (worker,) = service.workers
        shutil.rmtree(tmp_path / "metrics")
        request(service)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: service.workers not in ([], [worker]), "its successor")
        request(service.ready())
        assert count(service) == REQUESTS


# ---- mistakes --------------------------------------------------------------------------------------------


def started(path: object, *flags: str, program: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
    return subprocess.run(
        [*program, sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", *flags],
        cwd=ROOT,
        env={**environ, VARIABLE: str(path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def assert_refused(ended: subprocess.CompletedProcess[str], path: object, why: str) -> None:
    assert ended.returncode == 2, ended.stderr
    (line,) = [each for each in ended.stderr.splitlines() if " INFO " not in each]
    assert line.startswith(
        f"gunicorn-drain: {VARIABLE} is {str(path)!r}; allowed is a directory that the service can write to"
    )
    assert why in line


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("file", "Not a directory"),
        ("file/beneath", "Not a directory"),
        ("loop/beneath", "File exists"),
        ("long" * 100, "File name too long"),
        ("/proc/metrics", "No such file or directory"),
        ("dirty", "'counter_1.db', which an earlier service left"),
    ],
)
def test_unusable_directory_is_refused_with_one_sentence(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dirty" / "counter_1.db").mkdir(parents=True)  # a directory, which unlink does not remove
    assert_refused(started(tmp_path / name), tmp_path / name, why)


@pytest.fixture
def closed() -> Iterator[Path]:
    """Create a directory that every user can search and only root can write to."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        path = Path(parent, "closed")
        path.mkdir()
        path.chmod(0o755)
        yield path


@needs_root
@pytest.mark.parametrize("name", ["", "beneath"])
def test_unwritable_directory_is_refused_with_one_sentence(closed: Path, name: str) -> None:
    path, user = closed / name, pwd.getpwnam(NOBODY)
    as_nobody = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    ended = started(path, program=(*for_everyone(closed.parent), *as_nobody))
    assert_refused(ended, path, "Permission denied")


@needs_root
def test_directory_that_the_workers_cannot_write_to_is_refused(closed: Path, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    ended = started(closed, "--user", NOBODY, "--pid", str(pidfile))
    assert_refused(ended, closed, "of --user cannot write there")
    assert not pidfile.exists()
    assert closed.stat().st_uid == 0


# ---- directories that the service creates ----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_own_directory_is_removed_at_the_end(number: signal.Signals) -> None:
    with Service(DRAIN_MIN=0) as service:
        path = own_directory(service.ready())
        service.signal(number)
        service.wait()
    assert not path.exists()


def test_own_directory_of_a_killed_service_is_removed_by_the_next_service() -> None:
    with Service() as bystander, Service() as killed:
        request(bystander.ready())
        path = own_directory(killed.ready())
        assert databases(path)
        kill_all(killed)
        with Service() as following:
            request(following.ready())
            assert not path.exists()
            assert count(following) == count(bystander) == REQUESTS


def test_own_directory_stays_while_a_worker_lives() -> None:
    with Service(WORKERS=1) as orphaned, Connection(orphaned.ready().port) as slow:
        path = own_directory(orphaned)
        slow.send("/api/sleep/4")
        wait_until(lambda: orphaned.metric("lifecycle_requests_in_flight") == 1, "one in flight")
        orphaned.process.kill()
        orphaned.process.wait()
        with Service() as following:
            following.ready()
            assert path.is_dir()
            assert orphaned.processes()
        wait_until(lambda: not orphaned.processes(), "the end of the worker without a master")
        with Service() as following:
            following.ready()
            assert not path.exists()


def test_own_directory_is_removed_after_an_early_sigterm() -> None:
    with Service() as early:
        wait_until(lambda: directory_of(early.process.pid) is not None, "its directory")
        path = own_directory(early)
        early.signal(signal.SIGTERM)
        early.process.wait()
        wait_until(lambda: not early.processes(), "the end of all processes")
    with Service() as following:
        following.ready()
        assert not path.exists()


def test_daemon_removes_its_own_directory(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    log = tmp_path / "log"
    log.touch()
    with Service("--daemon", "--pid", str(pidfile), "--error-logfile", str(log)) as service:
        assert service.process.wait(20) == 0
        try:
            wait_until(lambda: log.read_text().count("Booting worker") == 2, "two workers")
            daemon = psutil.Process(int(pidfile.read_text()))
            path = directory_of(daemon.pid)
            assert path is not None
            with Service() as other:  # which removes directories that no process holds
                other.ready()
                assert path.is_dir()
            daemon.send_signal(signal.SIGQUIT)
            wait_until(lambda: not service.processes(), "the end of the daemon")
            assert not path.exists()
        finally:
            service.stop_processes()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("reloaded", [False, True])
def test_usr2_successor_continues_the_counts(tmp_path: Path, given: bool, reloaded: bool) -> None:
    settings: dict[str, Any] = {VARIABLE: tmp_path} if given else {}
    with Service("--pid", str(tmp_path / "pid"), DRAIN_MIN=0, **settings) as service:
        request(service.ready())
        path = tmp_path if given else own_directory(service)
        if reloaded:
            service.signal(signal.SIGHUP)
            wait_until(
                lambda: service.said("Booting worker") == 4 and len(service.workers) == 2, "new workers"
            )
        before = service.said("Booting worker")
        service.signal(signal.SIGUSR2)
        wait_until(lambda: service.said("Booting worker") == before + 2, "the successor's workers")
        successor = psutil.Process(int((tmp_path / "pid.2").read_text()))
        request(service)
        assert count(service) == 2 * REQUESTS  # whichever of the two responds
        assert service.said(" WARNING ") == 0
        service.signal(signal.SIGTERM)
        service.process.wait(20)
        assert path.is_dir()
        request(service)
        assert count(service) == 3 * REQUESTS
        successor.send_signal(signal.SIGTERM)
        wait_until(lambda: not service.processes(), "the end of the successor")
        assert path.is_dir() is given


def test_successor_that_ends_first_leaves_the_directory(tmp_path: Path) -> None:
    with Service("--pid", str(tmp_path / "pid"), DRAIN_MIN=0) as service:
        request(service.ready())
        path = own_directory(service)
        service.signal(signal.SIGUSR2)
        wait_until(lambda: service.said("Booting worker") == 4, "the successor's workers")
        request(service)
        successor = psutil.Process(int((tmp_path / "pid.2").read_text()))
        successor.send_signal(signal.SIGTERM)
        wait_until(lambda: not successor.is_running() or successor.status() == "zombie", "its end")
        request(service)
        assert count(service) == 3 * REQUESTS
        service.signal(signal.SIGTERM)
        service.wait()
        assert not path.exists()


@needs_root
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("worker_class", [LEADER_WORKER, "gevent"])  # with preload and without
def test_user_of_the_workers_owns_the_directory(closed: Path, given: bool, worker_class: str) -> None:
    settings: dict[str, Any] = {VARIABLE: closed / "a" / "b"} if given else {}
    user = pwd.getpwnam(NOBODY)
    program = (*for_everyone(closed.parent), sys.executable, "-m", "gunicorn")
    with Service(
        "--user", NOBODY, program=program, WORKER_CLASS=worker_class, DRAIN_MIN=0, **settings
    ) as service:
        request(service.ready())
        path = settings.get(VARIABLE) or own_directory(service)
        assert count(service) == REQUESTS
        assert {psutil.Process(pid).uids().real for pid in service.workers} == {user.pw_uid}
        assert path.stat().st_uid == user.pw_uid
        assert closed.stat().st_uid == 0
        service.signal(signal.SIGTERM)
        service.wait()
        assert path.exists() is given


CREATES = """
import os, sys
from gunicorn_drain.prometheus import MetricsDirectory, PREFIX
for _ in range(200):
    directory = MetricsDirectory()
    directory.prepare({})
    assert os.path.isdir(directory.path), directory.path
    directory._at_exit()
    assert not os.path.exists(directory.path), directory.path
"""


def test_masters_that_start_at_once_keep_their_directories() -> None:
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    starts = [
        subprocess.Popen([sys.executable, "-c", CREATES], cwd=ROOT, env=environ, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for each in starts:
        _, errors = each.communicate(timeout=60)
        assert each.returncode == 0, errors.decode()
