"""The route of a request into the pod: ingress, Service, port."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kubectl_lossless.doctor.checks import routes
from kubectl_lossless.doctor.checks.controllers import AWS, CLIENTS_IDLE, HOUR, Controller, known_by
from kubectl_lossless.doctor.checks.routes import Backend
from kubectl_lossless.doctor.checks.values import is_external
from kubectl_lossless.doctor.container import takes_requests
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.durations import seconds_of
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.neighbours import selects
from kubectl_lossless.doctor.workload import Workload

POD_NAME = "statefulset.kubernetes.io/pod-name"

DEREGISTRATION = 15
"""Duration for which a load balancer that sends to pods itself still uses a terminating one, in seconds."""


def service_selector(workload: Workload) -> Iterator[Finding]:
    """A Service whose selector misses the pods by a label sends them nothing, or sends it elsewhere."""
    for service in workload.of_kind("Service", group=""):
        selector = service.spec.get("selector") or {}
        common = selector.items() & workload.labels.items()
        if not common or service in workload.services or POD_NAME in selector:
            continue
        if any(
            selects({"matchLabels": selector}, labels)
            for labels in workload.others.pod_labels.get(workload.namespace, ())
        ):
            continue
        missed = dict(selector.items() - workload.labels.items())
        yield Finding(
            Severity.LOSES,
            f"It selects no pod: {_labels(missed)} is not among the labels of {workload.name}'s pods.",
            "The Service has no endpoint, so every request to it fails.",
            ("spec", "selector"),
            advice="labels that these pods have and no others do, if it is theirs",
            object=service.name,
        )


def _labels(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in sorted(labels.items())) + "}"


def target_port(workload: Workload) -> Iterator[Finding]:
    """A targetPort by a name that no container has, or has for another protocol, leads nowhere; a number need
    not be declared, but with two servers in a pod it shows which of them listens there.
    """
    yield from _not_judged(workload)
    ports = [port for each in workload.containers for port in each.ports]
    for service in workload.services:
        for number, port in enumerate(service.spec.get("ports") or ()):
            target = port.get("targetPort", port.get("port"))
            named = isinstance(target, str) and not target.isdigit()
            value = target if named or target is None else int(target)
            found = [own for own in ports if value == own.get("name" if named else "containerPort")]
            if named and found:
                yield from _of_another_protocol(service, number, found)
            if value is None or found or (not named and not ports):
                continue
            names = [str(own["name"]) for own in ports if "name" in own]
            numbers = [str(own["containerPort"]) for own in ports]
            path = ("spec", "ports", number, "targetPort")
            if named:
                yield Finding(
                    Severity.LOSES,
                    f"targetPort {target} is no port of the pod, which has "
                    f"{', '.join(names) if names else 'none with a name'}.",
                    "Requests to it are refused.",
                    path,
                    (Change(path, int(numbers[0])),) if len(numbers) == 1 else (),
                    advice="" if len(numbers) == 1 else "the port that the container listens on",
                    object=service.name,
                )
            else:
                yield Finding(
                    Severity.ADVICE,
                    f"targetPort {target} is not among the ports that the pod declares "
                    f"({', '.join(numbers)}).",
                    "A container need not declare its ports. If nothing listens there, requests are refused.",
                    path,
                    advice="the port that the container listens on, declared in its ports",
                    object=service.name,
                )


def _of_another_protocol(service: Document, number: int, named: Sequence[Object]) -> Iterator[Finding]:
    """Yield a Service's port whose name the pod has for another protocol only."""
    port = service.spec["ports"][number]
    protocol = str(port.get("protocol", "TCP")).upper()
    others = sorted({str(each.get("protocol", "TCP")).upper() for each in named})
    if protocol not in others:
        yield Finding(
            Severity.LOSES,
            f"targetPort {port['targetPort']} is a port by {' and '.join(others)} in the pod, and by "
            f"{protocol} in the Service.",
            "Requests to it are refused.",
            ("spec", "ports", number, "protocol"),
            advice="the same protocol in both",
            object=service.name,
        )


