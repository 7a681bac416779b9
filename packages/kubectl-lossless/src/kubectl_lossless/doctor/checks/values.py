"""Values that the API server refuses by the rules of its validation: names, combinations, words of a list.

kubeconform knows the schema and not these rules. Here are those that manifests break in use.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from kubectl_lossless.doctor.checks import routes
from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.fields import of_type
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path, Severity
from kubectl_lossless.doctor.manifest import POD
from kubectl_lossless.doctor.shape import PLACEHOLDER, quantity
from kubectl_lossless.doctor.workload import Workload

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

NODE_PORTS = range(30000, 32768)
"""Ports of a cluster for NodePorts, unless its API server was given others."""

PROTOCOLS = ("TCP", "UDP", "SCTP")
PULL_POLICIES = ("IfNotPresent", "Always", "Never")
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
POLICIES = ("Cluster", "Local")
POD_MANAGEMENT = ("OrderedReady", "Parallel")
EVICTION_POLICIES = ("IfHealthyBudget", "AlwaysAllow")
PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")

MAX_MODE = 0o777
"""Largest permissions of a volume's file."""


def refusal(
    what: str,
    path: Path,
    change: Change | None = None,
    of: str = "",
    advice: str = "one of them",
) -> Finding:
    """Return the finding for what the API server refuses: in the object `of`, the workload if empty."""
    return Finding(
        Severity.LOSES,
        f"The API server refuses it: {what}.",
        "It is not applied: what is in the cluster stays as it is." if of else "The update never happens.",
        path,
        (change,) if change else (),
        advice="" if change else advice,
        object=of,
    )


def is_wrong_name(name: str, pattern: re.Pattern[str]) -> bool:
    """Return whether a name does not match, unless something else replaces it first."""
    return bool(name) and not pattern.fullmatch(name) and not PLACEHOLDER.search(name)


def _word(value: object, path: Path, known: Sequence[str], where: str, of: str = "") -> Iterator[Finding]:
    """Yield a value that is none of the known words; one in other letters is mended. None: the default."""
    word = known[0] if value is None else str(value)
    if word in known or PLACEHOLDER.search(word):
        return
    meant = next((each for each in known if each.lower() == word.lower()), None)
    yield refusal(
        f"{path[-1]} of {where} is {word!r}; allowed is {', '.join(known)}",
        path,
        Change(path, meant) if meant else None,
        of,
    )


# ---- the workload -----------------------------------------------------------------------------------------


def of_workload(workload: Workload) -> Iterator[Finding]:
    """Yield wrong values of the workload itself."""
    yield from _selector(workload)
    yield from _labels(workload)
    yield from _volumes(workload)
    if workload.kind == "StatefulSet":
        found = workload.spec.get("podManagementPolicy")
        yield from _word(found, ("spec", "podManagementPolicy"), POD_MANAGEMENT, "a StatefulSet")
    for each in [*workload.containers, *workload.init_containers]:
        yield from _container(each, workload)


def _selector(workload: Workload) -> Iterator[Finding]:
    selector = workload.spec.get("selector")
    if workload.kind == "DeploymentConfig" or not selector:
        return
    path: Path = ("spec", "selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield refusal(
            "spec.selector has neither matchLabels nor matchExpressions",
            path,
            Change(path, {"matchLabels": dict(workload.labels)}) if workload.labels else None,
            advice="matchLabels with labels of the pods",
        )


def _labels(workload: Workload) -> Iterator[Finding]:
    template: Path = ("spec", "template", "metadata")
    for path, metadata in ((("metadata",), workload.document.metadata), (template, _metadata(workload))):
        for field in ("labels", "annotations"):
            for name in metadata.get(field) or ():
                if is_wrong_name(name, KEY):
                    yield refusal(
                        f"{name!r} is no name among the {field}; allowed are up to 63 letters, digits, '-', "
                        "'_' and '.', with a domain and / in front",
                        (*path, field, name),
                        advice="a name of these characters",
                    )
    for name, value in workload.labels.items():
        if is_wrong_name(value, LABEL_VALUE):
            yield refusal(
                f"the label {name} is {value!r}; allowed are up to 63 letters, digits, '-', '_' and '.'",
                ("spec", "template", "metadata", "labels", name),
                advice="a value of these characters; an annotation may hold any",
            )


