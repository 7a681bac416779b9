"""Ingress and gateway controllers."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.checks.controllers import CONTROLLERS, known_by


@pytest.mark.parametrize(
    ("sign", "name"),
    [
        ("nginx", "ingress-nginx"),
        ("k8s.io/ingress-nginx", "ingress-nginx"),
        ("nginx.ingress.kubernetes.io/rewrite-target", "ingress-nginx"),
        ("alb", "AWS Load Balancer Controller"),
        ("istio.io/gateway-controller", "Istio"),
        ("traefik.io/ingress-controller", "Traefik"),
        ("gateway.envoyproxy.io/gatewayclass-controller", "Envoy Gateway"),
        ("gce", "Google Cloud"),
        ("kong", "Kong"),
        ("contour", "Contour"),
    ],
)
def test_controller_is_recognized(sign: str, name: str) -> None:
    found = known_by(["x", sign])
    assert found is not None
    assert found.name == name


def test_unknown_controller_is_none() -> None:
    assert known_by(["home-made", ""]) is None


def test_every_controller_names_its_source_and_setting() -> None:
    assert all(each.source.startswith("https://") and each.change and each.idle > 0 for each in CONTROLLERS)
