"""Sources of the objects: files, standard input, kustomize, a cluster; and docker's copies of images."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

from kubectl_lossless.doctor import shape
from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.documents import PATCH, Document, Object, Problem, read, unfolded, without_nulls
from kubectl_lossless.doctor.manifest import KINDS, Image, Observed
from kubectl_lossless.doctor.neighbours import Neighbours
from kubectl_lossless.doctor.server.gunicorn import configuration_file
from kubectl_lossless.doctor.server.model import Overrides
from kubectl_lossless.doctor.server.start import Start
from kubectl_lossless.doctor.workload import Workload
from kubectl_lossless.kubectl import PROCESS, Kubectl, KubectlError


def _names(short: str, kind: str, group: str) -> tuple[str, ...]:
    return (short, kind, f"{kind}s", f"{kind}.{group}", f"{kind}s.{group}")


RESOURCES: dict[str, tuple[str, ...]] = {
    "Deployment": _names("deploy", "deployment", "apps"),
    "StatefulSet": _names("sts", "statefulset", "apps"),
    "DaemonSet": _names("ds", "daemonset", "apps"),
    "Rollout": _names("ro", "rollout", "argoproj.io"),
    "DeploymentConfig": _names("dc", "deploymentconfig", "apps.openshift.io"),
}
"""The kinds that are checked, with the names that kubectl knows them by; the last one is exact."""

ELSEWHERE = {
    "Pod": "a Pod by itself is not updated, but deleted and created again",
    "Job": "a Job serves no requests",
    "CronJob": "a CronJob serves no requests",
    "ReplicaSet": "a ReplicaSet does not update its pods",
    "ReplicationController": "a ReplicationController does not update its pods",
    "PodTemplate": "a PodTemplate starts no pods by itself",
    "CloneSet": "its kind is not known to the doctor",
}
"""Kinds with pods that are named as not checked, and why."""

FOR_KUSTOMIZE = "is for kustomize: check its output with -k FOLDER"

IN_CLUSTER = (
    "its objects are made in the cluster: check them there, by `kubectl lossless doctor -n NAMESPACE`"
)
RENDERED = {
    (
        "Template",
        "template.openshift.io",
    ): "`oc process -f FILE -o yaml | kubectl lossless doctor -f -` checks it",
    ("HelmRelease", "helm.toolkit.fluxcd.io"): IN_CLUSTER,
    ("Kustomization", "kustomize.toolkit.fluxcd.io"): IN_CLUSTER,
    ("HelmChart", "helm.cattle.io"): IN_CLUSTER,
    ("Application", "argoproj.io"): IN_CLUSTER,
    ("ApplicationSet", "argoproj.io"): IN_CLUSTER,
}
"""Kinds and groups whose workloads are not written in the manifest, and how they can be checked."""

KNATIVE = "Knative replaces its revisions by itself: its routing is not known to the doctor"

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

SUFFIXES = (".yaml", ".yml", ".json")

SIMILAR = 0.85
"""Least similarity of a misspelt kind or field, from 0 to 1."""

MAX_BYTES = 100_000_000
"""Largest file that is read."""


class SourceError(Exception):
    """Nothing can be checked. The message is a sentence for people."""


@dataclass(frozen=True)
class Skipped:
    """An object or a file that is not checked."""

    name: str
    reason: str
    """The rest of a sentence that begins with the name."""
    file: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Refused:
    """A file or an object that cannot be checked, although it should be."""

    reason: str
    """The rest of a sentence that begins with the file or the object."""
    name: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Return the sentence."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{': '.join(filter(None, (where, self.name)))} {self.reason}".strip()


@dataclass
class Loaded:
    """The workloads to check, and what is left out of them."""

    workloads: list[Workload] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


# ---- what a name means ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Workloads that were asked for: of a kind, of a name, or both."""

    kind: str = ""
    name: str = ""

    def takes(self, document: Document) -> bool:
        """Return whether it means this object."""
        return self.kind in ("", document.kind) and self.name in ("", document.metadata_name)

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.kind or 'workload'} {self.name}".strip()


