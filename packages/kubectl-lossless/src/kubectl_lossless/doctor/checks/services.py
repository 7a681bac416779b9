"""Checks of the Services that lead to the pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubectl_lossless.doctor.container import takes_requests
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.neighbours import selects
from kubectl_lossless.doctor.workload import Workload

POD_NAME = "statefulset.kubernetes.io/pod-name"


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