def _not_judged(workload: Workload) -> Iterator[Finding]:
    """Yield the ports at which one of several containers may serve, which is therefore not checked."""
    names = " and ".join(each.name for each in workload.not_judged)
    for service, number in workload.unseen_ports if names else ():
        port = service.spec["ports"][number]
        asked = port.get("targetPort", port.get("port"))
        yield Finding(
            Severity.UNKNOWN,
            f"Whether {names} serves at port {asked}; what it does at SIGTERM is not checked.",
            "Of several servers in a pod, each that stops at once loses its own requests.",
            ("spec", "ports", number, "targetPort"),
            advice="the port, in the ports of the container that listens there",
            object=service.name,
        )


def ingress_backend(workload: Workload) -> Iterator[Finding]:
    """An Ingress that names a Service or a port which is not there responds 503 to every request. So does a
    route of the Gateway API, Traefik, Contour, Istio or OpenShift.
    """
    services = {each.metadata_name: each for each in workload.of_kind("Service", group="")}
    if not services or "services" in workload.unseen:
        return
    # Others may stand in other files.
    whole = workload.from_cluster or set(services) == {each.metadata_name for each in workload.services}
    for route, backends in routes.of(workload):
        for backend in backends:
            service = services.get(backend.service)
            if service is None and whole and not _is_from_elsewhere(workload, route, backend):
                yield Finding(
                    Severity.LOSES if workload.from_cluster else Severity.RISKS,
                    f"It sends requests to the Service {backend.service}, which is not "
                    f"{'there' if workload.from_cluster else 'among the files'}.",
                    FAILS.get(route.group, "Each of them gets 503, or 502."),
                    backend.name_path,
                    advice=f"one of {', '.join(sorted(map(str, services)))}",
                    object=route.name,
                )
            elif service is not None and service in workload.services:
                yield from _port_of_backend(route, backend, service)
                yield from _subset_of_backend(workload, route, backend)


FAILS = dict.fromkeys(routes.TRAEFIK, "Traefik leaves the route out, and each of them gets 404.")
"""Responses to the requests that reach no Service, by the API group of the route."""


def _is_from_elsewhere(workload: Workload, route: Document, backend: Backend) -> bool:
    """Return whether a backend may be no Service: a host that a ServiceEntry adds to Istio's."""
    if route.kind != "VirtualService":
        return False
    entries = workload.others.everywhere("ServiceEntry")
    hosts = [each.spec["hosts"] for each in entries if isinstance(each.spec.get("hosts"), list)]
    return any(backend.service in each for each in hosts)


def _port_of_backend(route: Document, backend: Backend, service: Document) -> Iterator[Finding]:
    have = service.spec.get("ports") or []
    known = {key for each in have for key in (each.get("port"), each.get("name"), str(each.get("port")))}
    if backend.port is None or backend.port in known:
        return
    listed = ", ".join(str(each.get("name") or each.get("port")) for each in have)
    only = have[0].get("port") if len(have) == 1 else None
    value = {"number": only} if backend.path[-2:] == ("service", "port") else only
    named = route.kind == "Route"  # which has a port's name, or a port of the pods
    yield Finding(
        Severity.LOSES,
        f"It sends requests to port {backend.port} of {service.name}, which has {listed or 'none'}.",
        FAILS.get(route.group, "Each of them gets 503, or 502."),
        backend.path,
        (Change(backend.path, value),) if only is not None and not named else (),
        advice="" if only is not None and not named else "a port that the Service has",
        object=route.name,
    )


def _subset_of_backend(workload: Workload, route: Document, backend: Backend) -> Iterator[Finding]:
    """Yield a subset that none of the Service's DestinationRules has; without any, one may be elsewhere."""
    rules = routes.destination_rules(workload, backend.service)
    known = {name for each in rules for name in routes.subsets(each)}
    if backend.subset and rules and backend.subset not in known:
        yield Finding(
            Severity.LOSES,
            f"It sends requests to the subset {backend.subset} of {backend.service}, and "
            f"{rules[0].name} has {', '.join(sorted(known)) or 'none'}.",
            "Each of them gets 503.",
            (*backend.path[:-2], "subset"),
            advice="a subset that the DestinationRule has",
            object=route.name,
        )


