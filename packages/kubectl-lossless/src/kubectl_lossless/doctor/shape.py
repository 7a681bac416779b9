"""The fields that the doctor reads, with their types: checked once, so that no check has to.

An object with a wrong one cannot be checked. `refused` compares all other fields with Kubernetes' schemas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from kubectl_lossless.doctor.finding import Path, shown

MAX_INT32 = 2_147_483_647
MAX_INT64 = 9_223_372_036_854_775_807

PLACEHOLDER = re.compile(r"[${<%]")
"""Marks of a name that something else replaces before the API server gets it."""

Wrong = tuple[Path, str]
Check = Callable[[Any, Path], Iterator[Wrong]]


def _wrong(path: Path, value: Any, allowed: str) -> Iterator[Wrong]:
    yield path, sentence(path, value, allowed)


def sentence(path: Path, value: Any, allowed: str) -> str:
    """Return what is wrong with a value and what is allowed in its place."""
    text = repr(value) if isinstance(value, str) else _brief(value)
    hint = ""
    if isinstance(value, str) and re.search(r"\$\{?\w+", value):
        hint = " (does it need envsubst first?)"
    elif isinstance(value, str) and "{{" in value:
        hint = " (does it need Helm first?)"
    return f"{shown(path) or 'it'} is {text[:80]}; allowed is {allowed}{hint}"


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return str(value).lower() if isinstance(value, bool) else str(value)


def whole(minimum: int = 0, maximum: int = MAX_INT32) -> Check:
    """Return a check for a whole number."""

    def check(value: Any, path: Path) -> Iterator[Wrong]:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            yield from _wrong(path, value, f"a whole number from {minimum} to {maximum}")

    return check


def text(value: Any, path: Path) -> Iterator[Wrong]:
    """Check a string."""
    if not isinstance(value, str):
        allowed = "text" if isinstance(value, dict | list) else "text: put it in quotes"
        yield from _wrong(path, value, allowed)


def boolean(value: Any, path: Path) -> Iterator[Wrong]:
    """Check a boolean."""
    if not isinstance(value, bool):
        yield from _wrong(path, value, "true or false")


def amount(value: Any, path: Path) -> Iterator[Wrong]:
    """Check a number of pods or a percentage of them."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}%", value):
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INT32:
        yield from _wrong(path, value, "a whole number or a whole percentage such as 25%")


def port(value: Any, path: Path) -> Iterator[Wrong]:
    """Check a port's number or name."""
    if isinstance(value, str):
        if not re.fullmatch(r"[a-z0-9-]{1,63}", value):
            yield from _wrong(path, value, "a port's number or name")
    else:
        yield from whole(0, 65535)(value, path)


def scalar(value: Any, path: Path) -> Iterator[Wrong]:
    """Check a quantity: a number or text."""
    if (
        isinstance(value, dict | list | bool)
        or (isinstance(value, float) and not math.isfinite(value))
        or (number := quantity(value)) is None
        or number < 0
    ):
        yield from _wrong(path, value, "a quantity such as 500m, 0.5 or 64Mi")


