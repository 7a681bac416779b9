"""gunicorn_drain.install, with a real Gunicorn in every test that starts a service."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gunicorn_drain import DrainPolicy, Probe, install
from gunicorn_drain.install import OURS_FIRST, OURS_LAST
from gunicorn_drain.support import unsupported_version
from tests.service_links import service_links
from tests.waiting import CONDITION_TIMEOUT, wait_until

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]
"""
INSTALL = "import gunicorn_drain\ngunicorn_drain.install(globals(), readiness='/ready')\n"


class Started:
    """Gunicorn with a test's configuration, on a port that the kernel chooses."""

    def __init__(
        self,
        directory: Path,
        configuration: str,
        *flags: str,
        application: str = APPLICATION,
        program: Sequence[str] = ("-m", "gunicorn", "-b", "127.0.0.1:0"),
        **environ: str,
    ) -> None:
        (directory / "gunicorn.conf.py").write_text(configuration)
        (directory / "service.py").write_text(application)
        self.log = directory / "log"
        command = [sys.executable, *program, *flags, "service:application"]
        with self.log.open("w") as log:
            environ = {"DRAIN_MIN": "0.2", "DRAIN_QUIET": "0.1", **environ}
            self.process = subprocess.Popen(command, cwd=directory, stderr=log, stdout=log, env=environ)

    def wait_for(self, pattern: str) -> re.Match[str]:
        try:
            return wait_until(lambda: re.search(pattern, self.log.read_text()), f"{pattern!r} in the log")
        except AssertionError as error:
            error.add_note(self.log.read_text())
            raise

    def get(self, path: str) -> bytes:
        port = int(self.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=CONDITION_TIMEOUT) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(CONDITION_TIMEOUT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Any:
    started: list[Started] = []

    def begin(configuration: str, *flags: str, **environ: Any) -> Started:
        started.append(Started(tmp_path, configuration, *flags, **environ))
        return started[-1]

    yield begin
    for each in started:
        each.end()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"probes": "/healthz"}, "probes is '/healthz'; allowed is a list of paths or of Probe"),
        ({"probes": None}, "probes is None; allowed is a list of paths or of Probe"),
        ({"probes": ["healthz"]}, "probes has 'healthz'; allowed are paths, which begin with /"),
        (
            {"probes": ["/healthz?full=1"]},
            "probes has '/healthz?full=1'; allowed are paths, which begin with",
        ),
        ({"probes": ["/healthz "]}, "probes has '/healthz '; allowed are paths, which begin with /"),
        ({"probes": [Probe("ready")]}, "probes has 'ready'"),
        ({"readiness": "ready"}, "readiness has 'ready'"),
        ({"readiness": ""}, "readiness has ''"),
        ({"readiness": 7}, "readiness has 7"),
        ({"readiness": "/ready%20now"}, "readiness has '/ready%20now'; allowed are paths, which"),
        ({"policy": 15}, "policy is 15; allowed is a DrainPolicy, or None for no drain"),
        ({"send_timeout": 0}, "send_timeout is 0; allowed are seconds above 0"),
        ({"send_timeout": "20"}, "send_timeout is '20'; allowed are seconds above 0"),
        ({"send_timeout": True}, "send_timeout is True; allowed are seconds above 0"),
    ],
)
def test_wrong_argument_is_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
        install({}, **arguments)


def test_missing_namespace_is_named() -> None:
    with pytest.raises(TypeError, match=r"namespace is None; allowed is globals\(\)"):
        install(None)  # type: ignore[arg-type]


def test_hooks_with_a_wrong_signature_are_named() -> None:
    with pytest.raises(TypeError, match="post_fork is "):
        install({"post_fork": lambda: None}, policy=DrainPolicy())


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("19.9.0", "Gunicorn is 19.9.0; allowed is 20.1 or newer"),
        ("20.0.4", "Gunicorn is 20.0.4; allowed is 20.1 or newer"),
        ("20.1.0", None),
        ("27.0.1", None),
        ("100.0rc1", None),
    ],
)
def test_oldest_version_is_known(version: str, sentence: str | None) -> None:
    assert unsupported_version(version) == sentence


