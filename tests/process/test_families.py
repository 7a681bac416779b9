"""IPv4 and IPv6: both by default, one on a machine with one family, and BIND."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import psutil
import pytest

from app.settings import WORKER_CLASSES
from tests.ports import reserve_port
from tests.process.clients import Connection, Response
from tests.process.families import namespace, within, without_ipv6
from tests.process.service import QUICK, ROOT, Service
from tests.waiting import wait_until

ONLY_IPV6 = ("ip address delete 127.0.0.1/8 dev lo", "ip address add 2001:db8::1/128 dev lo nodad")
ONLY_IPV4 = ("sysctl -qw net.ipv6.conf.all.disable_ipv6=1", "ip address add 192.0.2.1/32 dev lo")
GUNICORN = (sys.executable, "-m", "gunicorn")
PORT = 8080


def connect(service: Service, host: str, port: int = PORT) -> Connection:
    """Connect in the service's network namespace."""
    return within(service.process.pid, lambda: Connection(port, host=host))


def ask(service: Service, host: str, path: str = "/api", port: int = PORT) -> Response:
    with connect(service, host, port) as connection:
        return connection.ask(path)


def serves(service: Service, host: str, port: int = PORT) -> bool:
    assert service.process.poll() is None, service.log
    try:
        return ask(service, host, "/health/ready", port).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
@pytest.mark.parametrize(
    ("commands", "hosts", "others"),
    [
        (ONLY_IPV6, ("::1", "2001:db8::1"), ("127.0.0.1",)),
        (ONLY_IPV4, ("127.0.0.1", "192.0.2.1"), ("::1",)),
        ((), ("127.0.0.1", "::1"), ()),
    ],
    ids=["only IPv6", "only IPv4", "both"],
)
def test_service_serves_and_drains_with_the_available_families(
    commands: Sequence[str], hosts: Sequence[str], others: Sequence[str], worker_class: str
) -> None:
    with Service(
        bind=False, program=(*namespace(*commands), *GUNICORN), WORKER_CLASS=worker_class, **QUICK
    ) as service:
        for host in hosts:
            wait_until(lambda host=host: serves(service, host), f"readiness at {host}")  # type: ignore[misc]
            assert ask(service, host).status == 200
        for host in others:
            with pytest.raises(OSError, match=r"unreachable|refused|assign"):
                connect(service, host)
        service.signal(signal.SIGTERM)
        wait_until(lambda: service.said("Drain began") == 1, "the drain")
        for host in hosts:
            assert ask(service, host, "/health/ready").status == 503
            assert ask(service, host).closes
        service.wait()
        assert service.said("Drain ended: quiet;") == 1
        assert service.said("Stopped: every request completed") == 1


def test_clients_are_logged_by_the_address_of_their_own_family() -> None:
    with Service(bind=False, program=(*namespace(), *GUNICORN), ACCESS_LOG="on") as service:
        for host in ("127.0.0.1", "::1"):
            wait_until(lambda host=host: serves(service, host), f"readiness at {host}")  # type: ignore[misc]
            ask(service, host, "/api/nowater/version")
            line = f' {host} "GET /api/nowater/version '
            wait_until(lambda line=line: service.said(line) == 1, line)  # type: ignore[misc]
        assert service.said("::ffff:") == 0


def test_service_listens_on_ipv4_without_ipv6_in_the_kernel() -> None:
    port = reserve_port()
    with Service(bind=False, program=(*without_ipv6(), *GUNICORN), PORT=port) as service:
        assert service.ready().port == port
        assert service.said(f"Listening at: http://0.0.0.0:{port} (") == 1


@pytest.mark.parametrize(
    ("value", "listening"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}"),
        ("::1", "http://[::1]:{port}"),
        ("[::1], 127.0.0.1", "http://[::1]:{port},http://127.0.0.1:{port}"),
        ("::,127.0.0.1", "http://[::]:{port},http://127.0.0.1:{port}"),
        ("::", "http://[::]:{port}"),
    ],
)
def test_bind_is_a_setting(value: str, listening: str) -> None:
    with Service(bind=False, program=(*namespace(), *GUNICORN), BIND=value, PORT=8099) as service:
        host = "::1" if value == "::1" else "127.0.0.1"
        wait_until(lambda: serves(service, host, 8099), "readiness")
        assert service.said(f"Listening at: {listening.format(port=8099)} (") == 1


def test_wrong_bind_is_reported() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=ROOT,
        env={"BIND": "localhost"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.endswith(
        "settings: BIND is 'localhost'; allowed is IP addresses, separated by commas\n"
    )
    assert ended.stderr.count("\n") == 1


def test_flag_takes_precedence_over_bind() -> None:
    with Service(
        "-b", "[::1]:8099", bind=False, program=(*namespace(), *GUNICORN), BIND="0.0.0.0"
    ) as service:
        wait_until(lambda: serves(service, "::1", 8099), "readiness")
        assert service.said("Listening at: http://[::1]:8099 (") == 1


def test_flags_bind_both_families_to_one_port() -> None:
    flags = ("-b", "[::]:8099", "-b", "0.0.0.0:8099")
    with Service(*flags, bind=False, program=(*namespace(), *GUNICORN)) as service:
        for host in ("127.0.0.1", "::1"):
            wait_until(lambda host=host: serves(service, host, 8099), f"readiness at {host}")  # type: ignore[misc]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_drain_waits_for_connections_in_the_queue_of_each_listener(host: str) -> None:
    with Service(bind=False, program=(*namespace(), *GUNICORN), **QUICK) as service:
        wait_until(lambda: serves(service, host), "readiness")
        wait_until(lambda: service.said("Booting worker") == 2, "all workers")
        for pid in service.workers:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "a stop")  # type: ignore[misc]
        with connect(service, host) as waiting:
            waiting.send()
            service.signal(signal.SIGTERM)
            wait_until(lambda: service.said("Drain ended") == 1, "the drain's end")
            assert service.said("Drain ended: maximum; 0 requests completed") == 1
            assert service.said("1 waiting to be accepted") == 1
        for pid in service.workers:
            os.kill(pid, signal.SIGCONT)
        service.process.wait(30)


def test_reload_adds_the_other_family(tmp_path: object) -> None:
    configuration = ROOT / "gunicorn.conf.py"
    path = tmp_path / "gunicorn.conf.py"  # type: ignore[operator]
    path.write_text(configuration.read_text() + "\nbind = '0.0.0.0:8099'\n")
    with Service("-c", str(path), bind=False, program=(*namespace(), *GUNICORN), **QUICK) as service:
        wait_until(lambda: serves(service, "127.0.0.1", 8099), "readiness")
        assert not serves(service, "::1", 8099)
        path.write_text(configuration.read_text() + "\nbind = ['0.0.0.0:8099', '[::]:8099']\n")
        service.signal(signal.SIGHUP)
        wait_until(lambda: service.said("Reload succeeded") == 1, "the reload")
        assert serves(service, "::1", 8099)
        assert serves(service, "127.0.0.1", 8099)
