"""The drain without a cluster: systemd's interfaces, and nginx and HAProxy on one machine.

systemd itself is not needed: it passes a listening socket and the address of its notification socket, and
sends signals.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import reserve_port
from tests.process.clients import Connection, Crowd, Kind, Lost, get
from tests.process.plain import APPLICATION, ASGI_APPLICATION, KINDS
from tests.process.service import Service
from tests.waiting import wait_until

CONFIGURATION = """
import gunicorn_drain
worker_class, threads, graceful_timeout, keepalive, workers = "gthread", 8, 8, 75, 2
gunicorn_drain.install(globals(), readiness="/ready")
"""

SYSTEMD = """
import os, sys
os.dup2(int(os.environ["INHERITED"]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *sys.argv[1:]])
"""
"""Program that starts Gunicorn as systemd does with socket activation: the socket is descriptor 3."""


def start(directory: Path, *program: str, worker_class: str = "gthread", **options: Any) -> Service:
    (directory / "service.py").write_text(ASGI_APPLICATION if "uvicorn" in worker_class else APPLICATION)
    (directory / "gunicorn.conf.py").write_text(CONFIGURATION)
    settings = {"DRAIN_MIN": 1, "DRAIN_QUIET": 0.3, "DRAIN_MAX": 4, **options}
    if program:
        settings["program"] = program
    return Service("-k", worker_class, "service:application", directory=directory, **settings)


# ---- systemd -----------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Yield a listening socket that outlives the services, as systemd's does."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as created:
        yield created


def activated(directory: Path, listener: socket.socket, **settings: Any) -> Service:
    """Start a service with an inherited listener."""
    number = listener.fileno()
    program = (sys.executable, "-c", SYSTEMD)
    return start(directory, *program, bind=False, pass_fds=(number,), INHERITED=number, **settings)


@pytest.mark.parametrize("worker_class", ["gthread", "uvicorn_worker.UvicornWorker"])
def test_restart_with_socket_activation_loses_nothing(
    worker_class: str, tmp_path: Path, listener: socket.socket
) -> None:
    """Restart while requests arrive, which wait in systemd's socket between the two services."""
    port = listener.getsockname()[1]
    # New connections never stop arriving, so only DRAIN_MAX ends this drain.
    settings: dict[str, Any] = {"DRAIN_MIN": 0, "DRAIN_MAX": 2, "worker_class": worker_class}
    with activated(tmp_path, listener, **settings) as old:
        old.ready("/ready")
        with Crowd(lambda: port, KINDS) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            old.signal(signal.SIGTERM)
            old.wait()
            with activated(tmp_path, listener, **settings) as new:
                new.ready("/ready")
                crowd.wait_for_responses(100, "responses of the new service")
                crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        assert old.said("Drain ended: maximum") == 1, old.log


def test_notification_is_sent_when_the_service_listens(tmp_path: Path) -> None:
    """Notify as `Type=notify` expects: systemd starts the dependent services when READY=1 arrives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(str(tmp_path / "notify"))
        notifications.settimeout(30)
        with start(tmp_path, NOTIFY_SOCKET=tmp_path / "notify") as service:
            assert b"READY=1" in notifications.recv(4096)
            Connection(service.port).close()
            service.ready("/ready")
            service.begin_drain("/ready")
            service.wait()


@pytest.mark.parametrize("mode", ["mixed", "control-group"])
def test_kill_mode_of_systemd_loses_nothing(mode: str, tmp_path: Path) -> None:
    """Stop as systemd does: `control-group`, its default, sends SIGTERM to the workers too."""
    with start(tmp_path) as service:
        port = service.ready("/ready").port
        with Crowd(lambda: port, KINDS) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            workers = service.workers if mode == "control-group" else []
            service.signal(signal.SIGTERM)
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda: service.said("Drain began") == 1, "the drain")
            crowd.wait_for_responses(50, "responses while draining")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        service.wait()


# ---- proxies -----------------------------------------------------------------------------------------------

HAPROXY = """
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port}
    default_backend services
backend services
    option httpchk GET /ready
    default-server check inter 200ms fall 2 rise 1
    server old 127.0.0.1:{old}
    server new 127.0.0.1:{new}