HOOKS = """
def note(name):
    import sys
    print("hook", name, file=sys.stderr, flush=True)

def on_starting(server): note("on_starting")
def when_ready(server): note("when_ready")
def pre_fork(server, worker): note("pre_fork")
def post_fork(server, worker): note("post_fork")
def post_worker_init(worker): note("post_worker_init")
def pre_request(worker, req): note("pre_request")
def post_request(worker, req): note("post_request")
def child_exit(server, worker): note("child_exit")
def on_exit(server): note("on_exit")
def worker_abort(worker): note("worker_abort")
"""


@pytest.mark.slow
def test_hooks_of_the_configuration_are_kept(start: Any) -> None:
    service = start(HOOKS + INSTALL)
    service.wait_for("hook post_worker_init")
    os.kill(int(service.wait_for(r"Booting worker with pid: (\d+)")[1]), signal.SIGABRT)
    service.wait_for(r"hook worker_abort\n[\s\S]*hook post_worker_init")
    assert b"Hello" in service.get("/")
    assert service.stop() == 0
    for name in OURS_FIRST + OURS_LAST:
        service.wait_for(f"hook {name}\n")
    service.wait_for("Drain ended: quiet; 0 requests completed")
    service.wait_for("Stopped: every request completed")


HANGS = """
import sys, time

def application(environ, start_response):
    print("the request hangs", file=sys.stderr, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_request_of_a_worker_that_exceeds_its_timeout_is_counted_as_aborted(start: Any) -> None:
    service = start(INSTALL, "-k", "sync", application=HANGS)
    worker = int(service.wait_for(r"Booting worker with pid: (\d+)")[1])
    port = int(service.wait_for(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=CONDITION_TIMEOUT) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        service.wait_for("the request hangs")
        os.kill(worker, signal.SIGABRT)  # the master's signal after the timeout
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    assert not response or response.startswith(b"HTTP/1.1 500")  # Gunicorn's, from 22 on
    service.wait_for(r"hangs[\s\S]*Booting worker with pid")
    assert b" 200 " in service.get("/ready")
    assert service.stop() == 0
    service.wait_for("Stopped: 1 request aborted")


OTHER_LIBRARIES = """
import atexit, os, sys, threading, time
os.environ["PROMETHEUS_MULTIPROC_DIR"] = {directory!r}
from prometheus_client import Gauge, multiprocess

live = Gauge("live", "Workers", multiprocess_mode="liveall")

def child_exit(server, worker):
    # as prometheus_client's documentation has it
    multiprocess.mark_process_dead(worker.pid)

def post_fork(server, worker):
    # as an error tracker does: a thread that sends, a hook for exceptions
    live.set(1)
    sys.excepthook = lambda *arguments: None
    threading.Thread(target=lambda: print("sender runs", file=sys.stderr, flush=True), daemon=True).start()

def on_exit(server):
    print("other on_exit", file=sys.stderr, flush=True)
