"""Manifests that the API server refuses, with what counts in them for the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, Object
from doctor.kinds import Change, added, kind, spec
from kubectl_lossless.doctor.finding import Severity

REFUSED = {(LOSES, "refused")}

BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def ingress_path(api: str = "networking.k8s.io/v1", **path: Any) -> Change:
    """Add an Ingress with one path to the Service."""
    fields: Object = {"rules": [{"http": {"paths": [{"path": "/", "backend": BACKEND, **path}]}}]}
    return added(api, "Ingress", "web", {"ingressClassName": "nginx", **fields})


def config(**strategy: Any) -> Sequence[Change]:
    """Return a DeploymentConfig with a strategy."""

    def change(objects: list[Object]) -> None:
        objects[0]["apiVersion"] = "apps.openshift.io/v1"

    labels = {"app": "web"}
    return [
        kind("DeploymentConfig", "progressDeadlineSeconds"),
        change,
        spec(strategy=strategy, selector=labels),
    ]


REFUSALS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "Ingress path without pathType": ([ingress_path()], REFUSED),
    "Ingress regular expression without pathType": ([ingress_path(path="/api(/|$)(.*)")], REFUSED),
    "Ingress pathType in small letters": ([ingress_path(pathType="prefix")], REFUSED),
    "Ingress path without a slash": ([ingress_path(path="api", pathType="Prefix")], REFUSED),
    "Ingress pathType Exact": ([ingress_path(pathType="Exact")], set()),
    "Ingress pathType of a controller alone": (
        [ingress_path(path="", pathType="ImplementationSpecific")],
        set(),
    ),
    "Ingress backend of v1beta1 in v1": (
        [ingress_path(pathType="Prefix", backend={"serviceName": "web", "servicePort": 80})],
        REFUSED,
    ),
    "Ingress backend without a port": (
        [ingress_path(pathType="Prefix", backend={"service": {"name": "web"}})],
        REFUSED,
    ),
    "strategy RollingUpdate of a DeploymentConfig": (
        config(type="RollingUpdate", rollingParams={"maxSurge": 1, "maxUnavailable": 0}),
        REFUSED,
    ),
    "strategy Custom of a DeploymentConfig": (
        config(
            type="Custom", customParams={"image": "x"}, rollingParams={"maxSurge": 1, "maxUnavailable": 0}
        ),
        set(),
    ),
}
