"""Checks of the Services and ports that Ingresses and other routes send requests to."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.checks import routes
from kubectl_lossless.doctor.checks.routes import Backend
from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.workload import Workload

FAILS = dict.fromkeys(routes.TRAEFIK, "Traefik leaves the route out, and each of them gets 404.")
"""Responses to the requests that reach no Service, by the API group of the route."""


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
