"""Settings and flags, as an operator who starts the service sees them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from app.settings import RENAMED
from gunicorn_fast import LEADER_WORKER
from tests.ports import reserve_port
from tests.process.service import ROOT, Service
from tests.waiting import wait_until

WRONG = {
    "PORT": "0",
    "WORKERS": "many",
    "WORKER_CLASS": "asgi",
    "DRAIN": "maybe",
    "DRAIN_MIN": "9",
    "DRAIN_MAX": "3",
    "LOG_LEVEL": "loud",
}


def test_all_errors_are_reported_at_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=ROOT,
        env=WRONG,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert all(" CRITICAL settings: " in line for line in lines), ended.stderr  # and no traceback
    for name, value in WRONG.items():
        said = [line for line in lines if name in line and "allowed" in line]
        assert said, name
        assert any(value in line for line in said), name
    assert ended.stdout == ""


def test_port_is_a_setting() -> None:
    port = reserve_port()
    with Service(bind=False, PORT=port) as service:
        assert service.ready().port == port
        assert service.said(f"Listening at: http://0.0.0.0:{port}") == 1


def test_flags_of_gunicorn_take_precedence() -> None:
    port = reserve_port()
    with Service("-b", f"127.0.0.1:{port}", "-w", "3", bind=False, PORT=1, WORKERS=1) as service:
        assert service.ready().port == port
        wait_until(lambda: len(service.workers) == 3, "three workers")


def test_variable_of_gunicorn_takes_precedence() -> None:
    port = reserve_port()
    arguments = f"--bind=127.0.0.1:{port} --workers=3"
    with Service(bind=False, GUNICORN_CMD_ARGS=arguments, PORT=1, WORKERS=1) as service:
        assert service.ready().port == port
        wait_until(lambda: len(service.workers) == 3, "three workers")


def injected(service: str, port: int = 80) -> dict[str, str]:
    """Return the variables that Kubernetes creates for a Service."""
    name, address = service.upper().replace("-", "_"), "10.43.0.9"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_HTTP": str(port),
        f"{name}_PORT": f"tcp://{address}:{port}",
        f"{name}_PORT_{port}_TCP": f"tcp://{address}:{port}",
        f"{name}_PORT_{port}_TCP_PROTO": "tcp",
        f"{name}_PORT_{port}_TCP_PORT": str(port),
        f"{name}_PORT_{port}_TCP_ADDR": address,
    }


def test_services_of_the_namespace_are_no_settings() -> None:
    services = ("drain", "drain-min", "port", "workers", "host", "log", "stream-limit", "gunicorn", "bind")
    environment: dict[str, Any] = {name: value for each in services for name, value in injected(each).items()}
    with Service(**environment) as service:
        assert service.ready().get("/api").status == 200
        assert service.said(" WARNING ") == 0


def test_likely_typos_are_reported_and_have_no_effect() -> None:
    typos: dict[str, Any] = {
        "LOGLEVEL": "debug",
        "WORKER": "3",
        "THREAD": "4",
        "drain_max": "9",
        "DRAIN_MINIMUM": "1",
    }
    with Service(LOG_FORMAT="json", **typos) as service:
        wait_until(lambda: service.said("Booting worker") == 2, "two workers")
        lines = [json.loads(line) for line in service.log.splitlines()]
        assert [line["message"] for line in lines if line["level"] == "WARNING"] == [
            "DRAIN_MINIMUM is not a setting and has no effect; DRAIN_MIN may be meant",
            "LOGLEVEL is not a setting and has no effect; LOG_LEVEL may be meant",
            "THREAD is not a setting and has no effect; THREADS may be meant",
            "WORKER is not a setting and has no effect; WORKERS may be meant",
            "drain_max is not a setting and has no effect; DRAIN_MAX may be meant",
        ]


def test_empty_variables_count_as_not_set() -> None:
    with Service(DRAIN_MIN="", LOG_LEVEL="", WORKER_CLASS="") as service:
        service.ready()
        assert service.said("DRAIN_MIN is empty and has no effect; its default applies, 5") == 1
        assert service.said("LOG_LEVEL is empty and has no effect; its default applies, info") == 1
        assert service.said(f"Using worker: {LEADER_WORKER}") == 1
        assert service.metric("lifecycle_drain_min_seconds") == 5


def test_web_concurrency_is_the_number_of_workers() -> None:
    with Service(WEB_CONCURRENCY=3) as service:
        service.ready()
        wait_until(lambda: len(service.workers) == 3, "three workers")
        assert service.said("WEB_CONCURRENCY") == 0


def test_workers_takes_precedence_over_web_concurrency() -> None:
    with Service(WEB_CONCURRENCY=3, WORKERS=1) as service:
        service.ready()
        assert len(service.workers) == 1
        assert service.said("WEB_CONCURRENCY is '3' and has no effect; WORKERS applies, 1") == 1


@pytest.mark.parametrize("old", RENAMED)
def test_flag_with_an_old_worker_class_is_refused_with_its_new_name(old: str) -> None:
    with Service("-k", old) as service:
        assert service.process.wait(20) == 2
        assert service.said(f"settings: -k is {old!r}; its name is {RENAMED[old]} now") == 1
        assert service.said("Traceback") == 0


@pytest.mark.parametrize("value", ["0", "65"])
def test_web_concurrency_out_of_range_is_refused_with_one_sentence(value: str) -> None:
    with Service(WEB_CONCURRENCY=value) as service:
        assert service.process.wait(20) == 2
        assert service.said(f"settings: WEB_CONCURRENCY is {value!r}; allowed is a whole number") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("app:nosuch", "Failed to find attribute 'nosuch' in 'app'."),
        ("app:create_app(", "Failed to parse 'create_app(' as an attribute name or function call."),
        ("app:create_app(1, 2, 3)", "create_app() takes from 0 to 2 positional arguments but 3 were given"),
    ],
)
def test_wrong_name_of_the_application_is_one_sentence(name: str, sentence: str) -> None:
    with Service(name, bind=False, PORT=reserve_port()) as service:
        assert service.process.wait(20) == 1
        assert re.fullmatch(rf"\S+ \[[0-9]+\] CRITICAL (TypeError: )?{re.escape(sentence)}\n", service.log)
