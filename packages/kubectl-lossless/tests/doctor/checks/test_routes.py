"""Backends of the objects that route requests. What is wrong with them: doctor/kinds_of_routes.py."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.helpers import base, dump, only
from doctor.kinds import added, ingress
from kubectl_lossless.doctor.checks.routes import ROUTES, idle_timeout, of, routes_to, subsets
from kubectl_lossless.doctor.documents import Document

TRAEFIK = {"routes": [{"services": [{"name": "a", "port": 80}, {"name": "w", "kind": "TraefikService"}]}]}
CONTOUR = {
    "routes": [{"services": [{"name": "a", "port": 80}]}],
    "tcpproxy": {"services": [{"name": "b", "port": 1}]},
}
HOSTS = ("a", "b.demo.svc.cluster.local", "a.test", "*.local")
ISTIO = {
    "http": [
        {
            "route": [{"destination": {"host": each, "port": {"number": 80}}} for each in HOSTS],
            "mirror": {"host": "c"},
        }
    ]
}
OPENSHIFT = {
    "to": {"kind": "Service", "name": "a"},
    "port": {"targetPort": "http"},
    "alternateBackends": [{"name": "b"}],
}
INGRESS = {
    "rules": [{"http": {"paths": [{"backend": {"serviceName": "a", "servicePort": "http"}}]}}, {}],
    "defaultBackend": {"service": {"name": "b", "port": {"number": 1}}},
}
GATEWAY = {"rules": [{"backendRefs": [{"name": "a", "port": 80}, {"name": "x", "kind": "Bucket"}]}]}


@pytest.mark.parametrize(
    ("kind", "spec", "backends"),
    [
        ("Ingress", INGRESS, {("a", "http"), ("b", 1)}),
        ("HTTPRoute", GATEWAY, {("a", 80)}),
        ("IngressRouteTCP", TRAEFIK, {("a", 80)}),
        ("HTTPProxy", CONTOUR, {("a", 80), ("b", 1)}),
        ("VirtualService", ISTIO, {("a", 80), ("b", 80), ("c", None)}),
        ("Route", OPENSHIFT, {("a", "http"), ("b", "http")}),
    ],
)
def test_backends_of_a_route(kind: str, spec: dict[str, Any], backends: set[tuple[str, object]]) -> None:
    group = ROUTES[kind][0][0]
    workload = only(dump(base(added(f"{group}/v1", kind, "x", spec))))
    assert {(each.service, each.port) for _, found in of(workload) for each in found} == backends
    other = only(dump(base(added("example.test/v1", kind, "x", spec))))
    assert list(of(other)) == []


@pytest.mark.parametrize("kind", ROUTES)
@pytest.mark.parametrize("junk", [None, 1, "x", [], {}, [1], {"a": 1}, [[]], [{"name": 1}]])
def test_fields_of_other_types_are_no_backends(kind: str, junk: Any) -> None:
    fields = ("rules", "routes", "tcpproxy", "http", "tcp", "to", "port", "alternateBackends", "subsets")
    for spec in (
        junk,
        *({field: junk} for field in fields),
        {"routes": [{"services": junk}]},
        {"http": [{"route": junk}]},
    ):
        document = Document({"kind": kind, "metadata": {"name": "x"}, "spec": spec})
        if kind != "Ingress":  # whose fields are checked beforehand
            assert list(ROUTES[kind][1](document)) == []
        assert subsets(document) == set()
        assert idle_timeout(document) == ""


def test_routes_are_those_that_lead_to_the_workload() -> None:
    assert routes_to(only(dump(base(ingress("web", {"number": 80}))))) == 1
    assert routes_to(only(dump(base(ingress("other", {"number": 80}))))) == 0
