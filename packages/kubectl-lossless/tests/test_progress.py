"""Progress of a rollout, by the rules of `kubectl rollout status`."""

from typing import Any

import pytest

from kubectl_lossless.measure.progress import problem, rolled_out
from kubectl_lossless.measure.workload import ROLLOUT


def deployment(generation: int = 2, observed: int = 2, replicas: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, **status},
    }


COMPLETE = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (deployment(**COMPLETE), True),
        (deployment(observed=1, **COMPLETE), False),
        (deployment(**{**COMPLETE, "updatedReplicas": 2}), False),
        (deployment(**{**COMPLETE, "replicas": 4}), False),
        (deployment(**{**COMPLETE, "availableReplicas": 2}), False),
        (deployment(replicas=0), True),
        (deployment(), False),
    ],
)
def test_workload_is_complete_by_the_rules_of_rollout_status(found: dict[str, Any], complete: bool) -> None:
    assert rolled_out(found, "deployment") is complete
    assert rolled_out(found, "deployment", generation=3) is False  # not yet that of the applied change


def test_conditions_of_the_deployment_are_reported() -> None:
    quota = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota: q",
    }
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "timed out",
    }
    exceeded = deployment(conditions=[quota])
    assert problem(exceeded, "deployment") == "FailedCreate: exceeded quota: q"
    assert problem(exceeded, "deployment", generation=3) is None  # said of the template before
    assert problem(deployment(conditions=[late]), "deployment") == "ProgressDeadlineExceeded: timed out"
    assert problem(deployment(conditions=[], **COMPLETE), "deployment") is None


def rollout(phase: str, stable: str = "a", observed: str = "2", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": 3},
        "status": {
            "observedGeneration": observed,
            "phase": phase,
            "stableRS": stable,
            "currentPodHash": "b",
            **status,
        },
    }


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        (rollout("Healthy", "b"), True),
        (rollout("Healthy", "b", observed="1"), False),
        (rollout("Healthy"), False),
        (rollout("Paused"), False),
        (rollout("Progressing"), False),
    ],
)
def test_argo_rollout_is_complete_when_its_new_pods_are_stable(found: dict[str, Any], complete: bool) -> None:
    assert rolled_out(found, ROLLOUT) is complete


def test_degraded_argo_rollout_is_a_problem() -> None:
    degraded = rollout("Degraded", message="ProgressDeadlineExceeded")
    assert problem(degraded, ROLLOUT) == "Degraded: ProgressDeadlineExceeded"


@pytest.mark.parametrize(
    ("status", "complete"),
    [
        ({"readyReplicas": 3, "currentRevision": "b", "updateRevision": "b"}, True),
        ({"readyReplicas": 2, "currentRevision": "b", "updateRevision": "b"}, False),
        ({"readyReplicas": 3, "currentRevision": "a", "updateRevision": "b"}, False),
    ],
)
def test_statefulset_is_complete_by_its_revisions(status: dict[str, Any], complete: bool) -> None:
    assert rolled_out(deployment(**status), "statefulset") is complete
