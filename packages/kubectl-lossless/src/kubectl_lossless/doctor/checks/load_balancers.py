"""Checks of load balancers, which notice that a pod terminates later than endpoints do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_lossless.doctor.checks import routes
from kubectl_lossless.doctor.checks.values import is_external
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.workload import Workload

DEREGISTRATION = 15
"""Duration for which a load balancer that sends to pods itself still uses a terminating one, in seconds."""

NEG = re.compile(r'"ingress"\s*:\s*true|"exposed_ports"')
"""Annotation of GKE with which a load balancer sends to pods."""


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
