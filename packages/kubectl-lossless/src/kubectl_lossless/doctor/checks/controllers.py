"""Ingress and gateway controllers, with the idle timeouts of their connections to pods."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
