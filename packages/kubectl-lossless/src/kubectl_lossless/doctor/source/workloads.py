"""The workloads among the objects, and what else there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches

from kubectl_lossless.doctor import shape
from kubectl_lossless.doctor.documents import PATCH, Document
from kubectl_lossless.doctor.manifest import KINDS
from kubectl_lossless.doctor.neighbours import Neighbours
from kubectl_lossless.doctor.server.model import Overrides
from kubectl_lossless.doctor.source.loaded import Loaded, Refused, Skipped
from kubectl_lossless.doctor.workload import Workload

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

SIMILAR = 0.85
"""Least similarity of a misspelt kind or field, from 0 to 1."""


def checked(documents: Iterable[Document], loaded: Loaded) -> list[Document]:
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


def choose(
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
