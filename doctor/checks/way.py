"""The way of a request into the pod: ingress, Service, port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from doctor.finding import Finding, Severity
from doctor.subject import Object, Subject, selects

HOUR = 3600.0

CLIENTS_IDLE = 60.0
"""Seconds for which common proxies and clients keep an idle connection."""


@dataclass(frozen=True)
class Controller:
    """What routes requests to pods over connections that it keeps."""

    name: str
    pattern: str
    """Of its class, its IngressClass' or GatewayClass' controller, or an annotation's prefix."""
    idle: float
    """Seconds for which it keeps an idle connection to a pod, unless told otherwise."""
    change: str
    """Where that is set."""
    source: str


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
        "AWS Load Balancer Controller",
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


def service_selector(subject: Subject) -> Iterator[Finding]:
    """A Service whose selector misses the pods by a label sends them nothing, or sends it elsewhere."""
    neighbours = [
        (each["spec"]["template"].get("metadata") or {}).get("labels") or {}
        for each in subject.of_kind("Deployment", "StatefulSet", "DaemonSet")
    ]
    for service in subject.of_kind("Service"):
        selector = service["spec"].get("selector") or {}
        common = selector.items() & subject.labels.items()
        if not common or service in subject.services:
            continue
        if any(selects({"matchLabels": selector}, labels) for labels in neighbours):
            continue
        missed = dict(selector.items() - subject.labels.items())
        yield Finding(
            Severity.LOSES,
            f"It selects no pod: {_labels(missed)} is not among their labels.",
            "The Service has no endpoint, so every request to it fails.",
            "spec.selector",
            _labels(dict(common)),
            object=f"Service {service['metadata']['name']}",
        )


def _labels(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in sorted(labels.items())) + "}"


def target_port(subject: Subject) -> Iterator[Finding]:
    """A targetPort that no container has leads nowhere."""
    ports = [port for each in subject.containers for port in each.ports()]
    for service in subject.services:
        for number, port in enumerate(service["spec"].get("ports") or ()):
            target = port.get("targetPort", port.get("port"))
            named = isinstance(target, str)
            if any(target == own.get("name" if named else "containerPort") for own in ports):
                continue
            if not named and not ports:
                continue  # a container need not declare its ports
            have = ", ".join(str(own.get("name" if named else "containerPort")) for own in ports)
            yield Finding(
                Severity.LOSES if named else Severity.RISKS,
                f"targetPort {target} is no port of the pod, which has {have or 'none with a name'}.",
                "Requests to it are refused." if named else "Requests are refused if nothing listens there.",
                f"spec.ports[{number}].targetPort",
                have.split(", ")[0] or "the port the container listens on",
                object=f"Service {service['metadata']['name']}",
            )


def unready_addresses(subject: Subject) -> Iterator[Finding]:
    """publishNotReadyAddresses sends requests to pods that say they cannot serve."""
    for service in subject.services:
        if service["spec"].get("publishNotReadyAddresses"):
            yield Finding(
                Severity.LOSES,
                "It sends requests to pods that are not ready.",
                "Starting pods refuse them, and leaving ones get them until they are gone.",
                "spec.publishNotReadyAddresses",
                "false",
                object=f"Service {service['metadata']['name']}",
            )


def external_traffic_policy(subject: Subject) -> Iterator[Finding]:
    """With externalTrafficPolicy Local a node serves from its own pods only: where the last of them
    leaves, requests are dropped until the load balancer has noticed.
    """
    for service in subject.services:
        if service["spec"].get("externalTrafficPolicy") == "Local":
            yield Finding(
                Severity.RISKS,
                "A node whose only pod leaves drops what still comes to it.",
                "Load balancers notice by their own health checks, many seconds later.",
                "spec.externalTrafficPolicy",
                "Cluster   # or a drain that outlasts the load balancer's health check",
                object=f"Service {service['metadata']['name']}",
            )


def host_port(subject: Subject) -> Iterator[Finding]:
    """Two pods cannot have the same port of a node: a new one waits for an old one to go, or for another
    node, and who asks the node directly finds nobody in between.
    """
    if subject.pod.get("hostNetwork"):
        yield Finding(
            Severity.RISKS,
            "The pods use the network of their nodes.",
            "A new pod cannot run on a node before the old one has left it, so nobody listens in between.",
            "spec.template.spec.hostNetwork",
            "false, and a Service in front",
        )
        return
    for each in subject.containers:
        for number, port in enumerate(each.ports()):
            if port.get("hostPort"):
                yield Finding(
                    Severity.RISKS,
                    f"{each.name} takes port {port['hostPort']} of its node.",
                    "A new pod cannot run on a node before the old one has left it, so nobody listens in "
                    "between.",
                    f"{each.path}.ports[{number}].hostPort",
                    "remove it, and put a Service in front",
                )


