"""The part of Argo Rollouts that a measurement observes: a Rollout's ReplicaSets and its status.

Argo's own image cannot be pulled everywhere. The Rollout, its ReplicaSets and its pods are real; only its
controller is part of the test.
"""

from __future__ import annotations

import copy
import hashlib
import json

from kubectl_lossless.kubectl import Kubectl, Object, to_list

LABEL = "rollouts-pod-template-hash"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "shortNames": ["ro"]},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            name: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                            for name in ("spec", "status")
                        },
                    }
                },
            }
        ],
    },
}


class Controller:
    """Controller of the Rollout `name`."""

    def __init__(self, kubectl: Kubectl, namespace: str, name: str) -> None:
        self._kubectl = kubectl
        self._where = ("-n", namespace)
        self._name = name
        self._stable = ""

    def reconcile(self, timeout: float = 120) -> None:
        """Create the current template's ReplicaSet, wait for its pods, and scale the previous one to zero."""
        rollout = self._kubectl.objects("get", "rollouts.argoproj.io", self._name, *self._where)[0]
        text = json.dumps(rollout["spec"]["template"], sort_keys=True)
        new = hashlib.sha256(text.encode()).hexdigest()[:9]
        generation = str(rollout["metadata"]["generation"])
        status = {"observedGeneration": generation, "currentPodHash": new, "stableRS": self._stable}
        self._set_status({**status, "phase": "Progressing"})
        self._kubectl("apply", "-f", "-", *self._where, stdin=to_list([self._replicaset(rollout, new)]))
        replicas = rollout["spec"]["replicas"]
        self._kubectl(
            *("wait", f"replicaset/{self._name}-{new}", *self._where, f"--timeout={timeout:.0f}s"),
            f"--for=jsonpath={{.status.readyReplicas}}={replicas}",
            timeout=timeout + 10,
        )
        if self._stable and self._stable != new:
            self._kubectl("scale", f"replicaset/{self._name}-{self._stable}", "--replicas=0", *self._where)
        self._stable = new
        self._set_status({**status, "stableRS": new, "phase": "Healthy"})

    def _set_status(self, status: Object) -> None:
        self._kubectl(
            *("patch", "rollouts.argoproj.io", self._name, *self._where, "--subresource=status"),
            *("--type=merge", "-p", json.dumps({"status": status})),
        )

    def _replicaset(self, rollout: Object, revision: str) -> Object:
        template = copy.deepcopy(rollout["spec"]["template"])
        template["metadata"]["labels"][LABEL] = revision
        owner = {
            "apiVersion": rollout["apiVersion"],
            "kind": "Rollout",
            "name": self._name,
            "uid": rollout["metadata"]["uid"],
            "controller": True,
        }
        labels = {**rollout["spec"]["selector"]["matchLabels"], LABEL: revision}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": f"{self._name}-{revision}", "labels": labels, "ownerReferences": [owner]},
            "spec": {
                "replicas": rollout["spec"]["replicas"],
                "selector": {"matchLabels": labels},
                "template": template,
            },
        }