"""


@pytest.mark.slow
def test_hooks_of_other_libraries_are_chained(start: Any, tmp_path: Path) -> None:
    files = tmp_path / "metrics"
    files.mkdir()
    service = start(OTHER_LIBRARIES.format(directory=str(files)) + INSTALL)
    service.wait_for("sender runs")
    assert b"Hello" in service.get("/")
    assert b" 200 " in service.get("/ready")
    of_master = files / f"gauge_liveall_{service.process.pid}.db"
    assert len(set(files.glob("gauge_liveall_*.db")) - {of_master}) == 1
    assert service.stop() == 0
    assert not set(files.glob("gauge_liveall_*.db")) - {of_master}  # removed by their child_exit
    log = service.log.read_text()
    assert log.index("other on_exit") < log.index("Stopped: every request completed")
    assert "Drain ended: quiet" in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize(
    "configuration",
    [
        HOOKS + INSTALL + INSTALL,
        f"from base import *\n{INSTALL}",
    ],
    ids=["in one file", "in a base and again"],
)
def test_second_call_replaces_the_first(start: Any, tmp_path: Path, configuration: str) -> None:
    (tmp_path / "base.py").write_text(HOOKS + INSTALL)
    service = start(configuration)
    service.wait_for("hook post_worker_init")
    assert b"Hello" in service.get("/")
    service.process.send_signal(signal.SIGHUP)  # with a base that is not imported again
    service.wait_for("Reload succeeded")
    service.wait_for("Worker exiting")
    assert b"Hello" in service.get("/")
    assert service.stop() == 0
    service.wait_for("Drain ended: quiet")
    service.wait_for("Stopped: every request completed")
    log = service.log.read_text()
    assert log.count("hook pre_request") == log.count("hook post_request") == 2
    assert log.count("hook on_exit") == 1


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["in a worker", "in the master"])
def test_call_in_the_application_is_refused(start: Any, tmp_path: Path, flags: tuple[str, ...]) -> None:
    service = start("", *flags, application=INSTALL + APPLICATION)
    assert service.process.wait(CONDITION_TIMEOUT) != 0
    service.wait_for(r"install\(\) was called while Gunicorn imports the application, .*gunicorn\.conf\.py")


@pytest.mark.slow
def test_readiness_path_responds_without_the_application(start: Any) -> None:
    service = start(INSTALL)
    service.wait_for("Booting worker")
    response = service.get("/ready")
    assert response.startswith(b"HTTP/1.1 200")
    assert response.endswith(b'{"state": "ready", "drain": {"min": 0.2, "quiet": 0.1, "max": 15.0}}\n')
    assert service.get("/ready/more").endswith(b"Hello")
    assert service.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nosuch", "cannot be loaded: .*not found"),
        ("nosuch.Worker", "cannot be loaded: ModuleNotFoundError: No module named 'nosuch'"),
        ("gunicorn_drain.Worker", "cannot be loaded: .*no attribute 'Worker'"),
        ("os.path", "not a class"),
    ],
    ids=lambda text: text.partition(":")[0],
)
@pytest.mark.parametrize("flag", [True, False])
def test_unknown_worker_class_is_one_sentence(start: Any, value: str, reason: str, *, flag: bool) -> None:
    service = start(INSTALL, "-k", value) if flag else start(f"worker_class = {value!r}\n{INSTALL}")
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    expected = rf"gunicorn-drain: worker_class is '{value}', which (is )?{reason}.*\n"
    assert re.fullmatch(expected, service.log.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--pythonpath", "--chdir"])
def test_worker_class_in_a_directory_of_a_flag_is_loaded(start: Any, tmp_path: Path, flag: str) -> None:
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / "derived.py").write_text("from gunicorn.workers.gthread import ThreadWorker as Worker\n")
    service = start(INSTALL, flag, str(directory), "-k", "derived.Worker")
    service.wait_for(r"Using worker: derived\.Worker\n[\s\S]*Booting worker")


@pytest.mark.parametrize(
    ("bind", "sentence"),
    [
        ("127.0.0.1:65536", "bind has the port 65536; allowed are whole numbers from 0 to 65535"),
        ("[::1]:-1", "bind has the port -1; allowed are whole numbers from 0 to 65535"),
        ("fd://0", "bind is fd://0; allowed is the file descriptor of an open socket"),  # a terminal, or none
        ("fd://99", "bind is fd://99; allowed is the file descriptor of an open socket"),
    ],
)
def test_address_without_a_socket_is_one_sentence(start: Any, bind: str, sentence: str) -> None:
    service = start(INSTALL, "-b", bind, program=("-m", "gunicorn"))
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    assert re.findall(r"\[ERROR\] (.*)", service.log.read_text()) == [f"gunicorn-drain: {sentence}"]
    assert "Traceback" not in service.log.read_text()


def test_reload_with_an_unknown_worker_class_is_refused_with_its_name(start: Any, tmp_path: Path) -> None:
    service = start(INSTALL)
    service.wait_for("Booting worker")
    (tmp_path / "gunicorn.conf.py").write_text(f"worker_class = 'nosuch'\n{INSTALL}")
    service.process.send_signal(signal.SIGHUP)
    service.wait_for(r"Reload failed: ValueError: worker_class is 'nosuch', which cannot be loaded: ")
    assert service.get("/ready").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("workers", [0, 256])
def test_number_of_workers_without_room_stops_the_start(start: Any, workers: int) -> None:
    service = start(f"workers = {workers}\n{INSTALL}")
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    service.wait_for(f"gunicorn-drain: workers is {workers}; allowed are whole numbers from 1 to 255")
    assert "Booting worker" not in service.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["when_ready", "post_fork", "on_starting", "pre_request"])
def test_hook_below_the_call_stops_the_start(start: Any, hook: str) -> None:
    arguments = "server" if hook in {"when_ready", "on_starting"} else "first, second"
    service = start(f"{INSTALL}def {hook}({arguments}): pass\n", "--pid", "pid")
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    service.wait_for(f"gunicorn-drain: {hook} is not the hook that gunicorn_drain.install\\(\\) has set")
    assert "Booting worker" not in service.log.read_text()
    assert not (service.log.parent / "pid").exists()


@pytest.mark.slow
def test_worker_class_without_hooks_is_refused(start: Any, tmp_path: Path) -> None:
    configuration = f"{INSTALL}import other\nworker_class = other.Worker\n"
    other = "from gunicorn.workers.base import Worker as Base\nclass Worker(Base):\n    def run(self): pass\n"
    (tmp_path / "other.py").write_text(other)
    service = start(configuration)
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    service.wait_for("worker_class is other.Worker, which does not report its requests; allowed are gthread")


@pytest.mark.slow
@pytest.mark.parametrize(
    "worker_class",
    ["gevent_pywsgi", "other.Worker"],
)
def test_worker_class_with_a_server_without_hooks_is_refused(
    start: Any, tmp_path: Path, worker_class: str
) -> None:
    # As the class of gevent-websocket, which Flask-SocketIO recommends.
    other = (
        "from gunicorn.workers.ggevent import GeventPyWSGIWorker\nclass Worker(GeventPyWSGIWorker): pass\n"
    )
    (tmp_path / "other.py").write_text(other)
    service = start(f"{INSTALL}worker_class = {worker_class!r}\n")
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    service.wait_for(
        r"worker_class is \S+Worker, whose server, gevent\.pywsgi, calls no hooks of a request; "
    )


@pytest.mark.slow
def test_configuration_can_be_printed(start: Any) -> None:
    service = start("def post_fork(server, worker): pass\n" + INSTALL, "--print-config")
    assert service.process.wait(CONDITION_TIMEOUT) == 0
    service.wait_for(r"post_fork +=? *<gunicorn_drain\.post_fork\(\)>")
    assert "Traceback" not in service.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ("", []),
        ("reuse_port = True", ["reuse_port is on, so the drain cannot observe connections that wait"]),
        ("worker_class = 'asgi'", ["send_timeout has no effect with ASGIWorker"]),
        ("worker_class = 'tornado'", ["send_timeout has no effect with TornadoWorker"]),
    ],
)
def test_part_that_does_not_hold_is_a_warning_at_the_start(
    start: Any, settings: str, sentences: list[str]
) -> None:
    service = start(f"{INSTALL[:-2]}, send_timeout=20)\n{settings}\n")
    service.wait_for("Booting worker")
    found = re.findall(r"\[WARNING\] gunicorn-drain: (.*)", service.log.read_text())
    assert len(found) == len(sentences)
    assert all(line.startswith(sentence) for line, sentence in zip(found, sentences, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "wrong"),
    [
        ("DRAIN_PROBES", "/healthz,/a?b", "/a?b"),
        ("DRAIN_READINESS", "ready", "ready"),
    ],
)
def test_wrong_variable_without_a_configuration_file_is_named(
    start: Any, variable: str, value: str, wrong: str
) -> None:
    service = start("", "-c", "python:gunicorn_drain.config", **{variable: value})
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    assert service.log.read_text() == (
        f"gunicorn-drain: {variable} has {wrong!r}; "
        "allowed are paths, which begin with / and have no query, space or %\n"
    )


@pytest.mark.slow
def test_wrong_variable_is_one_sentence(start: Any) -> None:
    service = start(INSTALL, DRAIN_MAX="soon")
    assert service.process.wait(CONDITION_TIMEOUT) == 2
    assert service.log.read_text() == (
        "gunicorn-drain: DRAIN_MAX is 'soon'; allowed are seconds from 0 to 3600, whole or decimal\n"
    )


@pytest.mark.slow
def test_likely_misspelt_variables_are_warnings_at_the_start(start: Any) -> None:
    service = start(INSTALL, DRAIN_MIM="9", DRAIN_PROBES="/healthz", **service_links("drain", 80))
    service.wait_for("Booting worker")
    found = re.findall(r"\[WARNING\] gunicorn-drain: (.*)", service.log.read_text())
    assert found == [
        "DRAIN_MIM is not a setting and has no effect; DRAIN_MIN may be meant",
        "DRAIN_PROBES is not a setting and has no effect; "
        "the settings of the drain are DRAIN, DRAIN_MIN, DRAIN_QUIET, DRAIN_MAX",
    ]


@pytest.mark.slow
def test_variable_without_a_configuration_file_is_known(start: Any) -> None:
    variables = {"DRAIN_PROBES": "/healthz", "DRAIN_READINES": "/up"}
    service = start("", "-c", "python:gunicorn_drain.config", **variables)
    service.wait_for("Booting worker")
    found = re.findall(r"\[WARNING\] gunicorn-drain: (.*)", service.log.read_text())
    assert found == ["DRAIN_READINES is not a setting and has no effect; DRAIN_READINESS may be meant"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configuration", "flags"),
    [
        ("raw_env = ['DRAIN_MIN=0.1', 'DRAIN_MAX=7']\n" + INSTALL, ()),
        (INSTALL, ("--env", "DRAIN_MIN=0.1", "--env", "DRAIN_MAX=7")),
        ("raw_env = ['DRAIN_MAX=8']\n" + INSTALL, ("-e", "DRAIN_MIN=0.1", "-e", "DRAIN_MAX=7")),
        ("", ("-e", "DRAIN_MIN=0.1", "-e", "DRAIN_MAX=7", "-c", "python:gunicorn_drain.config")),
    ],
    ids=["a list", "flags", "flags over a list", "no file"],
)
def test_gunicorns_own_environment_has_settings(start: Any, configuration: str, flags: Sequence[str]) -> None:
    service = start(configuration, *flags, DRAIN_MIN="9", DRAIN_MAX="9")
    service.wait_for("Booting worker")
    assert b'"drain": {"min": 0.1, "quiet": 0.1, "max": 7.0}' in service.get("/ready")


PROGRAM = """
import sys
from gunicorn.app.base import BaseApplication
import gunicorn_drain, gunicorn_drain.logs
import service

class Program(BaseApplication):
    def load_config(self):
        options = {"bind": "127.0.0.1:0"}
        gunicorn_drain.logs.install(options, log_format="text")
        gunicorn_drain.install(options, readiness="/ready")
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self):
        return service.application

assert sys.argv[1:] == ["-v", "--workers=many", "service:application"]
Program().run()
"""


@pytest.mark.slow
def test_program_that_starts_gunicorn_has_arguments_of_its_own(start: Any, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    service = start("", program=["program.py", "-v", "--workers=many"])
    service.wait_for("Booting worker")
    assert b'"state": "ready"' in service.get("/ready")
    assert service.stop() == 0
    service.wait_for("Drain ended: quiet")
