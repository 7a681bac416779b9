"""The objects that route requests to Services: the backends of each kind, and its controller."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import Path
from kubectl_lossless.doctor.workload import Workload


@dataclass(frozen=True)
class Backend:
    """A Service that a route sends requests to."""

    service: str
    namespace: str
    port: object
    """Number or name of its port; None where the route names none."""
    path: Path
    """Of the port in the route, or of the backend where it names no port."""
    subset: str = ""
    """Name of a subset of a DestinationRule."""
    both: bool = False
    """True where an Ingress names its port by number and by name."""

    @property
    def name_path(self) -> Path:
        """Path of the Service's name in the route."""
        *at, last = self.path
        if last == "number":  # of a VirtualService
            return (*at[:-1], "host")
        if last == "servicePort":
            return (*at, "serviceName")
        return ("spec", "to", "name") if last == "targetPort" else (*at, "name")


def _each(value: Any) -> Iterator[tuple[int, Object]]:
    """Yield the mappings in a list with their indexes; nothing for what is no list."""
    for number, each in enumerate(value if isinstance(value, list) else ()):
        if isinstance(each, dict):
            yield number, each


def _of(value: Any, *names: str) -> Any:
    """Return a field within mappings, None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def paths_of_ingress(route: Document) -> Iterator[tuple[Path, Object]]:
    """Yield the entries of an Ingress' paths, each with where it stands."""
    for rule, entry in _each(route.spec.get("rules")):
        for number, each in _each(_of(entry, "http", "paths")):
            yield ("spec", "rules", rule, "http", "paths", number), each


def backends_of_ingress(route: Document) -> Iterator[Backend]:
    """Yield the backends of an Ingress, in the form of v1 or of v1beta1."""
    spec = route.spec
    found: list[tuple[Path, Object]] = [
        (("spec", name), spec[name]) for name in ("defaultBackend", "backend") if spec.get(name)
    ]
    found += [((*at, "backend"), each.get("backend") or {}) for at, each in paths_of_ingress(route)]
    for at, each in found:
        port = _of(each, "service", "port") or {}
        if name := _of(each, "service", "name"):
            if port.get("name") != "use-annotation":  # an action of the AWS Load Balancer Controller
                number, path = port.get("number", port.get("name")), (*at, "service", "port")
                yield Backend(name, route.namespace, number, path, both={"number", "name"} <= port.keys())
        elif each.get("serviceName"):
            yield Backend(each["serviceName"], route.namespace, each.get("servicePort"), (*at, "servicePort"))


def _of_gateway_api(route: Document) -> Iterator[Backend]:
    """Yield the Services that a route of the Gateway API sends to."""
    for rule, entry in _each(route.spec.get("rules")):
        for number, each in _each(entry.get("backendRefs")):
            if each.get("kind", "Service") == "Service" and not each.get("group"):
                at = ("spec", "rules", rule, "backendRefs", number, "port")
                namespace = str(each.get("namespace", route.namespace))
                yield Backend(str(each.get("name")), namespace, each.get("port"), at)


def _of_traefik(route: Document) -> Iterator[Backend]:
    """Yield the Services of an IngressRoute, IngressRouteTCP or IngressRouteUDP."""
    for number, entry in _each(route.spec.get("routes")):
        yield from _named(route, ("spec", "routes", number, "services"), entry.get("services"))


def _of_contour(route: Document) -> Iterator[Backend]:
    """Yield the Services of an HTTPProxy."""
    for number, entry in _each(route.spec.get("routes")):
        yield from _named(route, ("spec", "routes", number, "services"), entry.get("services"))
    at = ("spec", "tcpproxy", "services")
    yield from _named(route, at, _of(route.spec, "tcpproxy", "services"))


def _named(route: Document, at: Path, services: Any) -> Iterator[Backend]:
    for number, each in _each(services):
        if each.get("kind", "Service") == "Service" and isinstance(each.get("name"), str):
            namespace = str(each.get("namespace", route.namespace))
            yield Backend(each["name"], namespace, each.get("port"), (*at, number, "port"))


def _of_istio(route: Document) -> Iterator[Backend]:
    """Yield the Services of a VirtualService: by their short name or by their whole one."""
    found: list[tuple[Path, Any]] = []
    for kind in ("http", "tcp", "tls"):
        for rule, entry in _each(route.spec.get(kind)):
            at: Path = ("spec", kind, rule)
            found += [
                ((*at, "route", number, "destination"), each.get("destination"))
                for number, each in _each(entry.get("route"))
            ]
            found += [((*at, "mirror"), entry["mirror"])] if "mirror" in entry else []
    for at, destination in found:
        host = str(_of(destination, "host") or "")
        whole = re.fullmatch(r"([^.*]+)\.([^.]+)\.svc\.cluster\.local", host)
        if not whole and not re.fullmatch(r"[^.*]+", host):
            continue  # a host of somebody else's
        name, namespace = (whole[1], whole[2]) if whole else (host, route.namespace)
        subset = _of(destination, "subset")
        port = _of(destination, "port", "number")
        yield Backend(
            name, namespace, port, (*at, "port", "number"), subset if isinstance(subset, str) else ""
        )


