"""SIGHUP: an unusable configuration changes nothing, and the log has the reason."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from app.settings import WORKER_CLASSES
from gunicorn_drain.install import OURS_FIRST, OURS_LAST
from tests.ports import reserve_port
from tests.process.clients import CALM_KINDS, Crowd, get
from tests.process.service import QUICK, ROOT, SLACK, Service
from tests.waiting import CONDITION_TIMEOUT, wait_until

GOOD = (ROOT / "gunicorn.conf.py").read_text()

FAILED = "The service keeps serving with its old configuration"

AGAIN = "\ngunicorn_drain.install(globals(), probes=PROBES, policy=settings.drain_policy)"
"""A second call, which chains the hook above it."""

# Text appended to the configuration, and the reason in the log.
MISTAKES = {
    "this is no python(": r"SyntaxError: .* \(gunicorn\.conf\.py, line \d+\)",
    "import no_such_module": r"ModuleNotFoundError: .*no_such_module.* \(line \d+ of the configuration\)",
    "workers = 1 / 0": r"ZeroDivisionError: .* \(line \d+ of the configuration\)",
    "raise KeyboardInterrupt": r"KeyboardInterrupt",
    "import sys; sys.exit(2)": r"SystemExit: 2",
    "settings_or_exit({'WORKERS': 'x', 'PORT': '0'})": (
        r"SettingsError: PORT is '0'; allowed .*; WORKERS is 'x'; allowed"
    ),
    "workers = 'many'": r"workers is 'many': ValueError: ",
    "timeout = -1": r"timeout is -1: ValueError: Value must be positive: -1",
    "user = 'no-such-user'": r"No such user: 'no-such-user'",
    "chdir = '/no/such/directory'": r"chdir is '/no/such/directory': ConfigError: ",
    "raw_env = ['NO_VALUE']": r"NO_VALUE",
    "pidfile = '/no/such/directory/pid'": r"/no/such/directory",
    "logconfig = '/no/such/file'": r"/no/such/file",
    "logconfig_dict = {'version': 9}": r"version",
    "worker_class = 'no_such_module.Worker'": r"worker_class is 'no_such_module.Worker', .*no_such_module",
    "worker_class = 'gunicorn_fast.NoSuchWorker'": r"worker_class is 'gunicorn_fast.NoSuchWorker'",
    "bind = '192.0.2.1:8000'": r"bind is 192\.0\.2\.1 port 8000: Cannot assign requested address",
    "bind = [f'0.0.0.0:{settings.port}', f'127.0.0.1:{TAKEN}']": (
        r"bind is 127\.0\.0\.1 port \d+: Address already in use"
    ),
    "bind = '127.0.0.1:http'": r"'http' is not a valid port number",
    "bind = 'fd://3'": r"bind is 3: a file descriptor can only be used from the start on",
    "def on_reload(server): raise LookupError('on_reload')": r"LookupError: on_reload",
    "def pre_fork(server, worker): raise LookupError('pre_fork')" + AGAIN: r"LookupError: pre_fork",
    "def nworkers_changed(server, new, old): raise LookupError\nworkers = 3": r"LookupError",
    "del pre_fork": r"pre_fork is not the hook that gunicorn_drain.install\(\) has set; call install\(\)",
    "def post_request(worker, request): pass": r"post_request is not the hook that gunicorn_drain.install",
    f"del {', '.join((*OURS_FIRST, *OURS_LAST))}": r"does not call gunicorn_drain.install\(\)",
    "def post_fork(server, worker): raise LookupError" + AGAIN: r"its first worker, pid \d+, exited",
    "def post_worker_init(worker): raise LookupError" + AGAIN: r"its first worker, pid \d+, exited",
    "workers = 256": r"workers is 256; allowed are whole numbers from 1 to 255",
}

UNSUPPORTED_CLASS = "\nfrom gunicorn.workers.base import Worker as worker_class\n"

MISSING_APPLICATION = """
preload_app = False
wsgi_app = "no_such_application:app"
"""


def reload(service: Service) -> None:
    """Send SIGHUP and wait until the old workers have exited."""
    old = set(service.workers)
    service.signal(signal.SIGHUP)
    # A new worker imports everything again, gevent too; on a busy machine that takes seconds.
    wait_until(lambda: not old & set(service.workers), "new workers only", seconds=60)


def reload_fails(service: Service, reason: str) -> None:
    """Send SIGHUP and check that the log reports once, with the reason, that nothing has changed."""
    old, count = service.workers, service.said(FAILED)
    service.signal(signal.SIGHUP)
    wait_until(lambda: service.said(FAILED) > count or service.process.poll() is not None, "a failure")
    assert service.process.poll() is None, service.log
    line = [line for line in service.log.splitlines() if FAILED in line][-1]
    assert re.search(rf"Reload failed: .*{reason}", line), line
    wait_until(lambda: service.workers == old, "the old workers only")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(GOOD)
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [*({"WORKER_CLASS": each} for each in WORKER_CLASSES), {"DRAIN": "off"}],
    ids=lambda settings: next(iter(settings.values())),
)
def test_mistakes_in_the_configuration_lose_no_request(settings: dict[str, Any], configuration: Path) -> None:
    count = 6 if settings.get("WORKER_CLASS") == "sync" else 2
    environment = {**QUICK, "WORKERS": count, "PORT": reserve_port(), **settings}
    with (
        Service("-c", str(configuration), bind=False, **environment) as service,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        taken = f"\nTAKEN = {other.getsockname()[1]}\n"
        port = service.ready().port
        with Crowd(lambda: port, CALM_KINDS, each=1) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            for mistake, reason in MISTAKES.items():
                configuration.write_text(GOOD + taken + mistake + "\n")
                reload_fails(service, reason)
            if "DRAIN" not in settings:
                configuration.write_text(GOOD + UNSUPPORTED_CLASS)
                reload_fails(service, r"worker_class is gunicorn\.workers\.base\.Worker, which does not")
            configuration.write_text(GOOD + MISSING_APPLICATION)
            if (
                settings.get("WORKER_CLASS") == "gevent"
            ):  # Gunicorn keeps an application that it has preloaded
                reload_fails(service, "exited before it was ready")
            configuration.unlink()
            reload_fails(service, r"gunicorn\.conf\.py does not exist any more")
            configuration.write_text(GOOD + "\nno_such_setting = 1\n")
            before = crowd.responses
            if "DRAIN" not in settings:  # stock Gunicorn's reload closes connections without notice
                reload(service)
            wait_until(lambda: crowd.responses > before + 50, "traffic afterwards")
            if "DRAIN" not in settings:
                service.begin_drain()
                wait_until(lambda: crowd.responses > before + 100, "traffic while draining")
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        service.signal(signal.SIGTERM)
        assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log
        assert service.said("Drain began") == ("DRAIN" not in settings)


def test_reload_adds_and_removes_listeners(configuration: Path) -> None:
    first, second = reserve_port(), reserve_port()
    with Service("-c", str(configuration), bind=False, PORT=first, **QUICK) as service:
        service.ready()
        configuration.write_text(GOOD + f"\nbind = ['0.0.0.0:{first}', '127.0.0.1:{second}']\n")
        reload(service)
        assert get(first, "/api").status == get(second, "/api").status == 200
        configuration.write_text(GOOD + f"\nbind = '127.0.0.1:{second}'\n")
        reload(service)
        assert get(second, "/api").status == 200
        with pytest.raises(ConnectionRefusedError):
            get(first, "/api")
        service.signal(signal.SIGTERM)
        service.wait()


SLOW = """
import pathlib, time
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
if pathlib.Path({flag!r}).exists():
    time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_stop_does_not_wait_for_a_new_worker_that_loads(number: signal.Signals, tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    (tmp_path / "slow_application.py").write_text(SLOW.format(flag=str(flag)))
    flags = ("--pythonpath", str(tmp_path), "slow_application:application")
    settings = {**QUICK, "WORKER_CLASS": "gevent", "WORKERS": 1}
    with Service(*flags, **settings) as service:
        port = service.ready("/").port
        flag.touch()
        service.signal(signal.SIGHUP)
        wait_until(lambda: len(service.workers) == 2, "a new worker")
        assert get(port, "/").status == 200
        service.signal(number)
        if number == signal.SIGTERM:
            wait_until(lambda: service.said("Drain began") == 1, "the drain")
            assert get(port, "/").closes
            assert service.wait() >= QUICK["DRAIN_MIN"]
            assert service.said("Drain ended: quiet") == 1
        else:
            assert service.wait() <= SLACK
        assert service.said("was not ready yet when the service had to stop") == 1


@pytest.mark.long
def test_new_worker_that_never_becomes_ready_is_terminated(tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    (tmp_path / "slow_application.py").write_text(SLOW.format(flag=str(flag)))
    flags = ("--pythonpath", str(tmp_path), "--timeout", "10", "slow_application:application")
    settings = {**QUICK, "WORKER_CLASS": "gevent", "WORKERS": 1}
    with Service(*flags, **settings) as service:
        service.ready("/")
        flag.touch()
        reload_fails(service, "its first worker, pid [0-9]+, (was not ready within 10 s|exited before)")
        flag.unlink()
        reload(service)
        service.signal(signal.SIGTERM)
        assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log
        assert service.said("Drain ended: quiet") == 1


def test_reload_can_switch_the_drain_on_and_off(configuration: Path) -> None:
    off = GOOD + "\ngunicorn_drain.get_drain().configure(None, PROBES)\n"
    with Service("-c", str(configuration), **QUICK) as service:
        service.ready()
        configuration.write_text(off)
        reload(service)
        service.signal(signal.SIGTERM)
        service.wait()
        assert service.said("Drain began") == 0
    with Service("-c", str(configuration), **QUICK) as service:
        service.ready()
        configuration.write_text(GOOD)
        reload(service)
        service.signal(signal.SIGTERM)
        assert service.wait() >= QUICK["DRAIN_MIN"]
        assert service.said("Drain ended: quiet") == 1


def test_reload_in_a_drain_is_ignored() -> None:
    with Service(**QUICK) as service:
        old = service.ready().workers
        service.begin_drain()
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: service.said("Reload ignored: the service is terminating") == 1, "the line")
        assert service.workers == old
        service.wait()
        assert service.said("Drain ended: quiet") == 1


def test_changed_number_of_workers_survives_a_failed_reload(configuration: Path) -> None:
    with Service("-c", str(configuration), **QUICK) as service:
        service.ready().signal(signal.SIGTTIN)
        wait_until(lambda: len(service.workers) == 3, "a third worker")
        configuration.write_text(GOOD + "\ndef pre_fork(server, worker): raise LookupError" + AGAIN)
        reload_fails(service, "LookupError")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(CONDITION_TIMEOUT) == 0, service.log