def wanted(words: Sequence[str]) -> list[Wanted]:
    """Read names as kubectl does: deploy/web, `deploy web api`, a kind or a name alone.

    Raises SourceError.
    """
    found: list[Wanted] = []
    first = _kind(words[0]) if words else ""
    if first and len(words) > 1 and not any("/" in word for word in words):
        return [Wanted(first, word) for word in words[1:]]
    for word in words:
        resource, slash, name = word.partition("/")
        kind = _kind(resource)
        if not slash:
            found.append(Wanted(kind) if kind else Wanted(name=word))
        elif not kind:
            allowed = ", ".join(names[0] for names in RESOURCES.values())
            raise SourceError(
                f"{word!r} names the kind {resource!r}; allowed are {allowed} and their long names."
            )
        elif not name:
            raise SourceError(f"{word!r} has no name behind the slash.")
        else:
            found.append(Wanted(kind, name))
    return found


def _kind(word: str) -> str:
    return next((kind for kind, names in RESOURCES.items() if word.lower() in names), "")


# ---- files ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """Files, folders and workloads that are asked for."""

    words: Sequence[str] = ()
    """Names of workloads; none: all."""
    namespace: str = ""
    """Of the objects in files that name none. With one, only its workloads are checked."""
    files: Sequence[str] = ()
    """Files and folders, `-` for standard input."""
    kustomize: str = ""
    """A folder to build with kustomize."""


def from_files(selection: Selection, stdin: BinaryIO, overrides: Overrides = Overrides()) -> Loaded:  # noqa: B008
    """Return the workloads in files. Raises SourceError."""
    paths, kustomize, namespace = selection.files, selection.kustomize, selection.namespace
    chosen = wanted(selection.words)
    loaded = Loaded()
    documents: list[Document] = []
    for label, data in _contents(paths, stdin, kustomize, loaded):
        for each in read(data, label):
            if isinstance(each, Problem):
                loaded.refused.append(Refused(str(each), file=label))
            else:
                documents.append(each)
    known = _checked(documents, loaded)
    if namespace:
        for each in known:
            if "namespace" not in each.metadata:
                each.data.setdefault("metadata", {})["namespace"] = namespace
        chosen = chosen or [Wanted()]
    where = ", ".join(["stdin" if each == "-" else each for each in [*paths, kustomize] if each])
    _choose(known, loaded, overrides)
    if chosen:
        there = _listed(loaded)
        loaded.workloads = [
            each
            for each in loaded.workloads
            if any(one.takes(each.document) for one in chosen) and namespace in ("", each.namespace)
        ]
        for one in chosen:
            if not any(one.takes(each.document) for each in loaded.workloads) and not loaded.refused:
                inside = f" in the namespace {namespace}" if namespace else ""
                raise SourceError(f"There is no {one}{inside} in {where}.{there}")
    if not loaded.workloads and not loaded.refused:
        raise SourceError(f"There is no workload to check in {where}.{_listed(loaded, known)}")
    return loaded


def _listed(loaded: Loaded, others: Sequence[Document] = ()) -> str:
    """Return what there is instead, in a sentence with a space before it."""
    found = (
        [each.name for each in loaded.workloads]
        or [f"{each.name} {each.reason}" for each in loaded.skipped]
        or [each.name for each in others]
    )
    listed = "; ".join(found[:10])
    return f" There is: {listed}{'' if listed.endswith('?') else '.'}" if listed else ""


def _contents(
    paths: Sequence[str], stdin: BinaryIO, kustomize: str, loaded: Loaded
) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path == "-":
            yield "stdin", stdin.read()
            continue
        if path.startswith(("http://", "https://")):
            reason = "is an address, no file: `curl -sL ADDRESS | kubectl lossless doctor -f -` checks it"
            loaded.refused.append(Refused(reason, file=path))
            continue
        for file in _files(Path(path)):
            try:
                if file.stat().st_size > MAX_BYTES:
                    loaded.refused.append(Refused(f"is larger than {MAX_BYTES:,} bytes", file=str(file)))
                    continue
                yield str(file), file.read_bytes()
            except OSError as error:
                loaded.refused.append(Refused(f"cannot be read: {error.strerror}", file=str(file)))
    if kustomize:
        yield f"kustomize {kustomize}", _built(kustomize)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        each
        for each in path.rglob("*")
        if each.suffix.lower() in SUFFIXES
        and each.is_file()
        and not any(part.startswith(".") for part in each.relative_to(path).parts)
    )
    if not found:
        raise SourceError(f"{path} holds no {' or '.join(SUFFIXES)} file.")
    return found