def _metadata(workload: Workload) -> Object:
    found: Object = workload.template.get("metadata") or {}
    return found


def _volumes(workload: Workload) -> Iterator[Finding]:
    """Yield volumes of one name or of two kinds, and mounts of a volume that is not there or at one path."""
    for number, volume in enumerate(workload.pod.get("volumes") or ()):
        yield from _modes(volume, (*POD, "volumes", number))
        sources = [each for each in volume if each != "name" and each in of_type("Volume")]
        if len(sources) > 1:
            yield refusal(
                f"the volume {volume.get('name')} is of {len(sources)} kinds, {' and '.join(sources)}",
                (*POD, "volumes", number),
            )
    volumes = [str(each.get("name", "")) for each in workload.pod.get("volumes") or ()]
    claims = workload.spec.get("volumeClaimTemplates") or () if workload.kind == "StatefulSet" else ()
    names = {*volumes, *(str((each.get("metadata") or {}).get("name", "")) for each in claims)}
    for name, count in Counter(volumes).items():
        if count > 1:
            yield refusal(f"{count} volumes are called {name}", (*POD, "volumes"))
    for each in [*workload.containers, *workload.init_containers]:
        taken: set[str] = set()
        for number, mount in enumerate(each.spec.get("volumeMounts") or ()):
            name, at = str(mount.get("name", "")), str(mount.get("mountPath", ""))
            if not at or at in taken:
                yield refusal(
                    f"{each.name} mounts two volumes at {at}"
                    if at
                    else f"{each.name} mounts the volume {name} without a mountPath",
                    (*each.path, "volumeMounts", number, "mountPath"),
                    advice="a path of its own",
                )
            taken.add(at)
            if name not in names and not PLACEHOLDER.search(name):
                yield refusal(
                    f"{each.name} mounts the volume {name}, which the pod does not have",
                    (*each.path, "volumeMounts", number, "name"),
                    advice=f"one of {', '.join(sorted(names))}"
                    if names
                    else "the volume, in the pod's volumes",
                )


def _modes(volume: Object, path: Path) -> Iterator[Finding]:
    """Yield permissions of a volume's files beyond 0777, as those written in decimal are: 755."""
    for kind in ("configMap", "secret", "projected", "downwardAPI"):
        source = volume.get(kind)
        mode = source.get("defaultMode") if isinstance(source, dict) else None
        if isinstance(mode, int) and mode > MAX_MODE:
            at = (*path, kind, "defaultMode")
            meant = int(str(mode), 8) if re.fullmatch(r"[0-7]{3}", str(mode)) else None
            yield refusal(
                f"defaultMode of the volume {volume.get('name')} is {mode}; allowed is at most 0777",
                at,
                Change(at, meant) if meant is not None else None,
                advice="permissions such as 0755, with the 0 in front",
            )


