"""Checks of the containers beside a server."""

from __future__ import annotations

from doctor.helpers import RISKS, base, dump, findings, of
from doctor.kinds import before


def test_hook_of_a_proxy_that_cannot_be_read_is_a_risk() -> None:
    proxy = {
        "name": "envoy",
        "image": "envoyproxy/envoy:v1.39.0",
        "ports": [{"name": "in", "containerPort": 80}],
    }
    objects = base(before(**proxy, lifecycle={"preStop": {"exec": {"command": ["announce"]}}}))
    objects[1]["spec"]["ports"][0]["targetPort"] = "in"
    assert of("plain-sidecar", findings(dump(objects))).severity is RISKS
