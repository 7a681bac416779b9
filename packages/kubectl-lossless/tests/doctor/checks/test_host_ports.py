"""Ports of the nodes."""

from __future__ import annotations

from doctor.helpers import RISKS, base, brief, dump, findings
from doctor.kinds import of_container


def test_host_port_and_host_network_hold_new_pods_back() -> None:
    port = [{"name": "http", "containerPort": 8000, "hostPort": 80}]
    assert (RISKS, "host-port") in brief(findings(dump(base(of_container(ports=port)))))
    objects = base()
    objects[0]["spec"]["template"]["spec"]["hostNetwork"] = True
    assert (RISKS, "host-port") in brief(findings(dump(objects)))
