"""A rollout in progress: until it is complete, or until it is clear that it will not be."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.watch import Watch
from kubectl_lossless.measure.workload import RolloutError

STUCK_FOR = 10.0
"""Time after which a stuck pod counts, in seconds: a first failed pull or crash can be temporary."""


UNWATCHED_FOR = 20.0
"""Time without a response of the API server after which the rollout cannot be watched, in seconds."""


def wait_for_rollout(
    watch: Watch,
    generation: int,
    timeout: float,
    tick: Callable[[], None] = lambda: None,
    stuck_for: float = STUCK_FOR,
) -> float:
    """Wait until the Deployment's generation is complete and the pods of all older ones are gone.

    Returns when it was complete (the last old pod goes later), seconds since the epoch. `tick` is called
    some times a second. Raises RolloutError with the reason, as soon as it is clear that it will not be.
    """
    until = time.monotonic() + timeout
    complete: float | None = None
    stuck_since: dict[str, float] = {}
    while True:
        if complete is None and watch.wait(lambda: watch.rolled_out(generation), 0.25):
            complete = time.time()
        if complete is not None and watch.wait(lambda: only_one_revision(watch), 0.25):
            return complete
        tick()
        now = time.monotonic()
        problem = watch.problem(generation)
        if problem is None:
            stuck = {pod.name: pod.stuck for pod in watch.present() if pod.stuck}
            stuck_since = {name: stuck_since.get(name, now) for name in stuck}
            problem = next(
                (f"pod {name}: {stuck[name]}" for name, at in stuck_since.items() if now - at > stuck_for),
                None,
            )
        if problem:
            raise RolloutError(f"The rollout makes no progress. kubectl reports {problem}\n{advice(problem)}")
        if watch.trouble and now - watch.trouble[0] > UNWATCHED_FOR:
            raise RolloutError(f"The rollout can no longer be followed. {watch.trouble[1]}")
        if now > until:
            states = ", ".join(f"{pod.name} {pod.state}" for pod in watch.present())
            raise RolloutError(
                f"The rollout was not complete after {timeout:.0f} s (--timeout); pods: {states or 'none'}.\n"
                f"{advice('')}"
            )


def only_one_revision(watch: Watch) -> bool:
    """Return whether all remaining pods are of one template and none of them terminates."""
    present = watch.present()
    return len({pod.revision for pod in present}) <= 1 and all(
        pod.state is not State.DRAINING for pod in present
    )


def advice(problem: str) -> str:
    """Return advice for a rollout that does not continue."""
    for part, text in {
        "Image": "Does the image exist in a registry that the nodes reach, and may they pull it?",
        "exceeded quota": "Raise the ResourceQuota of the namespace, or use another one.",
        "violates PodSecurity": "The namespace enforces Pod Security that the pod does not meet.",
        "Unschedulable": "No node has room for the pod: free some, or lower its requests.",
        "CrashLoopBackOff": "`kubectl logs --previous` of the pod shows why it ends.",
        "Config": "The pod refers to something that is not there; `kubectl describe pod` names it.",
    }.items():
        if part in problem:
            return text
    return "`kubectl describe pod` shows its events; a pod that never gets ready fails its readiness probe."
