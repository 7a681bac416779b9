"""Kubernetes' objects, as kubectl prints them, for the tests of what is read from them."""

from typing import Any


def pod(phase: str = "Running", ready: bool = False, **more: Any) -> dict[str, Any]:
    """Return a pod; `more`: fields of its status."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": "p", "uid": "1", "labels": {"pod-template-hash": "h"}},
        "spec": {"containers": [{"name": "flask", "image": "r:5000/flask:7"}]},
        "status": {"phase": phase, "conditions": conditions, **more},
    }