SUFFIXES = {
    **{"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9},
    **{"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18},
    **{f"{letter}i": 1024.0 ** (power + 1) for power, letter in enumerate("KMGTPE")},
}


def quantity(value: Any) -> float | None:
    """Return the number of a quantity such as "500m"; None for what is none."""
    found = re.fullmatch(
        r"([+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?)([numkKMGTPE]?i?)",
        str(value),
    )
    if found is None or found[2] not in SUFFIXES:
        return None
    return float(found[1]) * SUFFIXES[found[2]]


def sequence(item: Check) -> Check:
    """Return a check for a list of items."""

    def check(value: Any, path: Path) -> Iterator[Wrong]:
        if not isinstance(value, list):
            yield from _wrong(path, value, "a list")
            return
        for number, each in enumerate(value):
            yield from item(each, (*path, number))

    return check


def some(item: Check) -> Check:
    """Return a check for a list with at least one item."""

    def check(value: Any, path: Path) -> Iterator[Wrong]:
        if value == []:
            yield path, f"{shown(path)} is empty; allowed is a list with at least one item"
        yield from sequence(item)(value, path)

    return check


def mapping(
    fields: dict[str, Check] | None = None, *, required: tuple[str, ...] = (), rest: Check | None = None
) -> Check:
    """Return a check for a mapping: its known fields, those that must be there, all the others."""
    known = fields or {}

    def check(value: Any, path: Path) -> Iterator[Wrong]:
        if not isinstance(value, dict):
            yield from _wrong(path, value, "a mapping")
            return
        for name in required:
            if name not in value:
                yield (*path, name), f"{shown((*path, name))} is missing"
        for name, each in value.items():
            if name in known:
                yield from known[name](each, (*path, name))
            elif rest is not None:
                yield from rest(each, (*path, name))

    return check


def rendered(allowed: str) -> Check:
    """Return a check for a name, which is no template's action."""

    def check(value: Any, path: Path) -> Iterator[Wrong]:
        if isinstance(value, str) and "{{" in value:
            yield from _wrong(path, value, allowed)
        else:
            yield from text(value, path)

    return check


texts = sequence(text)
labels = mapping(rest=rendered("a label's value"))
NAME = rendered("a name")
METADATA = mapping({"name": NAME, "namespace": NAME, "labels": labels, "annotations": mapping(rest=text)})


def expression(value: Any, path: Path) -> Iterator[Wrong]:
    """Check one of a selector's matchExpressions."""
    yield from mapping({"key": text, "operator": text, "values": texts}, required=("key", "operator"))(
        value, path
    )
    operator = value.get("operator") if isinstance(value, dict) else None
    if isinstance(operator, str) and operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        yield from _wrong((*path, "operator"), operator, "one of In, NotIn, Exists, DoesNotExist")


SELECTOR = mapping({"matchLabels": labels, "matchExpressions": sequence(expression)})

HANDLERS: dict[str, Check] = {
    "exec": mapping({"command": texts}),
    "httpGet": mapping(
        {
            "path": text,
            "port": port,
            "host": text,
            "scheme": text,
            "httpHeaders": sequence(mapping({"name": text, "value": text})),
        }
    ),
    "tcpSocket": mapping({"port": port}),
    "grpc": mapping({"port": whole(0, 65535)}),
}
PROBE = mapping(
    {
        **HANDLERS,
        "initialDelaySeconds": whole(),
        "periodSeconds": whole(),
        "timeoutSeconds": whole(),
        "failureThreshold": whole(),
        "successThreshold": whole(),
    }
)
HOOK = mapping({**HANDLERS, "sleep": mapping({"seconds": whole()})})
REFERENCE = mapping({"name": text, "key": text})
RESOURCES = mapping({"limits": mapping({"cpu": scalar, "memory": scalar}), "requests": mapping(rest=scalar)})
CONTAINER = mapping(
    {
        "name": NAME,
        "image": rendered("an image"),
        "command": texts,
        "args": texts,
        "restartPolicy": text,
        "ports": sequence(
            mapping(
                {
                    "name": text,
                    "containerPort": whole(1, 65535),
                    "hostPort": whole(0, 65535),
                    "protocol": text,
                },
                required=("containerPort",),
            )
        ),
        "env": sequence(
            mapping(
                {"name": text, "value": text, "valueFrom": mapping({"configMapKeyRef": REFERENCE})},
                required=("name",),
            )
        ),
        "envFrom": sequence(mapping({"prefix": text, "configMapRef": REFERENCE})),
        "readinessProbe": PROBE,
        "livenessProbe": PROBE,
        "startupProbe": PROBE,
        "lifecycle": mapping({"preStop": HOOK, "postStart": HOOK, "stopSignal": text}),
        "resources": RESOURCES,
        "workingDir": text,
        "volumeMounts": sequence(mapping({"name": text, "mountPath": text, "subPath": text})),
    },
    required=("name",),
)
CONFIG_MAP = mapping(
    {
        "name": text,
        "items": sequence(mapping({"key": text, "path": text, "mode": whole()})),
        "defaultMode": whole(),
    }
)
VOLUME = mapping(
    {
        "name": text,
        "persistentVolumeClaim": mapping({"claimName": text}),
        "configMap": CONFIG_MAP,
        "projected": mapping(
            {"sources": sequence(mapping({"configMap": CONFIG_MAP})), "defaultMode": whole()}
        ),
    }
)
TERMS = mapping(
    {
        "requiredDuringSchedulingIgnoredDuringExecution": sequence(
            mapping({"topologyKey": text, "labelSelector": SELECTOR, "matchLabelKeys": texts})
        )
    }
)
POD_SPEC = mapping(
    {
        "containers": some(CONTAINER),
        "initContainers": sequence(CONTAINER),
        "terminationGracePeriodSeconds": whole(maximum=MAX_INT64),
        "hostNetwork": boolean,
        "hostPID": boolean,
        "restartPolicy": text,
        "enableServiceLinks": boolean,
        "shareProcessNamespace": boolean,
        "affinity": mapping({"podAntiAffinity": TERMS}),
        "topologySpreadConstraints": sequence(mapping()),
        "readinessGates": sequence(mapping()),
        "volumes": sequence(VOLUME),
        "os": mapping({"name": text}),
    },
    required=("containers",),
)
TEMPLATE = mapping({"metadata": METADATA, "spec": POD_SPEC}, required=("spec",))
PACE = mapping({"maxSurge": amount, "maxUnavailable": amount, "partition": whole()})
STRATEGY = mapping(
    {"type": text, "rollingUpdate": PACE, "rollingParams": PACE, "canary": PACE, "blueGreen": mapping()}
)
COMMON: dict[str, Check] = {
    "replicas": whole(),
    "minReadySeconds": whole(),
    "progressDeadlineSeconds": whole(),
    "paused": boolean,
    "template": TEMPLATE,
    "strategy": STRATEGY,
    "updateStrategy": STRATEGY,
    "volumeClaimTemplates": sequence(mapping({"metadata": METADATA})),
}
BACKEND = mapping(
    {
        "service": mapping({"name": text, "port": mapping({"number": whole(0, 65535), "name": text})}),
        "serviceName": text,
        "servicePort": port,
    }
)
TARGET = mapping({"kind": text, "name": text}, required=("name",))


def _object(spec: Check, *, required: tuple[str, ...] = ()) -> Check:
    return mapping({"metadata": METADATA, "spec": spec}, required=required)


def _workload(**more: Check) -> Check:
    spec = mapping({**COMMON, **more}, required=("template",))
    return _object(spec, required=("metadata", "spec"))


def _rollout(value: Any, path: Path) -> Iterator[Wrong]:
    """Check the spec of an Argo Rollout, whose pod template may be that of another workload."""
    reference = mapping({"kind": text, "name": text}, required=("name",))
    fields = {**COMMON, "selector": SELECTOR, "workloadRef": reference}
    referring = isinstance(value, dict) and "workloadRef" in value
    yield from mapping(fields, required=() if referring else ("template",))(value, path)


SHAPES: dict[str, Check] = {
    "Deployment": _workload(selector=SELECTOR),
    "StatefulSet": _workload(selector=SELECTOR),
    "DaemonSet": _workload(selector=SELECTOR),
    "Rollout": _object(_rollout, required=("metadata", "spec")),
    "DeploymentConfig": _workload(),
    "Service": _object(
        mapping(
            {
                "selector": labels,
                "type": text,
                "clusterIP": text,
                "externalTrafficPolicy": text,
                "internalTrafficPolicy": text,
                "publishNotReadyAddresses": boolean,
                "ports": sequence(
                    mapping(
                        {
                            "name": text,
                            "port": whole(1, 65535),
                            "targetPort": port,
                            "nodePort": whole(0, 65535),
                            "protocol": text,
                        }
                    )
                ),
            }
        )
    ),
    "PodDisruptionBudget": _object(
        mapping({"selector": SELECTOR, "maxUnavailable": amount, "minAvailable": amount})
    ),
    "HorizontalPodAutoscaler": _object(
        mapping(
            {"scaleTargetRef": TARGET, "minReplicas": whole(), "maxReplicas": whole()},
            required=("scaleTargetRef",),
        ),
        required=("spec",),
    ),
    "ScaledObject": _object(
        mapping({"scaleTargetRef": TARGET, "minReplicaCount": whole(), "idleReplicaCount": whole()})
    ),
    "HTTPScaledObject": _object(
        mapping(
            {
                "scaleTargetRef": mapping({"kind": text, "name": text}),
                "replicas": mapping({"min": whole(), "max": whole()}),
            }
        )
    ),
    "VerticalPodAutoscaler": _object(
        mapping({"targetRef": TARGET, "updatePolicy": mapping({"updateMode": text})})
    ),
    "Ingress": _object(
        mapping(
            {
                "ingressClassName": text,
                "defaultBackend": BACKEND,
                "backend": BACKEND,
                "rules": sequence(
                    mapping(
                        {"host": text, "http": mapping({"paths": sequence(mapping({"backend": BACKEND}))})}
                    )
                ),
            }
        )
    ),
    **dict.fromkeys(
        ("HTTPRoute", "GRPCRoute"),
        _object(
            mapping(
                {
                    "parentRefs": sequence(mapping({"name": text, "kind": text, "group": text})),
                    "rules": sequence(
                        mapping(
                            {
                                "backendRefs": sequence(
                                    mapping({"name": text, "kind": text, "port": whole(0, 65535)})
                                )
                            }
                        )
                    ),
                }
            )
        ),
    ),
    "IngressClass": _object(mapping({"controller": text})),
    "Gateway": _object(mapping({"gatewayClassName": text})),
    "GatewayClass": _object(mapping({"controllerName": text})),
    "ConfigMap": mapping({"metadata": METADATA, "data": mapping(rest=text)}),
    "Namespace": mapping({"metadata": METADATA}),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "Deployment": ("apps", "extensions"),
    "StatefulSet": ("apps",),
    "DaemonSet": ("apps", "extensions"),
    "Rollout": ("argoproj.io",),
    "DeploymentConfig": ("apps.openshift.io",),
    "PodDisruptionBudget": ("policy",),
    "HorizontalPodAutoscaler": ("autoscaling",),
    "ScaledObject": ("keda.sh",),
    "HTTPScaledObject": ("http.keda.sh",),
    "VerticalPodAutoscaler": ("autoscaling.k8s.io",),
    "Ingress": ("networking.k8s.io", "extensions"),
    "HTTPRoute": ("gateway.networking.k8s.io",),
    "GRPCRoute": ("gateway.networking.k8s.io",),
    "IngressClass": ("networking.k8s.io",),
    "Gateway": ("gateway.networking.k8s.io",),
    "GatewayClass": ("gateway.networking.k8s.io",),
}
"""API groups of the kinds in SHAPES; those that are not here are in the core group."""


def is_foreign(kind: str, group: str) -> bool:
    """Return whether an object only shares its kind's name with one in SHAPES, as Knative's Service does."""
    if kind not in SHAPES:
        return False
    return bool(group) if kind not in GROUPS else bool(group) and group not in GROUPS[kind]


def problems(kind: str, group: str, data: Any) -> list[Wrong]:
    """Return what is wrong with the types of an object's fields: path and sentence."""
    check = (
        mapping({"metadata": METADATA})
        if is_foreign(kind, group)
        else SHAPES.get(kind, mapping({"metadata": METADATA}))
    )
    return [*mapping({"apiVersion": text})(data, ()), *check(data, ())]
