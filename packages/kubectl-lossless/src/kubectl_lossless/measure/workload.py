"""The workload that is measured, and its manifest's settings for the replacement of its pods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_lossless.kubectl import Kubectl, Object
from kubectl_lossless.rolling_update import amount

ROLLOUT = "rollouts.argoproj.io"
"""Argo Rollouts' kind, with its group: kubectl's `rollout` is a command."""

DEFAULT_GRACE = 30.0
"""Grace period of a pod whose template sets none, in seconds."""


class RolloutError(Exception):
    """The rollout is not, or does not become, complete; the message has the remedy."""


KINDS = {
    **dict.fromkeys(
        ("deploy", "deployment", "deployments", "deployment.apps", "deployments.apps"), "deployment"
    ),
    **dict.fromkeys(
        ("sts", "statefulset", "statefulsets", "statefulset.apps", "statefulsets.apps"), "statefulset"
    ),
    **dict.fromkeys(("ro", "rollout", "rollouts", "rollout.argoproj.io", ROLLOUT), ROLLOUT),
}
"""The kinds that can be measured, by all names that kubectl has for them."""

SHORT = {"deployment": "deploy", "statefulset": "statefulset", ROLLOUT: "rollout"}
"""The kinds as messages name them."""

NOT_MEASURED = {
    **dict.fromkeys(
        ("ksvc", "kservice", "kservices", "services.serving.knative.dev", "configuration", "revision"),
        "Knative moves requests between revisions by itself, through proxies that are not known here",
    ),
    **dict.fromkeys(
        ("ds", "daemonset", "daemonsets", "daemonset.apps", "daemonsets.apps"),
        "a DaemonSet's pods are replaced node by node, and the load does not know which node it reaches; "
        "the doctor checks it",
    ),
    **dict.fromkeys(
        ("dc", "deploymentconfig", "deploymentconfigs", "deploymentconfigs.apps.openshift.io"),
        "`kubectl rollout` knows no DeploymentConfig; the doctor checks it",
    ),
    **dict.fromkeys(
        (
            "svc",
            "service",
            "services",
            "po",
            "pod",
            "pods",
            "job",
            "jobs",
            "cronjob",
            "cronjobs",
            "rs",
            "replicaset",
        ),
        "no rollout replaces its pods: name the workload behind it",
    ),
}
"""Kinds that cannot be measured, by their names, and why."""


@dataclass(frozen=True)
class Reference:
    """A workload's kind, as kubectl's commands take it, and its name."""

    kind: str
    name: str

    @classmethod
    def of(cls, text: str) -> Reference:
        """Read KIND/NAME or NAME of a Deployment. Raises ValueError for anything else."""
        kind, slash, name = text.partition("/")
        if not slash:
            kind, name = "deployment", text
        if kind.lower() not in KINDS:
            reason = NOT_MEASURED.get(kind.lower())
            raise ValueError(
                f"{text!r} names no workload that can be measured{f' ({reason})' if reason else ''}; "
                "allowed are deployment/NAME, statefulset/NAME and rollout/NAME"
            )
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
            raise ValueError(f"{name!r} is not a name of an object")
        return cls(KINDS[kind.lower()], name)

    def __str__(self) -> str:
        return f"{SHORT[self.kind]}/{self.name}"

    def get(self, kubectl: Kubectl, namespace: str) -> Object:
        """Return the object.

        Raises KubectlError.
        """
        return kubectl.objects("get", self.kind, self.name, "-n", namespace)[0]


@dataclass(frozen=True)
class Facts:
    """Facts of a workload's manifest, as far as the verdict needs them. Times in seconds.

    `pre_stop` is None where a hook runs a command whose duration is not known.
    """

    kind: str
    replicas: int
    strategy: str
    unavailable: int
    """Pods that a rollout may take away before there are new ones."""
    pre_stop: float | None
    grace: float
    readiness: bool
    """True where the containers with ports have a readiness probe."""
    container: str
    image: str

    @classmethod
    def of(cls, workload: Object) -> Facts:
        """Read them."""
        spec = workload["spec"]
        pod = spec["template"]["spec"]
        containers: list[Object] = pod["containers"]
        serving = [each for each in containers if each.get("ports")] or containers[:1]
        replicas = int(spec.get("replicas", 1))
        kind = str(workload["kind"]).lower()
        if kind == "statefulset":
            strategy, unavailable = str(spec.get("updateStrategy", {}).get("type", "RollingUpdate")), 1
        elif kind == "rollout":
            canary = (spec.get("strategy") or {}).get("canary")
            strategy = "blueGreen" if canary is None else "canary"
            unavailable = (
                0 if canary is None else amount(canary.get("maxUnavailable", "25%"), replicas, up=False)
            )
        else:
            strategy = str(spec.get("strategy", {}).get("type", "RollingUpdate"))
            rolling = spec.get("strategy", {}).get("rollingUpdate") or {}
            unavailable = (
                replicas
                if strategy == "Recreate"
                else amount(rolling.get("maxUnavailable", "25%"), replicas, up=False)
            )
        hooks = [pre_stop_of(each) for each in serving]
        return cls(
            kind=kind,
            replicas=replicas,
            strategy=strategy,
            unavailable=unavailable,
            pre_stop=None
            if None in hooks
            else max((hook for hook in hooks if hook is not None), default=0.0),
            grace=grace_of(workload),
            readiness=any(each.get("readinessProbe") for each in serving),
            container=str(serving[0]["name"]),
            image=str(serving[0].get("image", "")),
        )


def pre_stop_of(container: Mapping[str, Any]) -> float | None:
    """Return the duration of a container's preStop hook in seconds.

    It is 0 without one, and None where it cannot be known.
    """
    hook = ((container.get("lifecycle") or {}).get("preStop")) or {}
    if not hook:
        return 0.0
    if sleep := hook.get("sleep"):
        return float(sleep.get("seconds", 0))
    command = " ".join(str(word) for word in (hook.get("exec") or {}).get("command") or [])
    found = re.search(r"\bsleep\s+(\d+(?:\.\d+)?)(s|m)?\b", command)
    if found:
        return float(found[1]) * (60 if found[2] == "m" else 1)
    return None


def template(workload: Object) -> Object:
    """Return the workload's pod template."""
    found: Object = workload["spec"]["template"]
    return found


def grace_of(workload: Object) -> float:
    """Return the grace period of the workload's pods, in seconds."""
    return float(template(workload)["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE))


def refuse_unrollable(reference: Reference, workload: Object) -> None:
    """Raise RolloutError for a workload that no rollout would replace pods of, with the reason."""
    spec = workload["spec"]
    if int(spec.get("replicas", 1)) == 0:
        raise RolloutError(f"{reference} has 0 replicas, so a rollout of it replaces no pod.")
    if "template" not in spec:
        raise RolloutError(
            f"{reference} takes its pod template from another object (workloadRef), which is not "
            "measured; a Rollout with spec.template can"
        )
    if spec.get("paused"):
        resume = "" if reference.kind == ROLLOUT else f": `kubectl rollout resume {reference}` first"
        raise RolloutError(f"{reference} is paused{resume}.")
    if reference.kind == "statefulset" and spec.get("updateStrategy", {}).get("type") == "OnDelete":
        raise RolloutError(f"{reference} has updateStrategy OnDelete, so a rollout of it replaces no pod.")