"""

NGINX = """
daemon off;
{user}
pid {directory}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream services {{
        {servers}
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://services;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream {next_upstream};
        }}
    }}
}}
"""


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@contextmanager
def running(*command: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy until the end of the block; it responds when the block begins."""
    process = subprocess.Popen(command)

    def responds() -> bool:
        assert process.poll() is None, f"{command[0]} ended with status {process.returncode}"
        try:
            return get(port, "/").status == 200
        except (Lost, OSError):
            return False

    try:
        wait_until(responds, f"a response through {command[0]}")
        yield process
    finally:
        process.terminate()
        process.wait(30)


def nginx_configuration(directory: Path, port: int, servers: list[int], next_upstream: str = "off") -> Path:
    text = NGINX.format(
        directory=directory,
        port=port,
        servers="\n".join(f"server 127.0.0.1:{each};" for each in servers),
        next_upstream=next_upstream,
        user="user root;" if os.getuid() == 0 else "",
    )
    (directory / "nginx.conf").write_text(text)
    return directory / "nginx.conf"


@needs("haproxy")
def test_replacement_behind_haproxy_loses_nothing(tmp_path: Path) -> None:
    """Rely on HAProxy's checks, which detect the readiness within `inter` times `fall`, before DRAIN_MIN."""
    port = reserve_port()
    with start(tmp_path) as old, start(tmp_path) as new:
        for each in (old, new):
            each.ready("/ready")
        (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(port=port, old=old.port, new=new.port))
        with (
            running("haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg"), port=port),
            Crowd(lambda: port, KINDS) as crowd,
        ):
            wait_until(crowd.everyone_served, "a response to every kind")
            old.begin_drain("/ready")
            old.wait()
            crowd.wait_for_responses(100, "responses of the new service")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        assert old.said("Drain ended: quiet") == 1, old.log


@needs("nginx")
def test_replacement_behind_nginx_with_its_retries_loses_nothing(tmp_path: Path) -> None:
    """Rely on nginx's retries: without active checks, it tries the next server after a refusal."""
    port = reserve_port()
    with start(tmp_path, DRAIN_MAX=2) as old, start(tmp_path) as new:
        servers = [each.ready("/ready").port for each in (old, new)]
        configuration = nginx_configuration(tmp_path, port, servers, "error timeout")
        with (
            running("nginx", "-p", str(tmp_path), "-c", str(configuration), port=port),
            Crowd(lambda: port, KINDS) as crowd,
        ):
            wait_until(crowd.everyone_served, "a response to every kind")
            old.begin_drain("/ready")
            old.wait()
            crowd.wait_for_responses(100, "responses of the new service")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)


@needs("nginx")
def test_replacement_of_a_server_removed_from_nginx_loses_nothing(tmp_path: Path) -> None:
    """Remove the server by a reload of nginx, which finishes its requests to that server."""
    port = reserve_port()
    kinds = (Kind("new", path="/", kept=False), Kind("slow", path="/slow", kept=False))
    with start(tmp_path) as old, start(tmp_path) as new:
        servers = [each.ready("/ready").port for each in (old, new)]
        configuration = nginx_configuration(tmp_path, port, servers)
        with (
            running("nginx", "-p", str(tmp_path), "-c", str(configuration), port=port) as nginx,
            # nginx closes idle connections of its clients in a reload, whatever the servers do.
            Crowd(lambda: port, kinds, each=3) as crowd,
        ):
            wait_until(crowd.everyone_served, "a response to every kind")
            nginx_configuration(tmp_path, port, servers[1:])
            nginx.send_signal(signal.SIGHUP)
            old.begin_drain("/ready")
            old.wait()
            crowd.wait_for_responses(100, "responses of the new service")
            crowd.stop()
        assert crowd.lost == 0, str(crowd)
        assert old.said("Drain ended: quiet") == 1, old.log


# ---- docker stop -------------------------------------------------------------------------------------------


def test_service_exits_within_the_ten_seconds_of_docker_stop(tmp_path: Path) -> None:
    """Exit before the SIGKILL that `docker stop` and Compose send after 10 s by default."""
    settings: dict[str, Any] = {
        "DRAIN_MIN": 0,
        "DRAIN_QUIET": 0.5,
        "DRAIN_MAX": 6,
        "GUNICORN_CMD_ARGS": "--graceful-timeout 2",
    }
    with start(tmp_path, **settings) as service, Connection(service.ready("/ready").port) as slow:
        slow.send("/slow")
        service.begin_drain("/ready")
        response = slow.response()
        assert (response.status, response.closes) == (200, True)
        assert service.wait() < 10
