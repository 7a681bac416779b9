"""Objects of a cluster, and what a running pod shows of its containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.documents import Document, Object, unfolded, without_nulls
from kubectl_lossless.doctor.manifest import Observed
from kubectl_lossless.doctor.server.gunicorn import configuration_file
from kubectl_lossless.doctor.server.model import Overrides
from kubectl_lossless.doctor.server.start import Start
from kubectl_lossless.doctor.source.loaded import Loaded, SourceError
from kubectl_lossless.doctor.source.selection import RESOURCES, Selection, Wanted, wanted
from kubectl_lossless.doctor.source.workloads import checked, choose
from kubectl_lossless.doctor.workload import Workload
from kubectl_lossless.kubectl import PROCESS, Kubectl, KubectlError

NEAR = (
    "services",
    "poddisruptionbudgets.policy",
    "horizontalpodautoscalers.autoscaling",
    "scaledobjects.keda.sh",
    "httpscaledobjects.http.keda.sh",
    "verticalpodautoscalers.autoscaling.k8s.io",
    "ingresses.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "ingressroutes.traefik.io",
    "httpproxies.projectcontour.io",
    "backendtrafficpolicies.gateway.envoyproxy.io",
    "virtualservices.networking.istio.io",
    "destinationrules.networking.istio.io",
    "serviceentries.networking.istio.io",
    "routes.route.openshift.io",
    "configmaps",
    "cronjobs.batch",
    "jobs.batch",
)
"""Resources read in the workload's namespace. Groups are named in full, because Istio has gateways too."""

WIDER = (
    "gateways.gateway.networking.k8s.io",
    "ingressclasses.networking.k8s.io",
    "gatewayclasses.gateway.networking.k8s.io",
)
"""Resources that are read in the whole cluster."""

NOT_SERVED = ("the server doesn't have a resource type", "could not find the requested resource")
"""kubectl's messages about a kind that the cluster does not know."""


def from_cluster(selection: Selection, kubectl: Kubectl, overrides: Overrides = Overrides()) -> Loaded:  # noqa: B008
    """Return the workloads of those names, or all of the namespace. Raises SourceError."""
    chosen = wanted(selection.words)
    try:
        kubectl.check()
        namespace = selection.namespace or kubectl.namespace
    except KubectlError as error:
        raise SourceError(str(error)) from None
    workloads = tuple(names[-1] for names in RESOURCES.values())
    with ThreadPoolExecutor(8) as pool:
        resources = (*workloads, *NEAR, *WIDER)
        answers = list(pool.map(lambda each: _resource(kubectl, each, namespace), resources))
        answers.append(_resource(kubectl, f"namespaces/{namespace}", ""))
    loaded = Loaded()
    documents: list[Document] = []
    unseen: list[str] = []
    for resource, (objects, said) in zip((*resources, "namespaces"), answers, strict=True):
        documents += [one for each in objects for one in unfolded(Document(without_nulls(each)))]
        if said and resource in workloads and _is_asked_for(resource, chosen):
            raise SourceError(said)
        if said and resource != "namespaces":
            unseen.append(resource.partition(".")[0])
    known = checked(documents, loaded)
    choose(known, loaded, overrides, unseen, from_cluster=True)
    inside = [each for each in loaded.workloads if each.namespace == namespace]
    if chosen:
        for one in chosen:
            if not any(one.takes(each.document) for each in inside):
                there = ", ".join(each.name for each in inside) or "none"
                raise SourceError(
                    f"There is no {one} in the namespace {namespace}. Workloads there: {there}."
                )
        inside = [each for each in inside if any(one.takes(each.document) for one in chosen)]
    if not inside and not loaded.refused:
        raise SourceError(f"There is no workload in the namespace {namespace}.")
    loaded.workloads = [replace(each, observed=_observed(kubectl, each)) for each in inside]
    return loaded


def _is_asked_for(resource: str, chosen: Sequence[Wanted]) -> bool:
    kind = next(kind for kind, names in RESOURCES.items() if names[-1] == resource)
    return any(each.kind == kind for each in chosen) or (
        kind == "Deployment" and not any(each.kind for each in chosen)
    )


def _resource(kubectl: Kubectl, resource: str, namespace: str) -> tuple[list[Object], str]:
    """Return the objects of a resource, and kubectl's message where they cannot be listed."""
    scope = ["--all-namespaces"] if resource in WIDER else ["-n", namespace] if namespace else []
    try:
        return kubectl.objects("get", *resource.split("/"), *scope), ""
    except KubectlError as error:
        # A cluster without the Gateway API has none of its objects; what may not be seen there may be.
        return [], "" if any(each in error.said for each in NOT_SERVED) else str(error)


def _observed(kubectl: Kubectl, workload: Workload) -> Mapping[str, Observed]:
    """Return what one running pod shows of its containers, as far as the cluster permits a look."""
    selector = ",".join(f"{name}={value}" for name, value in workload.labels.items())
    try:
        pods = kubectl.objects("get", "pods", "-n", workload.namespace, "-l", selector)
        running = next(pod for pod in pods if pod.get("status", {}).get("phase") == "Running")
    except (KubectlError, StopIteration):
        return {}
    pod = running["metadata"]["name"]

    def look(*arguments: str) -> str:
        try:
            return kubectl(*arguments, timeout=10)
        except KubectlError:  # no cat in the image, no right to it, nothing there: the manifest has to do
            return ""

    def observed(container: Container) -> Observed:
        cat = ("exec", pod, "-n", workload.namespace, "-c", container.name, "--", "cat")
        title = look(*cat, PROCESS).rstrip("\0").split("\0")
        words = [] if title == [""] else title
        # The manifest's command names the file where PID 1 has given itself a title.
        starts = (Start(words), container.start)
        found = (configuration_file(each, container.environment) for each in starts)
        file = next(filter(None, found), "")
        probe = _readiness(container)
        path = f"/api/v1/namespaces/{workload.namespace}/pods/{probe[0]}{pod}:{probe[1]}/proxy{probe[2]}"
        configuration = look(*cat, file) if file else ""
        return Observed(words, configuration, look("get", "--raw", path) if probe[1] else "")

    return {each.name: observed(each) for each in workload.containers}


def _readiness(container: Container) -> tuple[str, int, str]:
    """Return scheme, port and path of a readiness probe for the API server's proxy; port 0: none."""
    get = (container.probe("readiness") or {}).get("httpGet") or {}
    port = get.get("port", 0)
    if isinstance(port, str):
        port = next((each["containerPort"] for each in container.ports if each.get("name") == port), 0)
    path = str(get.get("path", "/"))
    scheme = "https:" if get.get("scheme") == "HTTPS" else ""
    return scheme, int(port), path if path.startswith("/") else f"/{path}"