def _container(each: Container, workload: Workload) -> Iterator[Finding]:
    if is_wrong_name(each.name, DNS_LABEL):
        yield refusal(
            f"the container's name is {each.name!r}; allowed are up to 63 lower-case letters, digits and '-'",
            (*each.path, "name"),
            advice="a name such as web",
        )
    if not each.image and workload.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        yield refusal(f"{each.name} has no image", (*each.path, "image"), advice="its image")
    policy = (*each.path, "imagePullPolicy")
    yield from _word(each.spec.get("imagePullPolicy"), policy, PULL_POLICIES, each.name)
    for number, entry in enumerate(each.spec.get("env") or ()):
        name, sources = entry["name"], entry.get("valueFrom") or {}
        at: Path = (*each.path, "env", number)
        if entry.get("value") and sources:
            yield refusal(f"the variable {name} has value and valueFrom", (*at, "value"))
        if len(sources) > 1:
            yield refusal(
                f"valueFrom of the variable {name} has {len(sources)} sources, {' and '.join(sources)}",
                (*at, "valueFrom"),
            )
        if "=" in name or not name:
            yield refusal(f"a variable is called {name!r}", (*at, "name"), advice="a name without =")
    resources = each.spec.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in sorted(requests.keys() & limits.keys()):
        asked, limit = quantity(requests[name]), quantity(limits[name])
        if asked is not None and limit is not None and asked > limit:
            path = (*each.path, "resources", "requests", name)
            yield refusal(
                f"{each.name} requests {requests[name]} of {name}, more than its limit of {limits[name]}",
                path,
                Change(path, limits[name]),
            )
    for number, port in enumerate(each.ports):
        at = (*each.path, "ports", number)
        yield from _word(port.get("protocol"), (*at, "protocol"), PROTOCOLS, f"a port of {each.name}")
        host = port.get("hostPort")
        if workload.pod.get("hostNetwork") and host and host != port["containerPort"]:
            yield refusal(
                f"with hostNetwork, hostPort {host} has to be the containerPort, {port['containerPort']}",
                (*at, "hostPort"),
                Change((*at, "hostPort"), REMOVE),
            )


# ---- around it --------------------------------------------------------------------------------------------


def is_external(service: Document) -> bool:
    """Return whether a Service is reached from outside of the cluster."""
    kind = service.spec.get("type", "ClusterIP")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and "externalIPs" in service.spec)


def of_service(service: Document) -> Iterator[Finding]:
    """Yield wrong values of a Service."""
    spec, of = service.spec, service.name
    if is_wrong_name(service.metadata_name, SERVICE_NAME):
        yield refusal(
            f"the name of a Service begins with a letter, and has lower-case letters, digits and '-': "
            f"{service.metadata_name!r} does not",
            ("metadata", "name"),
            of=of,
            advice="a name such as web",
        )
    yield from _word(spec.get("type"), ("spec", "type"), SERVICE_TYPES, "a Service", of)
    kind, headless = spec.get("type", "ClusterIP"), spec.get("clusterIP") == "None"
    policy: Path = ("spec", "externalTrafficPolicy")
    for field in ("externalTrafficPolicy", "internalTrafficPolicy"):
        yield from _word(spec.get(field), ("spec", field), POLICIES, "a Service", of)
    if "externalTrafficPolicy" in spec and not is_external(service) and kind in SERVICE_TYPES:
        yield refusal(
            "externalTrafficPolicy is for a Service that is reached from outside",
            policy,
            Change(policy, REMOVE),
            of,
        )
    if headless and kind in ("NodePort", "LoadBalancer"):
        yield refusal(
            f"clusterIP None is not for the type {kind}",
            ("spec", "clusterIP"),
            Change(("spec", "clusterIP"), REMOVE),
            of,
        )
    ports = spec.get("ports") or []
    if not ports and not headless and kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        yield refusal(
            "it has no ports",
            ("spec", "ports"),
            of=of,
            advice="its ports, such as {port: 80, targetPort: http}",
        )
    for number, port in enumerate(ports):
        at: Path = ("spec", "ports", number)
        yield from _word(port.get("protocol"), (*at, "protocol"), PROTOCOLS, "a port", of)
        if "port" not in port:
            yield refusal("a port has no number", (*at, "port"), of=of, advice="port: 80")
        if is_wrong_name(str(port.get("name", "")), DNS_LABEL):
            yield refusal(
                f"the port's name is {port['name']!r}; allowed are lower-case letters, digits and '-'",
                (*at, "name"),
                of=of,
                advice="a name such as http",
            )
        if port.get("nodePort") and kind != "ClusterIP" and port["nodePort"] not in NODE_PORTS:
            yield refusal(
                f"nodePort {port['nodePort']} is outside of {NODE_PORTS.start} to {NODE_PORTS.stop - 1}, a "
                "cluster's range by default",
                (*at, "nodePort"),
                Change((*at, "nodePort"), REMOVE),
                of,
            )
        if port.get("nodePort") and kind == "ClusterIP":
            yield refusal(
                "nodePort is not for the type ClusterIP",
                (*at, "nodePort"),
                Change((*at, "nodePort"), REMOVE),
                of,
            )
    taken = Counter((each.get("nodePort"), each.get("protocol", "TCP")) for each in ports)
    for (port, protocol), count in taken.items():
        if port and count > 1:
            yield refusal(f"it has nodePort {port} {count} times by {protocol}", ("spec", "ports"), of=of)


