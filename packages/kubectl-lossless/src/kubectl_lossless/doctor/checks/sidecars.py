"""Checks of the containers beside a server: plain and injected proxies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubectl_lossless.doctor.checks.grace_period import PROPAGATION
from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.finding import Change, Finding, Path, Severity
from kubectl_lossless.doctor.manifest import POD
from kubectl_lossless.doctor.prestop import SHORTEST_WAIT
from kubectl_lossless.doctor.server.kinds import ISTIO_DRAIN
from kubectl_lossless.doctor.workload import Workload


def plain_sidecar(workload: Workload) -> Iterator[Finding]:
    """All plain containers of a pod get SIGTERM at the same time. A proxy among them is gone while the
    server behind it still drains; as a native sidecar (an init container with restartPolicy Always) it
    outlives the server.
    """
    if len(workload.plain) < 2:
        return
    busy = _serving_on(workload)
    servers = " and ".join(each.name for each in workload.servers)
    for each in workload.plain:
        in_front = each in workload.ways_in and not each.database
        if each in workload.servers or not (in_front or each.proxy):
            continue
        own_wait = each.pre_stop.wait if each.pre_stop is not None else 0.0
        if _outlasts(each) or (
            own_wait is not None and own_wait >= (SHORTEST_WAIT if in_front else max(SHORTEST_WAIT, busy))
        ):
            continue  # while its preStop lasts it serves, and so does the server behind it
        what = f"{each.name} is a plain container and stops at the same time as {servers}."
        if own_wait is None:
            serve = "serves" if len(workload.servers) == 1 else "serve"
            what = (
                f"{each.name} is a plain container, and nothing says that its preStop lasts as long as "
                f"{servers} {serve}."
            )
        yield Finding(
            Severity.LOSES if in_front and own_wait is not None else Severity.RISKS,
            what,
            "Requests come through it: those that arrive during the drain are refused."
            if in_front
            else "Requests in flight may need it until they are finished.",
            each.path,
            advice=f"move it to {'.'.join(map(str, POD))}.initContainers with restartPolicy: Always (native "
            f"sidecars need Kubernetes 1.29), or give it a preStop sleep of {int(max(busy, PROPAGATION))} s",
        )


def _serving_on(workload: Workload) -> float:
    """Return for how many seconds after the pod's deletion its servers still serve, as far as it is known."""
    return max(view.serving_on for view in workload.of_servers)


OUTLASTS = re.compile(r"-(-max-sigterm-delay|-min-sigterm-delay|term_timeout)[ =]?(?!0(s|m)?\b)")
"""Options of the Cloud SQL proxies that let them wait for open connections."""

OUTLASTING = ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "TERMINATION_DRAIN_DURATION_SECONDS")
"""Environment variables of istio-proxy for the same."""


def _outlasts(container: Container) -> bool:
    """Return whether a proxy is set to wait for its connections at SIGTERM."""
    variables = any(container.environment.get(each, "false") not in ("false", "0") for each in OUTLASTING)
    return variables or bool(OUTLASTS.search(" ".join(container.start.words)))


@dataclass(frozen=True)
class Injected:
    """A proxy that an admission webhook adds."""

    name: str
    mark: str
    """Annotation or label that asks for it."""
    values: tuple[str, ...]
    """Values of the mark that do."""
    native: tuple[str, ...]
    """Annotations for a native one, that of most versions first."""
    stops: str
    """When it stops, in words."""
    outlasting: re.Pattern[str]
    """Annotation and value, as `key=value`, with which it waits for the server."""
    annotation: str
    """Annotation that sets how long it waits."""
    wait: str
    """Value of that annotation, with the seconds to fill in."""


INJECTED = (
    Injected(
        "istio-proxy",
        "sidecar.istio.io/inject",
        ("true",),
        ("sidecar.istio.io/nativeSidecar",),
        f"{ISTIO_DRAIN:g} s after SIGTERM",
        re.compile(
            r"(?s)proxy\.istio\.io/config=.*(terminationDrainDuration|EXIT_ON_ZERO_ACTIVE_CONNECTIONS).*"
        ),
        "proxy.istio.io/config",
        "terminationDrainDuration: {}s",
    ),
    Injected(
        "linkerd-proxy",
        "linkerd.io/inject",
        ("enabled", "ingress"),
        (
            "config.alpha.linkerd.io/proxy-enable-native-sidecar",
            "config.beta.linkerd.io/proxy-enable-native-sidecar",
        ),
        "at SIGTERM",
        re.compile(
            r"config\.(linkerd\.io/shutdown-grace-period|alpha\.linkerd\.io/proxy-wait-before-exit-seconds)=.*"
        ),
        "config.alpha.linkerd.io/proxy-wait-before-exit-seconds",
        "{}",
    ),
)


def injected_proxy(workload: Workload) -> Iterator[Finding]:
    """An injected proxy is a plain container that is not in the manifest: istio-proxy drains for 5 s by
    default, whatever the server behind it needs.
    """
    marks = {**(workload.template.get("metadata") or {}).get("labels", {}), **workload.annotations}
    busy = _serving_on(workload)
    for proxy in INJECTED:
        if (
            not _is_injected(proxy, marks, workload)
            or any(marks.get(each) in ("true", "enabled") for each in proxy.native)
            or any(each.name == proxy.name for each in workload.containers)
            or any(proxy.outlasting.fullmatch(f"{key}={value}") for key, value in marks.items())
        ):
            continue
        annotations: Path = ("spec", "template", "metadata", "annotations")
        yield Finding(
            Severity.RISKS,
            f"The injected {proxy.name} stops {proxy.stops}, the server serves for up to {busy:g} s."
            if busy
            else f"The injected {proxy.name} stops at the same time as the server.",
            "Requests come through it: those that arrive later are refused. As a native sidecar it would "
            "outlive the server.",
            (*annotations, proxy.mark)
            if proxy.mark in workload.annotations
            else ("spec", "template", "metadata"),
            (Change((*annotations, proxy.annotation), proxy.wait.format(int(busy + ISTIO_DRAIN))),),
            advice=f'or {proxy.native[0]}: "true" (native sidecars need Kubernetes 1.29 and a mesh that '
            "knows them)",
        )


def _is_injected(proxy: Injected, marks: Mapping[str, str], workload: Workload) -> bool:
    """Return whether a webhook adds a proxy to pods with these annotations and labels."""
    if proxy.mark in marks:
        return marks[proxy.mark] in proxy.values
    namespaces = {
        each.metadata_name: {**(each.metadata.get("labels") or {}), **each.annotations}
        for each in workload.others.everywhere("Namespace")
    }
    around = namespaces.get(workload.namespace, {})
    if proxy.name == "istio-proxy":
        return "istio.io/rev" in {**around, **marks} or around.get("istio-injection") == "enabled"
    return around.get(proxy.mark) in proxy.values
