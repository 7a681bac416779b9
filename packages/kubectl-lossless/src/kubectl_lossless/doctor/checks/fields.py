"""Fields that an object of Kubernetes does not have, and values of a type that its fields do not take."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kubectl_lossless.doctor import fields
from kubectl_lossless.doctor.checks import routes
from kubectl_lossless.doctor.checks.values import refusal
from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.fields import POD_TEMPLATE, Place, Wrong
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Path, shown
from kubectl_lossless.doctor.shape import PLACEHOLDER, sentence
from kubectl_lossless.doctor.workload import Workload

SIMILAR = 0.85
"""Least similarity of a misspelt field, from 0 to 1."""

HOMES = {
    **{f"{kind}Spec": f"a {kind}'s spec" for kind in ("Deployment", "StatefulSet", "DaemonSet", "Service")},
    POD_TEMPLATE: "the pod template",
    "PodSpec": "the pod's spec",
    "Container": "a container",
    "Lifecycle": "its lifecycle",
    "Probe": "a probe",
    "HTTPGetAction": "httpGet",
    "DeploymentStrategy": "the strategy",
    "RollingUpdateDeployment": "rollingUpdate",
    "ServicePort": "a port of a Service",
}
"""The places in words, by their types."""

OF_V1BETA1 = ("serviceName", "servicePort")
"""Fields of an Ingress' backend that `values` reports, with those to write instead."""

MANY = 3
"""Number of places with a field of one name, such as `name`, from which on none of them is meant."""


def of_workload(workload: Workload) -> Iterator[Finding]:
    """Yield unknown fields, and values of a wrong type, of a workload and of the objects around it.

    A cluster has accepted its objects, and may be newer than the table of the fields.
    """
    if workload.from_cluster:
        return
    document = workload.document
    kind = _type(document)
    if fields.of_type(kind):
        yield from _of_document(document, kind)
    elif "workloadRef" not in workload.spec:
        yield from _of_document(document, POD_TEMPLATE, ("spec", "template"))
    ingresses = [route for route, _ in routes.to_services(workload, workload.services, "Ingress")]
    for each in [*workload.attached, *ingresses]:
        yield from _of_document(each, _type(each), of=each.name)


def _type(document: Document) -> str:
    return f"{document.data.get('apiVersion')} {document.kind}"


def _of_document(document: Document, type_name: str, path: Path = (), of: str = "") -> Iterator[Finding]:
    value: Any = document.data
    for key in path:
        value = value[key]
    for place in fields.places(type_name, value, path):
        known = fields.of_type(place.type)
        for name in place.value:
            if name in known:
                for each in fields.wrong(known[name], place.value[name], (*place.path, name)):
                    if not (isinstance(each.value, str) and PLACEHOLDER.search(each.value)):
                        yield _of_wrong_type(each, document, of)
            elif name not in OF_V1BETA1 and not PLACEHOLDER.search(name):
                yield _finding(place, name, of)


def _of_wrong_type(wrong: Wrong, document: Document, of: str) -> Finding:
    value, written = wrong.value, document.unquoted(wrong.path)
    right: Any = None
    if wrong.type == "string" and isinstance(value, bool | int | float):
        right = written or str(value).lower()
    elif wrong.type == "[]string" and isinstance(value, str):
        right = [value]
    elif wrong.type == "integer" and isinstance(value, str) and value.isdecimal():
        right = int(value)
    elif wrong.type == "boolean" and isinstance(value, str):
        right = {"true": True, "false": False}.get(value.lower())
    what = sentence(wrong.path, value, wrong.allowed)
    change = None if right is None else Change(wrong.path, right)
    return refusal(what, wrong.path, change, of, wrong.allowed)


def _finding(place: Place, name: str, of: str) -> Finding:
    at: Path = (*place.path, name)
    where = HOMES.get(place.type) or shown(place.path) or "the object"
    if meant := _meant(place, name):
        found = refusal(f"{where} has no field {name}; is {meant} meant?", at, of=of)
        moved = (Change(at, REMOVE), Change((*place.path, meant), place.value[name]))
        return replace(found, changes=moved, advice="")
    homes = [words for home, words in HOMES.items() if name in fields.of_type(home)]
    if 0 < len(homes) < MANY:
        home = " or ".join(homes)
        return refusal(
            f"{where} has no field {name}, which is one of {home}",
            at,
            of=of,
            advice=f"{name} in {home} (clients without validation drop it where it stands)",
        )
    return refusal(f"{where} has no field {name}", at, Change(at, REMOVE), of)


def _meant(place: Place, name: str) -> str:
    """Return the field whose name is like an unknown one's and that may hold its value; "" for none."""
    known = {
        each.lower(): each
        for each, its_type in fields.of_type(place.type).items()
        if each not in place.value and fields.may_hold(its_type, place.value[name])
    }
    near = difflib.get_close_matches(name.lower(), known, 1, SIMILAR)
    return known[near[0]] if near else ""