def ingress_api(workload: Workload) -> Iterator[Finding]:
    """extensions/v1beta1 and networking.k8s.io/v1beta1 are not served since Kubernetes 1.22."""
    for ingress, _ in routes.to_services(workload, workload.services, "Ingress"):
        version = str(ingress.data.get("apiVersion", ""))
        if version.endswith("/v1beta1"):
            yield Finding(
                Severity.ADVICE,
                f"{version} is not served since Kubernetes 1.22.",
                "The API server refuses it.",
                ("apiVersion",),
                advice="networking.k8s.io/v1, with backend.service.name and backend.service.port",
                object=ingress.name,
            )


def unready_addresses(workload: Workload) -> Iterator[Finding]:
    """publishNotReadyAddresses sends requests to pods that say they cannot serve."""
    for service in workload.services:
        spec = service.data.get("spec") or {}
        if spec.get("publishNotReadyAddresses"):
            headless = spec.get("clusterIP") == "None"
            others = [
                each
                for each in workload.services
                if not each.spec.get("publishNotReadyAddresses")
                and any(map(takes_requests, each.spec.get("ports") or ()))
            ]
            for_peers = headless and (workload.kind == "StatefulSet" or bool(others))
            path = ("spec", "publishNotReadyAddresses")
            yield Finding(
                Severity.ADVICE if for_peers else Severity.LOSES,
                "It sends requests to pods that are not ready.",
                "Starting pods refuse them, and terminating ones get them until they are gone.",
                path,
                () if for_peers else (Change(path, False),),
                advice="for peers that find each other, not for clients" if for_peers else "",
                object=service.name,
            )


def external_traffic_policy(workload: Workload) -> Iterator[Finding]:
    """With externalTrafficPolicy or internalTrafficPolicy Local a node serves from its own pods only: where
    the last of them terminates, requests are dropped until their sender has noticed.
    """
    if workload.kind == "DaemonSet":
        yield from _traffic_policy_of_daemonset(workload)
        return
    for service in workload.services:
        for field, who in (("externalTrafficPolicy", "Load balancers notice by their own health "
            "checks, seconds later."),
                           ("internalTrafficPolicy", "Clients on that node are not sent to pods on "
                               "others.")):  # fmt: skip
            if field == "externalTrafficPolicy" and not is_external(service):
                continue  # `refused` reports it
            if str(service.spec.get(field)).lower() == "local":  # in other letters it is refused as well
                path = ("spec", field)
                yield Finding(
                    Severity.RISKS,
                    f"{field} is Local: a node whose only pod terminates drops what still arrives there.",
                    who,
                    path,
                    (Change(path, "Cluster"),),
                    advice="or a drain that outlasts the load balancer's health check"
                    if "external" in field
                    else "",
                    object=service.name,
                )


def _traffic_policy_of_daemonset(workload: Workload) -> Iterator[Finding]:
    """Yield the traffic policies Local of a DaemonSet that removes a node's pod before it adds the next."""
    if workload.rolling_update.get("maxSurge", 0) not in (0, "0%"):
        return
    fields = ["internalTrafficPolicy"]
    if workload.serving_on < DEREGISTRATION:  # else load balancers have noticed
        fields.append("externalTrafficPolicy")
    path = workload.rolling_update_path
    taken = workload.pod.get("hostNetwork") or any(
        port.get("hostPort") for each in workload.containers for port in each.ports
    )
    for service in workload.services:
        for field in fields:
            if service.spec.get(field) == "Local":
                yield Finding(
                    Severity.RISKS,
                    f"{field} of {service.name} is Local, and an update removes a node's pod before the next "
                    "starts.",
                    "What arrives at that node meanwhile is dropped.",
                    path,
                    () if taken else (Change(path, {"maxSurge": 1, "maxUnavailable": 0}),),
                    advice=f"{field} Cluster" if taken else "",
                    related=(service.name,),
                )


