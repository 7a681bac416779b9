"""Ingress and gateway controllers, with the idle timeouts of their connections to pods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kubectl_lossless.doctor.checks import routes
from kubectl_lossless.doctor.checks.routes import Backend
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.durations import seconds_of
from kubectl_lossless.doctor.workload import Workload

HOUR = 3600.0

CLIENTS_IDLE = 60.0
"""Seconds for which common proxies and clients keep an idle connection."""


@dataclass(frozen=True)
class Controller:
    """A program that routes requests to pods over connections that it keeps."""

    name: str
    pattern: str
    """Of its class, the controller of its IngressClass or GatewayClass, or an annotation's prefix."""
    idle: float
    """Idle timeout of a connection to a pod, in seconds, by default."""
    change: str
    """The setting for it."""
    source: str


AWS = "AWS Load Balancer Controller"

ENVOY = "https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts"

CONTROLLERS = (
    Controller(
        "ingress-nginx",
        r"k8s\.io/ingress-nginx|nginx\.ingress\.kubernetes\.io/|^nginx$",
        60,
        "its ConfigMap: upstream-keepalive-timeout",
        "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/configmap/",
    ),
    Controller(
        "Contour",
        r"projectcontour\.io|^contour$",
        HOUR,
        "HTTPProxy: timeoutPolicy.idleConnection",
        ENVOY,
    ),
    Controller(
        "Envoy Gateway",
        r"gateway\.envoyproxy\.io",
        HOUR,
        "BackendTrafficPolicy: timeout.http.connectionIdleTimeout",
        ENVOY,
    ),
    Controller(
        "Istio",
        r"istio\.io/|^istio$",
        HOUR,
        "DestinationRule: connectionPool.http.idleTimeout",
        ENVOY,
    ),
    Controller(
        "Traefik",
        r"traefik",
        90,
        "ServersTransport: forwardingTimeouts.idleConnTimeout",
        "https://doc.traefik.io/traefik/routing/services/#forwardingtimeoutsidleconntimeout",
    ),
    Controller(
        AWS,
        r"ingress\.k8s\.aws|alb\.ingress\.kubernetes\.io/|^alb$",
        60,
        "the load balancer's attribute idle_timeout.timeout_seconds",
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
    ),
    Controller(
        "Google Cloud",
        r"networking\.gke\.io|^gce$|^gce-internal$",
        600,
        "nothing: it is fixed",
        "https://cloud.google.com/load-balancing/docs/https#timeout-keepalive-backends",
    ),
    Controller(
        "Kong",
        r"konghq\.com|^kong$",
        60,
        "kong.conf: upstream_keepalive_idle_timeout",
        "https://docs.konghq.com/gateway/latest/reference/configuration/",
    ),
)


def known_by(signs: list[str]) -> Controller | None:
    """Return the controller that one of these class names, controller names or annotations belongs to."""
    return next((each for sign in signs for each in CONTROLLERS if re.search(each.pattern, sign)), None)


OVER_HTTP = ("Ingress", "HTTPRoute", "IngressRoute", "HTTPProxy", "VirtualService")
"""Kinds of routes whose controller keeps connections to the pods."""


def controllers(workload: Workload) -> Iterator[tuple[str, Controller | None]]:
    """Yield what routes to the Services, by the name of the object that says so; None for an unknown one."""
    for route, backends in routes.to_services(workload, workload.services_of_app, *OVER_HTTP):
        if route.kind == "Ingress":
            yield route.name, _with_idle(known_by(_signs_of_ingress(workload, route.data)), route, backends)
        elif route.kind == "HTTPRoute":
            known = known_by(_signs_of_route(workload, route.data))
            policy = seconds_of(routes.idle_timeout_of_policies(workload, route))
            yield route.name, replace(known, idle=policy) if known and policy else known
        elif route.kind != "VirtualService":
            yield route.name, _with_idle(known_by([route.group]), route, backends)
        elif (known := known_by([f"{route.group}/"])) is not None:
            named = {each.service for each in backends}
            rules = [each for name in named for each in routes.destination_rules(workload, name)]
            set_by = [found for each in rules if (found := seconds_of(routes.idle_timeout(each)))]
            yield route.name, replace(known, idle=min([known.idle, *set_by]))


def _with_idle(
    controller: Controller | None, route: Document, backends: Sequence[Backend]
) -> Controller | None:
    """Return a controller with the idle timeout that a route of its own sets, else as it is."""
    found: float | None = None
    if controller is not None and controller.name == AWS:
        found = seconds_of(routes.idle_timeout_of_load_balancer(route))
    elif controller is not None and route.kind == "HTTPProxy":
        set_by = [seconds_of(each) or controller.idle for each in routes.idle_timeouts(route, backends)]
        found = max(set_by, default=None)
    return replace(controller, idle=found) if controller and found else controller


def _signs_of_ingress(workload: Workload, ingress: Object) -> list[str]:
    annotations = (ingress.get("metadata") or {}).get("annotations") or {}
    named = (ingress.get("spec") or {}).get("ingressClassName") or annotations.get(
        "kubernetes.io/ingress.class"
    )
    signs = [str(named)] if named else []
    for each in workload.others.everywhere("IngressClass"):
        metadata = each.data.get("metadata") or {}
        default = (metadata.get("annotations") or {}).get(
            "ingressclass.kubernetes.io/is-default-class"
        ) == "true"
        if metadata.get("name") == named or (not named and default):
            signs.append(str(each.spec.get("controller", "")))
    return signs + list(annotations)


def _signs_of_route(workload: Workload, route: Object) -> list[str]:
    parents = {ref.get("name") for ref in (route.get("spec") or {}).get("parentRefs") or ()}
    group = re.compile(r"gateway\.networking\.k8s\.io$")

    def of(kind: str, names: set[object]) -> list[Document]:
        return [
            each
            for each in workload.others.everywhere(kind)
            if group.search(each.group) and each.metadata_name in names
        ]

    classes: set[object] = {each.spec.get("gatewayClassName") for each in of("Gateway", set(parents))}
    named = [str(each.spec.get("controllerName", "")) for each in of("GatewayClass", classes)]
    return [*(str(each) for each in classes if each), *named]