def _built(folder: str) -> bytes:
    """Return the output of kustomize; `kubectl kustomize` where the program itself is not installed."""
    said = "neither kubectl nor kustomize is installed"
    for command in (["kubectl", "kustomize", folder], ["kustomize", "build", folder]):
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)  # noqa: S603 - no shell
        except FileNotFoundError:
            continue
        except subprocess.TimeoutExpired:
            raise SourceError(f"`{' '.join(command)}` did not end within 120 s.") from None
        if done.returncode == 0:
            return done.stdout
        said = f"`{' '.join(command)}` said: {done.stderr.decode(errors='replace').strip()}"
        break
    raise SourceError(f"{folder} cannot be built with kustomize: {said}")


# ---- from objects to workloads --------------------------------------------------------------------------


def _checked(documents: Iterable[Document], loaded: Loaded) -> list[Document]:
    """Return the objects whose fields have the right types; skip what is none, refuse the rest."""
    known = []
    for each in documents:
        line = each.line()
        if each.kind == PATCH and len(each.data) == 1:
            loaded.skipped.append(Skipped("A JSON patch", FOR_KUSTOMIZE, each.file, line))
        elif (
            not each.data.get("kind")
            or not isinstance(each.data["kind"], str)
            or ("apiVersion" not in each.data and not each.spec)
        ):
            loaded.skipped.append(Skipped(*_no_object(each), file=each.file, line=line))
        elif each.kind in ("Kustomization", "Component") and each.group == "kustomize.config.k8s.io":
            loaded.skipped.append(Skipped(each.name, FOR_KUSTOMIZE, each.file, line))
        elif not shape.is_foreign(each.kind, each.group) and each.kind in KINDS and _is_patch(each):
            reason = "is not whole (no image, or no pod template): is it a patch?"
            loaded.skipped.append(Skipped(each.name, reason, each.file, line))
        elif problems := shape.problems(each.kind, each.group, each.data):
            for path, sentence in problems:
                written = each.unquoted(path)
                hint = f" (YAML reads {written} so)" if written and f" is {written};" not in sentence else ""
                reason = f"cannot be checked: {sentence}{hint}"
                loaded.refused.append(Refused(reason, each.name, each.file, each.line(path)))
        else:
            known.append(each)
    return known


def _no_object(document: Document) -> tuple[str, str]:
    keys = set(document.data)
    if keys & {
        "resources",
        "patches",
        "patchesStrategicMerge",
        "bases",
        "configMapGenerator",
        "commonLabels",
    } and not keys & {"spec", "kind"}:
        return "A kustomization", FOR_KUSTOMIZE
    if document.data.get("kind") in KINDS:
        return document.name, "is not whole (no spec): is it a patch?"
    return "A document", "is no Kubernetes object: it has no kind and apiVersion"


def _is_patch(document: Document) -> bool:
    """Return whether a workload has no pod template, or no selector and a container without an image."""
    if "spec" not in document.data:
        return "metadata" in document.data
    spec = document.data["spec"]
    for key in ("template", "spec", "containers"):
        if not isinstance(spec, dict):
            return False  # it is of a wrong type, and refused
        if key not in spec:
            misspelt = get_close_matches(key, map(str, spec), 1, SIMILAR)
            return not misspelt and not (document.kind == "Rollout" and "workloadRef" in document.spec)
        spec = spec[key]
    whole = not isinstance(spec, list) or all(not isinstance(each, dict) or "image" in each for each in spec)
    return not whole and "selector" not in document.spec