def of_budget(budget: Document) -> Iterator[Finding]:
    """Yield the wrong eviction policy of a PodDisruptionBudget."""
    field = "unhealthyPodEvictionPolicy"
    yield from _word(budget.spec.get(field), ("spec", field), EVICTION_POLICIES, "a budget", budget.name)


def of_autoscaler(autoscaler: Document) -> Iterator[Finding]:
    """Yield the wrong number of pods of a HorizontalPodAutoscaler."""
    path: Path = ("spec", "maxReplicas")
    if autoscaler.kind != "HorizontalPodAutoscaler":
        return
    fewest, most = autoscaler.spec.get("minReplicas", 1), autoscaler.spec.get("maxReplicas")
    if most is None:
        what = "maxReplicas is missing"
    elif most < max(fewest, 1):
        what = f"maxReplicas {most} is below " + (f"minReplicas {fewest}" if fewest else "1")
    else:
        return
    yield refusal(what, path, Change(path, max(fewest, 1)), autoscaler.name)


def of_ingress(ingress: Document) -> Iterator[Finding]:
    """Yield what is wrong with the hosts and paths of an Ingress, and its backends of the old form."""
    of = ingress.name
    for number, rule in enumerate(ingress.spec.get("rules") or ()):
        host = str(rule.get("host", "")) if isinstance(rule, dict) else ""
        if is_wrong_name(host, HOST):
            yield refusal(
                f"the host {host!r} is no name; allowed are lower-case letters, digits, '-' and '.'",
                ("spec", "rules", number, "host"),
                of=of,
                advice="the name alone",
            )
    for at, path in routes.paths_of_ingress(ingress):
        asked, found = str(path.get("path", "")), path.get("pathType", "")
        if not path.get("backend"):
            yield refusal(
                f"{asked or 'a path'} has no backend",
                (*at, "backend"),
                of=of,
                advice="service: {name: web, port: {number: 80}}",
            )
        if found not in PATH_TYPES:
            simple = re.fullmatch(r"/[\w./~-]*", asked)
            yield refusal(
                f"pathType of {asked or 'a path'} is {found!r}; allowed is {', '.join(PATH_TYPES)}"
                if found
                else f"{asked or 'a path'} has no pathType",
                (*at, "pathType"),
                Change((*at, "pathType"), "Prefix" if simple else "ImplementationSpecific"),
                of,
            )
        if not asked.startswith("/") and (asked or found in ("Exact", "Prefix")):
            path_of_it = (*at, "path")
            yield refusal(
                f"the path {asked!r} does not begin with /", path_of_it, Change(path_of_it, f"/{asked}"), of
            )
    for backend in routes.backends_of_ingress(ingress):
        if backend.path[-1] == "servicePort":
            yield refusal(
                f"serviceName and servicePort of {backend.service} are those of v1beta1",
                backend.name_path,
                advice=f"service: {{name: {backend.service}, port: {{number: {backend.port or 80}}}}}",
                of=of,
            )
        elif backend.port is None:
            yield refusal(
                f"the backend {backend.service} has no port",
                backend.path,
                advice="service.port.number or service.port.name",
                of=of,
            )
        elif backend.both:
            name = (*backend.path, "name")
            yield refusal(
                f"the backend {backend.service} has a port's number and its name",
                name,
                Change(name, REMOVE),
                of,
            )


def of_gateway_backends(backends: Iterable[routes.Backend], of: str) -> Iterator[Finding]:
    """Yield backends of a Gateway API's route `of` that name a Service and no port."""
    for backend in backends:
        if backend.port is None:
            yield refusal(
                f"the backend {backend.service} has no port",
                backend.path,
                of=of,
                advice="the Service's port",
            )