def pod_targets(workload: Workload) -> Iterator[Finding]:
    """A load balancer that sends to pods itself (ALB with target-type ip, NEG) takes a pod out later than
    endpoints do, and needs a readiness gate to know of a new one.
    """
    services = workload.services_of_app
    ingresses = [route for route, _ in routes.to_services(workload, services, "Ingress")]
    marked = [each for each in [*services, *ingresses] if _sends_to_pods(each.annotations)]
    wait = workload.serving_on
    if marked and wait < DEREGISTRATION:
        yield Finding(
            Severity.RISKS,
            f"{marked[0].name} has a load balancer send to pods itself, and a pod serves {wait:g} s "
            f"after its deletion.",
            "The load balancer deregisters a target later than endpoints change; until then it "
            "sends requests.",
            (*workload.app.path, "lifecycle", "preStop"),
            (Change((*workload.app.path, "lifecycle", "preStop"), {"sleep": {"seconds": DEREGISTRATION}}),),
            advice="and a grace period for it",
            related=(marked[0].name,),
        )


def _sends_to_pods(annotations: dict[str, str]) -> bool:
    return annotations.get("alb.ingress.kubernetes.io/target-type") == "ip" or (
        annotations.get("service.beta.kubernetes.io/aws-load-balancer-nlb-target-type") == "ip"
        or bool(NEG.search(annotations.get("cloud.google.com/neg", "")))
    )


NEG = re.compile(r'"ingress"\s*:\s*true|"exposed_ports"')
"""Annotation of GKE with which a load balancer sends to pods."""


def host_port(workload: Workload) -> Iterator[Finding]:
    """Two pods cannot have the same port of a node: a new one waits for an old one to go, or for another
    node, and clients that ask the node directly find nobody in between.
    """
    if workload.kind == "DaemonSet":
        yield from _host_port_with_surge(workload)
        return
    if workload.pod.get("hostNetwork"):
        yield Finding(
            Severity.RISKS,
            "The pods use the network of their nodes.",
            "A new pod cannot run on a node before the old one has left it, so nobody listens in between.",
            ("spec", "template", "spec", "hostNetwork"),
            (Change(("spec", "template", "spec", "hostNetwork"), False),),
            advice="and a Service in front",
        )
        return
    for each in workload.containers:
        for number, port in enumerate(each.spec.get("ports") or ()):
            if port.get("hostPort"):
                yield Finding(
                    Severity.RISKS,
                    f"{each.name} takes port {port['hostPort']} of its node.",
                    "A new pod cannot run on a node before the old one has left it, so nobody listens in "
                    "between.",
                    (*each.path, "ports", number, "hostPort"),
                    advice="remove it, and put a Service in front",
                )


def _host_port_with_surge(workload: Workload) -> Iterator[Finding]:
    """Yield a DaemonSet's surge that cannot be: the new pod needs a port which the old one still has."""
    surge = workload.rolling_update.get("maxSurge", 0)
    ports = [port for each in workload.containers for port in each.ports]
    taken = [port for port in ports if port.get("hostPort") or workload.pod.get("hostNetwork")]
    if surge in (0, "0%") or not taken:
        return
    path = workload.rolling_update_path
    yield Finding(
        Severity.RISKS,
        f"With maxSurge {surge} a new pod needs port {taken[0].get('hostPort') or taken[0]['containerPort']} "
        "of its node, which the old one has until it terminates.",
        "The new pod stays pending, and the update never completes.",
        path,
        (Change(path, {"maxUnavailable": 1}),),
        advice="or no port of the node, and a Service in front",
    )


def service_links(workload: Workload) -> Iterator[Finding]:
    """Kubernetes injects NAME_PORT=tcp://... for each Service of the namespace; a server that takes its
    settings from such variables does not start beside a Service of its own name.
    """
    if workload.pod.get("enableServiceLinks") is False:
        return
    prefix = {"Uvicorn": "uvicorn", "Granian": "granian"}.get(workload.server.name)
    for service in workload.of_kind("Service", group=""):
        name = service.metadata_name
        if prefix and name == prefix and f"{prefix.upper()}_PORT" not in workload.app.environment:
            path = ("spec", "template", "spec", "enableServiceLinks")
            yield Finding(
                Severity.LOSES,
                f"{service.name} injects {prefix.upper()}_PORT=tcp://..., which "
                f"{workload.server.name} takes for its port.",
                "New pods do not start.",
                path,
                (Change(path, False),),
                related=(service.name,),
            )


