"""Precedence of Gunicorn's own flags over the service's settings, each tested by its effect."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from gunicorn_fast import LEADER_WORKER, PROBE_LANE_WORKER
from tests.ports import reserve_port
from tests.process.clients import Connection, Lost, get
from tests.process.service import ROOT, Service
from tests.waiting import CONDITION_TIMEOUT, wait_until

INI = """
[loggers]
keys=root,access
[handlers]
keys=file
[formatters]
keys=mine
[logger_root]
level=INFO
handlers=file
[logger_access]
qualname=gunicorn.access
level=INFO
handlers=file
propagate=0
[handler_file]
class=FileHandler
args=({path!r},)
formatter=mine
[formatter_mine]
format=MINE %(message)s
"""

CHANGING = """
from app import create_app
app = create_app()
app.get("/changing")(lambda: {text!r})
"""


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_error_logfile_has_the_whole_log(tmp_path: Path) -> None:
    path, rotated = tmp_path / "error.log", tmp_path / "rotated.log"
    with Service("--error-logfile", str(path), LOGLEVEL="debug") as service:
        wait_until(lambda: any("Booting worker" in line for line in lines(path)), "a worker")
        assert service.log == ""
        assert sum("LOGLEVEL is not a setting" in line for line in lines(path)) == 1
        path.rename(rotated)
        service.signal(signal.SIGUSR1)
        wait_until(path.exists, "a new file")
        service.signal(signal.SIGTERM)
        service.wait()
        assert any("Shutting down" in line for line in lines(path))


def test_access_logfile_has_the_requests_only(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Service("--access-logfile", str(path)) as service:
        service.ready().get("/api?file")
        wait_until(lambda: any("GET /api?file" in line for line in lines(path)), "the request in the file")
        assert all("GET /" in line for line in lines(path))
        assert service.said("GET /api") == 0


def test_access_logfile_dash_is_stdout() -> None:
    with Service("--access-logfile", "-", "--access-logformat", "FORMAT %(U)s") as service:
        service.ready().get("/api")
        wait_until(lambda: "FORMAT /api\n" in service.output, "the request on stdout")
        assert service.said("/api") == 0


@pytest.mark.parametrize("text", ["%(h", "100%", "%d"])
def test_access_logformat_that_cannot_be_used_is_refused_with_its_name(text: str) -> None:
    with Service("--access-logfile", "-", "--access-logformat", text) as service:
        assert service.process.wait(20) == 1
        assert service.said(f"Error: access_log_format is {text!r}, which cannot be used: ") == 1
        assert service.said("Traceback") == 0


def test_access_log_setting_is_stderr() -> None:
    with Service(ACCESS_LOG="on") as service:
        service.ready().get("/api?setting")
        wait_until(lambda: service.said("GET /api?setting") == 1, "the request on stderr")
        assert service.output == ""


def test_access_log_is_off_by_default() -> None:
    with Service() as service:
        service.ready().get("/api")
        service.signal(signal.SIGQUIT)
        service.wait()
        assert service.said("GET ") == 0
        assert service.output == ""


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, "sync"])
def test_log_config_replaces_the_log(tmp_path: Path, worker_class: str) -> None:
    path, ini = tmp_path / "own.log", tmp_path / "log.ini"
    ini.write_text(INI.format(path=str(path)))
    with Service("--log-config", str(ini), WORKER_CLASS=worker_class) as service:
        wait_until(lambda: any("MINE Booting worker" in line for line in lines(path)), "the log in the file")
        listening = next(line for line in lines(path) if "Listening at" in line)
        port = int(listening.split()[3].rpartition(":")[2])
        get(port, "/api?config")
        wait_until(lambda: any("GET /api?config" in line for line in lines(path)), "the request in the file")
        assert service.log == service.output == ""


def test_log_config_json_replaces_the_log(tmp_path: Path) -> None:
    path, config = tmp_path / "own.log", tmp_path / "log.json"
    file = {"class": "logging.FileHandler", "filename": str(path), "formatter": "mine"}
    config.write_text(
        json.dumps(
            {
                "version": 1,
                "root": {"level": "INFO", "handlers": ["file"]},
                "loggers": {},
                "handlers": {"file": file},
                "formatters": {"mine": {"format": "MINE %(message)s"}},
            }
        )
    )
    with Service("--log-config-json", str(config)) as service:
        wait_until(lambda: any("MINE Booting worker" in line for line in lines(path)), "the log in the file")
        assert service.log == ""


def test_log_level_of_the_flag_takes_precedence() -> None:
    with Service("--log-level", "debug", LOG_LEVEL="critical") as service:
        service.ready()
        assert service.said("DEBUG Current configuration") == 1
    with Service("--log-level", "error", LOG_LEVEL="debug") as service:
        wait_until(lambda: len(service.workers) == 2, "workers")
        service.signal(signal.SIGQUIT)
        service.wait()
        assert service.log == ""


def test_log_level_that_does_not_exist_is_a_warning() -> None:
    with Service("--log-level", "loud") as service:
        sentence = (
            "loglevel is 'loud' and has no effect; allowed is one of critical, error, warning, info, debug"
        )
        wait_until(lambda: service.said("Booting worker") == 2, "two workers")
        assert service.said(f"WARNING {sentence}") == 1


def test_capture_output_goes_to_the_error_logfile(tmp_path: Path) -> None:
    path, application = tmp_path / "error.log", tmp_path / "talks.py"
    application.write_text("from app import create_app\nprint('TALKS', flush=True)\napp = create_app()\n")
    flags = ("--capture-output", "--error-logfile", str(path), "--pythonpath", str(tmp_path), "talks:app")
    with Service(*flags) as service:
        wait_until(lambda: "TALKS" in lines(path), "the application's output in the file")
        assert service.output == ""


def test_syslog_receives_the_log() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(CONDITION_TIMEOUT)
        address = f"udp://127.0.0.1:{syslog.getsockname()[1]}"
        with Service("--log-syslog", "--log-syslog-to", address) as service:
            while b"Starting gunicorn" not in syslog.recv(1000):
                pass
            service.ready()


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, "gthread"])
def test_statsd_receives_the_requests(worker_class: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(CONDITION_TIMEOUT)
        address = f"127.0.0.1:{statsd.getsockname()[1]}"
        flags = ("--statsd-host", address, "--statsd-prefix", "mine")
        with Service(*flags, WORKER_CLASS=worker_class) as service:
            service.ready().get("/api")
            received = b""
            while not received.startswith(b"mine.gunicorn.request.status.200:1|c"):
                received = statsd.recv(1000)
            assert service.said("Starting gunicorn") == 1
            assert service.said("GET ") == 0


def test_statsd_that_does_not_listen_is_one_line_of_a_process() -> None:
    with Service("--statsd-host", f"127.0.0.1:{reserve_port()}", WORKERS=1) as service:
        service.ready()
        sentence = "Metrics for statsd are lost, as long as it does not listen: "
        wait_until(lambda: service.get("/api").status == 200 and service.said(sentence), "a line")
        for _ in range(10):
            assert service.get("/api").status == 200
        assert service.said(sentence) <= 2  # the master's and the worker's
        assert service.said("Traceback") == 0


def test_statsd_host_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    with Service("--statsd-host", f"unix://{tmp_path}/none", WORKERS=1) as service:
        service.ready()
        assert service.said(f"statsd_host is {tmp_path}/none and has no effect: there is no such host") == 1


@pytest.mark.parametrize(
    ("flags", "runs", "threads", "preload"),
    [
        ("-k sync", "sync", 1, True),
        ("-k gunicorn.workers.sync.SyncWorker", "gunicorn.workers.sync.SyncWorker", 1, True),
        ("-k sync --threads 4", "gthread", 4, True),
        ("--worker-class=gthread", "gthread", 16, True),
        ("-k gevent", "gevent", 16, False),
        (f"-k {PROBE_LANE_WORKER} --threads 3", PROBE_LANE_WORKER, 3, True),
    ],
)
@pytest.mark.parametrize("variable", [False, True])
def test_worker_class_of_the_flag_takes_precedence(
    flags: str, runs: str, threads: int, preload: bool, variable: bool
) -> None:
    settings: dict[str, Any] = {"LOG_LEVEL": "debug"}
    if variable:
        settings["GUNICORN_CMD_ARGS"] = flags
    with Service(*(() if variable else flags.split()), **settings) as service:
        service.ready()
        assert service.said(f"Using worker: {runs}") == 1
        assert f"  threads: {threads}\n" in service.log
        assert f"  preload_app: {preload}\n" in service.log
        assert service.get("/api").status == 200


def test_command_line_takes_precedence_over_the_variable() -> None:
    with Service("-k", "gthread", GUNICORN_CMD_ARGS="-k sync -w 1", WORKERS=1) as service:
        service.ready()
        assert service.said("Using worker: gthread") == 1
        assert len(service.workers) == 1


@pytest.mark.parametrize("variable", [False, True])
def test_variables_of_env_are_settings(variable: bool) -> None:
    pairs = {
        "DRAIN_MIN": "0.7",
        "DRAIN_QUIET": "0.1",
        "DRAIN_MAX": "2",
        "WORKERS": "3",
        "WORKER_CLASS": "gthread",
        "THREADS": "5",
        "KEEPALIVE": "7",
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "on",
        "APP_VERSION": "v-env",
        "LOGLEVEL": "x",
    }
    flags = [word for name, value in pairs.items() for word in ("-e", f"{name}={value}")]
    settings: dict[str, Any] = {"GUNICORN_CMD_ARGS": " ".join(flags)} if variable else {}
    with Service(*(() if variable else flags), LOG_LEVEL="debug", WORKERS=1, **settings) as service:
        service.ready()
        wait_until(lambda: len(service.workers) == 3, "three workers")
        assert b"v-env" in service.get("/api").body
        assert service.metric("lifecycle_drain_min_seconds") == 0.7
        messages = [json.loads(line)["message"] for line in service.log.splitlines()]
        assert "Using worker: gthread" in messages
        assert any("LOGLEVEL is not a setting" in message for message in messages)
        assert any("  threads: 5\n" in message and "  keepalive: 7\n" in message for message in messages)
        wait_until(lambda: service.said("GET /api") >= 1, "the access log")
        old = service.workers
        service.signal(signal.SIGHUP)  # Gunicorn removes the variables from the environment and restores them
        wait_until(lambda: not set(old) & set(service.workers), "the reload")
        service.ready()
        assert service.metric("lifecycle_drain_min_seconds") == 0.7
        assert b"v-env" in service.get("/api").body
        service.signal(signal.SIGTERM)
        assert service.wait() < 6


def test_wrong_variable_of_env_stops_the_start() -> None:
    with Service("-e", "DRAIN_MIN=soon") as service:
        service.wait(statuses=[2])
        assert service.said("settings: DRAIN_MIN is 'soon'; allowed is seconds from 0 to 3600") == 1


def test_graceful_timeout_of_the_flag_takes_precedence() -> None:
    with Service("--graceful-timeout", "1", DRAIN_MAX=1, DRAIN_MIN=0, GRACEFUL_TIMEOUT=30) as service:
        service.ready()
        with Connection(service.port) as slow:
            slow.send("/api/sleep/40")
            wait_until(lambda: service.metric("lifecycle_requests_in_flight") == 1, "a request in flight")
            service.signal(signal.SIGTERM)
            assert service.wait() < 10


def test_keep_alive_of_the_flag_takes_precedence() -> None:
    with Service("--keep-alive", "1") as service:
        service.ready()
        with socket.create_connection(("127.0.0.1", service.port), timeout=15) as client:
            client.sendall(b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
            while client.recv(65536):  # until the close, which the default of KEEPALIVE delays to 75 s
                pass


def test_timeout_of_the_flag_takes_precedence() -> None:
    with Service("-t", "2", "-k", "sync", WORKERS=1) as service:
        service.ready()
        with Connection(service.port) as slow:
            slow.send("/api/sleep/40")
            wait_until(lambda: service.said("WORKER TIMEOUT") == 1, "the worker's timeout")


@pytest.mark.parametrize("worker_class", [LEADER_WORKER, "sync"])
def test_reload_loads_changed_code(tmp_path: Path, worker_class: str) -> None:
    for name in ("app", "gunicorn.conf.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = tmp_path / "changing.py"
    code.write_text(CHANGING.format(text="first"))
    flags = ("--reload", "changing:app")
    with Service(*flags, directory=tmp_path, WORKER_CLASS=worker_class, WORKERS=1) as service:
        assert service.ready().get("/changing").body == b"first"
        code.write_text(CHANGING.format(text="second"))
        times = itertools.count(2**31)
        wait_until(lambda: _is_second(service, code, next(times)), "the changed code")


def _is_second(service: Service, code: Path, modified: int) -> bool:
    # Gunicorn reloads a file that is newer than at its first look, before which the worker may have served.
    os.utime(code, (modified, modified))
    try:
        return service.get("/changing").body == b"second"
    except (Lost, OSError):  # its worker is being replaced
        return False


def test_preload_flag_applies_with_reload() -> None:
    with Service("--reload", "--preload", LOG_LEVEL="debug") as service:
        service.ready()
        assert "  preload_app: True\n" in service.log


def test_control_socket_is_created_on_request(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with Service("--control-socket", str(path)) as service:
        service.ready()
        wait_until(path.exists, "the control socket")
