"""Checks of the ports of the nodes."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.workload import Workload


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