def keepalive(workload: Workload) -> Iterator[Finding]:
    """A server must keep idle connections longer than its proxies and clients do. One that closes earlier
    does so just as a request is sent: 5 of 3,879 were lost at Gunicorn's 2 s, none at 75 s behind a proxy of
    60 s. Some proxies keep them for 90 s to 1 h, for which 75 s is too short.
    """
    app, known = workload.app, workload.server
    if workload.ways_in and app not in workload.ways_in:
        return  # the ingress talks to the proxy in the pod
    if known.keepalive is None:
        if known.file:
            yield Finding(
                Severity.UNKNOWN,
                f"How long {known.name} keeps idle connections is in {known.file} (--keepalive tells it).",
                "It must be longer than its clients and proxies keep them.",
                (*app.path, "args"),
                advice="--keep-alive 75",
            )
        return
    if known.keepalive == 0:
        return
    controllers = list(_controllers(workload))
    for route, controller in controllers:
        if controller is None:
            yield Finding(
                Severity.UNKNOWN,
                "Its controller is not one of the known, so how long it keeps idle connections to "
                "pods cannot be seen.",
                f"The server closes them after {known.keepalive:g} s; the controller must be earlier.",
                ("spec",),
                advice="an idle timeout below that, in the controller's configuration",
                object=route,
            )
        elif known.keepalive <= controller.idle:
            yield Finding(
                Severity.RISKS,
                f"{controller.name} keeps an idle connection to a pod for {controller.idle:g} s, "
                f"the server closes it "
                f"after {known.keepalive:g} s.",
                f"A request that is sent in that very moment is lost. ({controller.source})",
                (*app.path, known.setting or "args"),
                _longer(workload, controller),
                advice=_words(workload, controller),
            )
    if not controllers and known.keepalive < CLIENTS_IDLE:
        yield Finding(
            Severity.RISKS,
            f"The server closes idle connections after {known.keepalive:g} s.",
            f"Proxies and clients keep them for {CLIENTS_IDLE:g} s and longer; a request sent in "
            f"that moment is lost.",
            (*app.path, known.setting or "args"),
            _longer(workload, None),
            advice=_words(workload, None),
        )


def _seconds(controller: Controller | None) -> int:
    return int(max(CLIENTS_IDLE, controller.idle if controller else 0)) + 15


def _longer(workload: Workload, controller: Controller | None) -> tuple[Change, ...]:
    if controller and controller.idle >= HOUR:  # too long for idle connections to a server
        return ()
    value = str(_seconds(controller))
    if workload.server.setting != "env":
        option = _option(workload)
        return workload.app.with_option(option, value) if option else ()
    entries = workload.app.spec.get("env") or []
    at = next((number for number, each in enumerate(entries) if each["name"] == "KEEPALIVE"), None)
    if at is None:
        return (Change((*workload.app.path, "env", len(entries)), {"name": "KEEPALIVE", "value": value}),)
    return (Change((*workload.app.path, "env", at, "value"), value),)


def _option(workload: Workload) -> str:
    kind = workload.server.kind
    return kind.keepalive_option if kind else "--keep-alive"


def _words(workload: Workload, controller: Controller | None) -> str:
    if controller and controller.idle >= HOUR:
        return f"{controller.change}: less than {workload.server.keepalive:g} s"
    if workload.server.setting == "env":
        return ""
    option = _option(workload)
    return (
        f"{option} {_seconds(controller)}" if option else "a longer keep-alive timeout in its configuration"
    )


def _controllers(workload: Workload) -> Iterator[tuple[str, Controller | None]]:
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


OVER_HTTP = ("Ingress", "HTTPRoute", "IngressRoute", "HTTPProxy", "VirtualService")
"""Kinds of routes whose controller keeps connections to the pods."""


def routes_to(workload: Workload) -> int:
    """Return how many Ingresses and other routes lead to the workload."""
    return sum(1 for _ in routes.to_services(workload, workload.services))


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