def keepalive(subject: Subject) -> Iterator[Finding]:
    """Whoever keeps connections must be the one to close them. A server that keeps an idle connection for
    less time than the proxy in front closes it just as a request is sent: 5 of 3,879 were lost at
    Gunicorn's 2 s, none at 75 s.
    """
    app, known = subject.app, subject.server
    if subject.way_in not in (None, app):
        return  # the ingress talks to the proxy in the pod
    if known.keepalive is None:
        if known.name:
            yield Finding(
                Severity.UNKNOWN,
                f"How long {known.name} keeps idle connections is in {known.file} (--keepalive tells it).",
                "It must be longer than whoever asks keeps them.",
                f"{app.path}.args",
                "--keep-alive 75",
            )
        return
    if known.keepalive == 0:
        return
    controllers = list(_controllers(subject))
    for who, controller in controllers:
        if controller is None:
            yield Finding(
                Severity.UNKNOWN,
                "How long its controller, which is not one of the known, keeps idle connections to pods.",
                f"The server closes them after {known.keepalive:g} s; the controller must be earlier.",
                "spec",
                "an idle time below that, in the controller's configuration",
                object=who,
            )
        elif known.keepalive <= controller.idle:
            yield Finding(
                Severity.RISKS,
                f"{controller.name} keeps an idle connection to a pod for {controller.idle:g} s, the "
                f"server closes it "
                f"after {known.keepalive:g} s.",
                f"A request that is sent in that very moment is lost. ({controller.source})",
                *_longer(subject, controller),
            )
    if not controllers and known.keepalive < CLIENTS_IDLE:
        yield Finding(
            Severity.RISKS,
            f"The server closes idle connections after {known.keepalive:g} s.",
            f"Proxies and clients keep them for {CLIENTS_IDLE:g} s and longer; a request sent in that "
            f"moment is lost.",
            *_longer(subject, None),
        )


def _longer(subject: Subject, controller: Controller | None) -> tuple[str, str]:
    seconds = int(max(CLIENTS_IDLE, controller.idle if controller else 0)) + 15
    path = f"{subject.app.path}.{subject.server.setting or 'args'}"
    if controller and controller.idle >= HOUR:  # too long for idle connections to a server
        return controller.change, f"less than {subject.server.keepalive:g} s"
    if subject.server.setting == "env":
        return f"{path}[KEEPALIVE].value", f'"{seconds}"'
    return path, f"--keep-alive {seconds}"


def _controllers(subject: Subject) -> Iterator[tuple[str, Controller | None]]:
    """What routes to the Services, by the name of the object that says so; None for one that is not known."""
    services = {each["metadata"]["name"] for each in subject.services}
    for ingress in subject.of_kind("Ingress"):
        if services & _backends(ingress):
            yield f"Ingress {ingress['metadata']['name']}", _known(_signs_of_ingress(subject, ingress))
    for route in subject.of_kind("HTTPRoute"):
        rules = route["spec"].get("rules") or ()
        if services & {ref["name"] for rule in rules for ref in rule.get("backendRefs") or ()}:
            yield f"HTTPRoute {route['metadata']['name']}", _known(_signs_of_route(subject, route))


def _backends(ingress: Object) -> set[str]:
    paths = [
        path["backend"]
        for rule in ingress["spec"].get("rules") or ()
        for path in (rule.get("http") or {}).get("paths") or ()
    ]
    backends = [*paths, *filter(None, [ingress["spec"].get("defaultBackend")])]
    return {each["service"]["name"] for each in backends if "service" in each}


def _signs_of_ingress(subject: Subject, ingress: Object) -> list[str]:
    annotations = ingress["metadata"].get("annotations") or {}
    named = ingress["spec"].get("ingressClassName") or annotations.get("kubernetes.io/ingress.class")
    signs = [str(named)] if named else []
    for each in subject.others:
        if each["kind"] != "IngressClass":
            continue
        marks = each["metadata"].get("annotations") or {}
        default = marks.get("ingressclass.kubernetes.io/is-default-class") == "true"
        if each["metadata"]["name"] == named or (not named and default):
            signs.append(each["spec"]["controller"])
    return signs + list(annotations)


def _signs_of_route(subject: Subject, route: Object) -> list[str]:
    parents = {ref["name"] for ref in route["spec"].get("parentRefs") or ()}
    gateways = [
        each for each in subject.others if each["kind"] == "Gateway" and each["metadata"]["name"] in parents
    ]
    classes = {each["spec"]["gatewayClassName"] for each in gateways}
    named = [
        each
        for each in subject.others
        if each["kind"] == "GatewayClass" and each["metadata"]["name"] in classes
    ]
    return [*classes, *(each["spec"]["controllerName"] for each in named)]


def _known(signs: list[str]) -> Controller | None:
    return next(
        (each for sign in signs for each in CONTROLLERS if re.search(each.pattern, sign)),
        None,
    )
