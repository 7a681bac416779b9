"""Backends of routes. More of these checks: doctor/kinds_of_routes.py."""

from __future__ import annotations

from doctor.helpers import LOSES, base, dump, findings, of
from doctor.kinds import ingress


def test_port_of_a_backend_is_changed_to_the_only_one_of_the_service() -> None:
    found = of("ingress-backend", findings(dump(base(ingress("web", {"number": 8080})))))
    assert (found.severity, found.object) == (LOSES, "Ingress web")
    assert [each.value for each in found.changes] == [{"number": 80}]
