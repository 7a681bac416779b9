"""A service under a path prefix (SCRIPT_NAME), where the platform's probes are recognized too."""

from __future__ import annotations

import json
import time

import pytest

from app.settings import WORKER_CLASSES
from tests.process.service import QUICK, Service
from tests.waiting import wait_until

LONG = {**QUICK, "DRAIN_MAX": 30, "SCRIPT_NAME": "/flask"}


def probe_until_the_end(service: Service, *requests: tuple[str, tuple[str, ...]]) -> None:
    """Send probes more often than DRAIN_QUIET until the service has exited."""

    def gone() -> bool:
        for path, headers in requests:
            try:
                service.get(path, *headers)
            except OSError:
                return True
            except Exception:  # noqa: BLE001 - the connection ended with the service
                return True
        time.sleep(0.05)
        return False

    wait_until(gone, "the end of the drain")


@pytest.mark.parametrize(
    ("worker_class", "prefix"),
    [
        *((name, "/flask") for name in WORKER_CLASSES),
        *((WORKER_CLASSES[0], name) for name in ("/flask/", "/a/b")),
    ],
)
def test_drain_under_a_prefix_does_not_wait_for_probes(worker_class: str, prefix: str) -> None:
    root = prefix.rstrip("/")
    with Service(WORKER_CLASS=worker_class, **{**LONG, "SCRIPT_NAME": prefix}) as service:
        service.ready(f"{root}/health/ready")
        assert service.get(f"{root}/api").status == 200
        service.begin_drain(f"{root}/health/ready")
        probe_until_the_end(
            service,
            (f"{root}/health", ()),
            (f"{root}/health/ready/", ()),
            (f"{root}/metrics?a=b", ()),
            (f"{root}/api/nowater/version", ("X-Custom-Header: Awesome",)),
        )
        assert service.wait() < 10
        assert service.said("Drain ended: quiet") == 1


def test_drain_does_not_wait_for_probes_with_the_prefix_in_a_trusted_header() -> None:
    with Service("--forwarder-headers", "SCRIPT_NAME", **{**QUICK, "DRAIN_MAX": 30}) as service:
        service.ready()
        service.begin_drain()
        probe_until_the_end(service, ("/flask/health", ("SCRIPT_NAME: /flask",)), ("/health", ()))
        assert service.wait() < 10
        assert service.said("Drain ended: quiet") == 1


def test_drain_under_a_prefix_waits_for_clients() -> None:
    # On a busy machine 0.3 s may pass between two requests of a client.
    with Service(**{**LONG, "DRAIN_QUIET": 2, "DRAIN_MAX": 4}) as service:
        service.ready("/flask/health/ready")
        service.begin_drain("/flask/health/ready")
        probe_until_the_end(service, ("/flask/api", ()))
        service.wait()
        assert service.said("Drain ended: maximum") == 1


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_request_outside_the_prefix_is_refused_with_the_reason(worker_class: str) -> None:
    reason = "Configuration problem: Request path '/health' does not start with SCRIPT_NAME '/flask'."
    with Service(WORKER_CLASS=worker_class, **LONG) as service:
        service.ready("/flask/health/ready")
        for _ in range(2):
            response = service.get("/health")
            assert response.status == 500
            assert json.loads(response.body)["detail"] == reason
        assert service.said(f"Refused a request of 127.0.0.1 with 500: {reason}") in {1, 2}  # one a worker
