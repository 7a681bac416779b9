"""The probes. More of these checks: doctor/kinds.py and doctor/test_cases.py."""

from __future__ import annotations

import pytest

from doctor.helpers import ADVICE, LOSES, RISKS, base, brief, container, dump, findings
from doctor.kinds import image, of_container
from kubectl_lossless.doctor.checks.probes import failing_after


def test_zero_means_the_default() -> None:
    assert failing_after({"periodSeconds": 0, "failureThreshold": 0}) == failing_after({}) == 30


@pytest.mark.parametrize(
    ("name", "ports", "handler"),
    [
        ("registry.test/web:1", [{"name": "http", "containerPort": 8000}], "httpGet"),
        ("registry.test/web:1", [{"containerPort": 6432}], "tcpSocket"),
        ("mysql:8", [{"containerPort": 3306}], "tcpSocket"),
        ("registry.test/web:1", [], None),
    ],
)
def test_suggested_probe_has_the_protocol_of_the_port(
    name: str, ports: list[dict[str, object]], handler: str | None
) -> None:
    objects = base(image(name), of_container(ports=ports))
    for each in ("readinessProbe", "livenessProbe", "startupProbe"):
        del container(objects)[each]
    (found,) = (each for each in findings(dump(objects)) if each.check == "readiness-probe")
    assert (handler in found.changes[0].value) if handler else not found.changes
    assert found.severity is (ADVICE if name == "mysql:8" else LOSES)


def test_impatient_probes_are_risks() -> None:
    probe = {"httpGet": {"path": "/a", "port": "http"}, "periodSeconds": 2, "failureThreshold": 2}
    found = brief(findings(dump(base(of_container(livenessProbe=probe, startupProbe=None)))))
    assert {(RISKS, "liveness-patience"), (RISKS, "slow-start")} <= found


def test_liveness_that_asks_the_same_as_readiness_and_gives_up_as_soon_is_a_risk() -> None:
    probe = {"httpGet": {"path": "/a", "port": "http"}, "timeoutSeconds": 2}
    found = brief(findings(dump(base(of_container(livenessProbe=probe, readinessProbe=probe)))))
    assert (RISKS, "liveness-equals-readiness") in found


def test_probe_of_a_number_is_no_fault_where_no_port_is_declared() -> None:
    probe = {"httpGet": {"path": "/a", "port": 9}, "timeoutSeconds": 2, "periodSeconds": 2}
    objects = base(of_container(ports=[], readinessProbe=probe, livenessProbe=probe, startupProbe=probe))
    assert "probe-port" not in {each.check for each in findings(dump(objects))}
