"""Servers that are known by their settings."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.settings import spring, traefik
from kubectl_lossless.doctor.server.start import Start

JAVA = ["java", "-jar", "/app.jar"]
YAML = "server:\n  shutdown: graceful\nspring:\n  lifecycle:\n    timeout-per-shutdown-phase: 40s\n"
PROPERTIES = "server.shutdown=graceful\nspring.lifecycle.timeout-per-shutdown-phase = 40s\n"


@pytest.mark.parametrize(
    ("path", "text"), [("/config/application.yaml", YAML), ("/app/application-prod.properties", PROPERTIES)]
)
def test_spring_boot_has_its_settings_from_a_file(path: str, text: str) -> None:
    start = Start(JAVA, files={path: text})
    found = spring(start, {})
    assert found is not None
    assert (found.graceful, found.drain) == (40, 0)
    overridden = spring(start, {"SPRING_LIFECYCLE_TIMEOUTPERSHUTDOWNPHASE": "20s"})
    assert overridden is not None
    assert overridden.graceful == 20


def test_spring_boot_is_not_known_by_other_files() -> None:
    assert spring(Start(JAVA, files={"/config/logback.xml": YAML}), {}) is None
    assert spring(Start(JAVA, files={"/config/application.yaml": "shutdown: now\n"}), {}) is None


def test_traefik_drains_as_long_as_its_entry_points() -> None:
    options = [
        "--entrypoints.web.address=:80",
        "--entrypoints.web.transport.lifecycle.requestacceptgracetimeout=15",
    ]
    found = traefik(options, {}, "traefik:v3.6")
    assert found is not None
    assert (found.drain, found.graceful) == (15, 10)
    assert traefik(["--configfile=/etc/traefik.yaml", *options], {}, "traefik:v3.6") is None
