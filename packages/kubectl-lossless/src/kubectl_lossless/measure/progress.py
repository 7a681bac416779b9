"""Progress of a rollout, as the workload's own status tells it."""

from __future__ import annotations

from kubectl_lossless.kubectl import Object
from kubectl_lossless.measure.workload import ROLLOUT


def rolled_out(workload: Object, kind: str, generation: int = 0) -> bool:
    """Return whether a workload is complete by the rules of `kubectl rollout status`.

    Old pods may still be draining then. `generation`: at least this one, as the caller applied it.
    """
    if not _is_observed(workload, generation):
        return False
    status = workload.get("status", {})
    replicas = workload["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    if kind == ROLLOUT:
        return bool(
            status.get("phase") == "Healthy" and status.get("stableRS") == status.get("currentPodHash") != ""
        )
    if kind == "statefulset":
        partition = workload["spec"].get("updateStrategy", {}).get("rollingUpdate", {}).get("partition") or 0
        return bool(
            status.get("readyReplicas", 0) >= replicas
            and (
                updated >= replicas - partition
                if partition
                else status.get("updateRevision") == status.get("currentRevision")
            )
        )
    return bool(
        updated >= replicas
        and status.get("replicas", 0) <= updated
        and status.get("availableReplicas", 0) >= updated
    )


def problem(workload: Object, kind: str, generation: int = 0) -> str | None:
    """Return the problem in a workload's conditions, in kubectl's words; None where there is none."""
    if not _is_observed(workload, generation):
        return None  # the conditions are still those of the template before
    status = workload.get("status", {})
    if kind == ROLLOUT and status.get("phase") == "Degraded":
        return f"Degraded: {status.get('message', '')}"
    for condition in status.get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"{condition['reason']}: {condition['message']}"
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return f"ProgressDeadlineExceeded: {condition['message']}"
    return None


def _is_observed(workload: Object, generation: int) -> bool:
    """Return whether its controller has seen the workload as it is, and at least a generation of it."""
    observed = int(workload.get("status", {}).get("observedGeneration", 0))
    return observed >= max(generation, int(workload["metadata"]["generation"]))
