"""Ingress and gateway controllers."""

from __future__ import annotations

import pytest

from doctor.helpers import UNKNOWN, base, brief, dump, findings
from doctor.kinds import THREADS, added, command, ingress
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


def test_controller_by_its_class_and_by_the_default_class() -> None:
    objects = base(command(*THREADS), ingress("web", {"number": 80}))
    del objects[-1]["spec"]["ingressClassName"]
    assert (UNKNOWN, "keepalive") in brief(findings(dump(objects)))
    default = {"ingressclass.kubernetes.io/is-default-class": "true"}
    classes = added(
        "networking.k8s.io/v1", "IngressClass", "x", {"controller": "k8s.io/ingress-nginx"}, default
    )
    assert "keepalive" not in {each.check for each in findings(dump([*objects, *base(classes)[-1:]]))}


def test_gateway_of_istio_is_not_one_of_the_gateway_api() -> None:
    route = {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}
    istio = added("networking.istio.io/v1", "Gateway", "g", {"selector": {"istio": "ingress"}})
    http_route = added("gateway.networking.k8s.io/v1", "HTTPRoute", "r", route)
    found = findings(dump(base(command(*THREADS), istio, http_route)))
    assert (UNKNOWN, "keepalive") in brief(found)