def _of_openshift(route: Document) -> Iterator[Backend]:
    """Yield the Services of a Route. Its port is that of the pods, unless it is a name."""
    port = _of(route.spec, "port", "targetPort")
    named = port if isinstance(port, str) and not port.isdigit() else None
    others = [each for _, each in _each(route.spec.get("alternateBackends"))]
    for each in (_of(route.spec, "to"), *others):
        if _of(each, "kind") in (None, "Service") and isinstance(name := _of(each, "name"), str):
            yield Backend(name, route.namespace, named, ("spec", "port", "targetPort"))


GATEWAY_API = ("gateway.networking.k8s.io",)
TRAEFIK = ("traefik.io", "traefik.containo.us")
ROUTES: Mapping[str, tuple[tuple[str, ...], Callable[[Document], Iterator[Backend]]]] = {
    "Ingress": (("networking.k8s.io", "extensions", ""), backends_of_ingress),
    **{
        f"{protocol}Route": (GATEWAY_API, _of_gateway_api)
        for protocol in ("HTTP", "GRPC", "TCP", "TLS", "UDP")
    },
    **{f"IngressRoute{protocol}": (TRAEFIK, _of_traefik) for protocol in ("", "TCP", "UDP")},
    "HTTPProxy": (("projectcontour.io",), _of_contour),
    "VirtualService": (("networking.istio.io",), _of_istio),
    "Route": (("route.openshift.io",), _of_openshift),
}
"""Kinds of routes: their API groups, and the function that reads their backends."""


def of(workload: Workload, *kinds: str) -> Iterator[tuple[Document, list[Backend]]]:
    """Yield the routes, of these kinds or all, that send to Services of the workload's namespace."""
    for kind, (groups, read) in ROUTES.items():
        if kinds and kind not in kinds:
            continue
        for each in workload.others.everywhere(kind):
            if each.group in groups:
                found = [one for one in read(each) if one.namespace == workload.namespace]
                if found:
                    yield each, found


def to_services(
    workload: Workload, services: Iterable[Document], *kinds: str
) -> Iterator[tuple[Document, list[Backend]]]:
    """Yield the routes, of these kinds or all, that send to any of `services`, with the backends that do."""
    names = {each.metadata_name for each in services}
    for route, backends in of(workload, *kinds):
        if found := [each for each in backends if each.service in names]:
            yield route, found


def routes_to(workload: Workload) -> int:
    """Return how many Ingresses and other routes lead to the workload."""
    return sum(1 for _ in to_services(workload, workload.services))


def destination_rules(workload: Workload, service: str) -> list[Document]:
    """Return Istio's DestinationRules for a Service of the workload's namespace."""
    names = (service, f"{service}.{workload.namespace}.svc.cluster.local")
    return [
        each
        for each in workload.of_kind("DestinationRule", group="networking.istio.io")
        if each.spec.get("host") in names
    ]


def subsets(rule: Document) -> set[str]:
    """Return the names of a DestinationRule's subsets."""
    named = (each.get("name") for _, each in _each(rule.spec.get("subsets")))
    return {each for each in named if isinstance(each, str)}


def idle_timeout(rule: Document) -> str:
    """Return a DestinationRule's timeout of idle connections, "" where it sets none."""
    return str(_of(rule.spec, "trafficPolicy", "connectionPool", "http", "idleTimeout") or "")


IDLE_ATTRIBUTE = re.compile(r"(?:^|,)\s*idle_timeout\.timeout_seconds=([0-9]{1,9})\s*(?:,|$)")
"""Attribute of an AWS load balancer with its timeout of idle connections, in seconds."""


def idle_timeout_of_load_balancer(ingress: Document) -> str:
    """Return the timeout of idle connections that an Ingress sets for its AWS load balancer, "" for none."""
    attributes = str(ingress.annotations.get("alb.ingress.kubernetes.io/load-balancer-attributes", ""))
    found = IDLE_ATTRIBUTE.search(attributes)
    return found[1] if found else ""


def idle_timeouts(proxy: Document, backends: Iterable[Backend]) -> Iterator[str]:
    """Yield the timeouts of idle connections of an HTTPProxy's routes with these backends, "" for none."""
    used = {each.path[2] for each in backends if each.path[1] == "routes"}
    for number, entry in _each(proxy.spec.get("routes")):
        if number in used:
            yield str(_of(entry, "timeoutPolicy", "idleConnection") or "")


def idle_timeout_of_policies(workload: Workload, route: Document) -> str:
    """Return the timeout of idle connections that Envoy Gateway has for an HTTPRoute, "" where none is set.

    A policy of the route has precedence over one of its Gateway.
    """
    parents = [str(each.get("name")) for _, each in _each(route.spec.get("parentRefs"))]
    policies = workload.of_kind("BackendTrafficPolicy", group="gateway.envoyproxy.io")
    for kind, names in (("HTTPRoute", [route.metadata_name]), ("Gateway", parents)):
        for each in policies:
            targets = [_of(each.spec, "targetRef"), *(one for _, one in _each(each.spec.get("targetRefs")))]
            found = str(_of(each.spec, "timeout", "http", "connectionIdleTimeout") or "")
            if found and any(_of(one, "kind") == kind and _of(one, "name") in names for one in targets):
                return found
    return ""