def _choose(
    known: Sequence[Document],
    loaded: Loaded,
    overrides: Overrides,
    unseen: Sequence[str] = (),
    *,
    from_cluster: bool = False,
) -> None:
    """Add the workloads among the objects, and the names of those that are not checked."""
    around = Neighbours(each for each in known if not shape.is_foreign(each.kind, each.group))
    referred = {
        (str(reference.get("kind", "Deployment")), reference.get("name"), each.namespace): each.name
        for each in known
        if each.kind == "Rollout" and (reference := each.spec.get("workloadRef"))
    }
    for each in known:
        if shape.is_foreign(each.kind, each.group):
            if each.kind == "Service" and "knative" in each.group:
                loaded.skipped.append(
                    Skipped(each.name, f"is not checked: {KNATIVE}", each.file, each.line())
                )
            elif each.kind in KINDS:
                reason = (
                    f"is not checked: its API group is {each.group}; known is {shape.GROUPS[each.kind][0]}"
                )
                loaded.skipped.append(Skipped(each.name, reason, each.file, each.line(("apiVersion",))))
            continue
        if reason := RENDERED.get((each.kind, each.group), ELSEWHERE.get(each.kind, "")):
            if not from_cluster:  # there they belong to something else, or have run
                loaded.skipped.append(Skipped(each.name, f"is not checked: {reason}", each.file, each.line()))
            continue
        if each.kind not in KINDS:
            if meant := next((kind for kind in KINDS if kind.lower() == each.kind.lower()), ""):
                reason = f"is of no known kind: {each.kind!r} is written {meant!r}"
                loaded.refused.append(Refused(reason, each.name, each.file, each.line(("kind",))))
            elif each.group == "apps" and (near := get_close_matches(each.kind, KINDS, 1, SIMILAR)):
                reason = f"is of no known kind: {each.kind!r}; is {near[0]!r} meant?"
                loaded.refused.append(Refused(reason, each.name, each.file, each.line(("kind",))))
            continue
        if (rollout := referred.get((each.kind, each.metadata_name, each.namespace))) is not None:
            loaded.skipped.append(
                Skipped(each.name, f"is checked as the pods of {rollout}", each.file, each.line())
            )
            continue
        document = each
        if each.kind == "Rollout" and "workloadRef" in each.spec:
            found = _with_template(each, around)
            if found is None:
                wanted_one = each.spec["workloadRef"].get("name")
                reason = f"is not checked: {wanted_one}, which its workloadRef names, is not there"
                loaded.skipped.append(Skipped(each.name, reason, each.file, each.line()))
                continue
            document = found
        loaded.workloads.append(
            Workload(document, around, overrides=overrides, unseen=tuple(unseen), from_cluster=from_cluster)
        )


def _with_template(rollout: Document, around: Neighbours) -> Document | None:
    """Return a Rollout with the pod template of the workload that its workloadRef names."""
    reference = rollout.spec["workloadRef"]
    named = around.named(f"{reference.get('kind', 'Deployment')} {reference.get('name')}", rollout.namespace)
    if named is None or "template" not in named.spec:
        return None
    spec = {"selector": named.spec.get("selector", {}), **rollout.spec, "template": named.spec["template"]}
    return replace(rollout, data={**rollout.data, "spec": spec})


# ---- a cluster ------------------------------------------------------------------------------------------


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
    known = _checked(documents, loaded)
    _choose(known, loaded, overrides, unseen, from_cluster=True)
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


# ---- docker ---------------------------------------------------------------------------------------------


def with_images(loaded: Loaded) -> Loaded:
    """Return the same, with what docker knows of the images; an image that it does not have is reported."""
    known: dict[str, Image | None] = {}
    refused = list(loaded.refused)
    workloads = []
    for workload in loaded.workloads:
        for each in workload.containers:
            if each.image and each.image not in known:
                known[each.image], said = _image(each.image)
                if said:
                    refused.append(
                        Refused(
                            said, workload.name, workload.document.file, workload.document.line(each.path)
                        )
                    )
        images = {name: image for name, image in known.items() if image is not None}
        workloads.append(replace(workload, images=images))
    return Loaded(workloads, loaded.skipped, refused)


def _image(name: str) -> tuple[Image | None, str]:
    command = ["docker", "image", "inspect", "--format", "{{json .Config}}", name]
    if not re.match(r"[A-Za-z0-9]", name):
        return None, f"has an image that is no name: {name!r}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"cannot be checked with docker: it cannot be asked about {name}: {error}"
    if done.returncode:
        return None, (
            f"cannot be checked with docker: docker does not have {name} (`docker pull` it). It "
            f"said: {done.stderr.strip()}"
        )
    config: dict[str, Any] = json.loads(done.stdout)
    variables = dict(entry.split("=", 1) for entry in config.get("Env") or () if "=" in entry)
    return Image(config.get("Entrypoint") or (), config.get("Cmd") or (), variables), ""
