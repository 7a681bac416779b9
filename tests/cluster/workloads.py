"""Foreign workloads as found in practice, each with the causes of its lost requests."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from tests.process.service import ROOT

FOLDER = ROOT / "packages/kubectl-lossless/tests/workloads"
IMAGE = os.environ.get("WORKLOADS_IMAGE", "")
"""Image that is on the nodes already, instead of the registry's image."""

UVICORN = ("uvicorn", "--host", "0.0.0.0", "--port", "8000", "asgi:app")
"""Command of uvicorn, which listens only after the import of the application."""

Object = dict[str, Any]

STOPS = frozenset({"drain", "kept", "in-flight"})
"""Causes of the losses of a server that stops at SIGTERM without delay."""


def container(workload: Object) -> Object:
    """Return the only container of a workload's pods."""
    found: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def runs(*command: str) -> Callable[[Object], None]:
    """Return a change that runs another server in the container."""

    def change(workload: Object) -> None:
        container(workload)["command"] = list(command)

    return change


def prestop(workload: Object) -> None:
    """Add the sleep that guides recommend."""
    container(workload)["lifecycle"] = {"preStop": {"sleep": {"seconds": 4}}}


def failing_hook(workload: Object) -> None:
    """Add a preStop hook that fails at once."""
    container(workload)["lifecycle"] = {"preStop": {"exec": {"command": ["false"]}}}


def shell(workload: Object) -> None:
    """Start the server from a shell that stays process 1, with a short grace period.

    It keeps idle connections for longer than the clients, which lose a request on one that it closes.
    """
    container(workload)["command"] = [
        "sh",
        "-c",
        "gunicorn -b 0.0.0.0:8000 -k gthread --threads 8 --keep-alive 75 app:app; echo ended",
    ]
    workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2


def no_probe(workload: Object) -> None:
    """Remove the readiness probe of a server that starts slowly; its pods terminate gracefully."""
    prestop(workload)
    runs(*UVICORN)(workload)
    del container(workload)["readinessProbe"]
    container(workload)["env"] = [{"name": "START_TAKES", "value": "2"}]


def recreate(workload: Object) -> None:
    """Delete all pods before the creation of new pods."""
    workload["spec"]["strategy"] = {"type": "Recreate"}


def stateful(workload: Object) -> None:
    """Change the workload into a StatefulSet of two pods."""
    workload["kind"] = "StatefulSet"
    workload["spec"]["serviceName"] = "web"
    workload["spec"]["replicas"] = 2


def stateful_alone(workload: Object) -> None:
    """Change the workload into a StatefulSet of one pod."""
    stateful(workload)
    workload["spec"]["replicas"] = 1


@dataclass(frozen=True)
class Workload:
    """Workload whose rollouts lose requests from known causes.

    `causes`: causes of its losses, empty if it loses nothing. `some`: every rollout must lose a request.
    `slow`: number of clients that send slow requests, too. `warned`: reason of an event of Kubernetes that is
    noted, "" for none.
    """

    name: str
    change: Callable[[Object], None]
    causes: frozenset[str]
    some: bool = True
    slow: int = 0
    warned: str = ""

    def objects(self) -> list[Object]:
        """Return the objects of the workload and its Service."""
        found: list[Object] = list(yaml.safe_load_all((FOLDER / "workload.yaml").read_text()))
        workload = copy.deepcopy(found[0])
        if IMAGE:
            container(workload).update(image=IMAGE, imagePullPolicy="IfNotPresent")
        self.change(workload)
        return [workload, found[1]]

    @property
    def reference(self) -> str:
        """KIND/NAME of the workload."""
        return f"{str(self.objects()[0]['kind']).lower()}/web"


WORKLOADS = {
    each.name: each
    for each in (
        Workload("gunicorn", lambda _: None, STOPS),
        Workload("nginx", runs("nginx", "-c", "/srv/nginx.conf"), STOPS),
        Workload("uvicorn", runs(*UVICORN), STOPS),
        Workload("go", runs("server"), STOPS),
        Workload("prestop", prestop, frozenset({"kept"}), some=False),
        Workload("failing-hook", failing_hook, STOPS, warned="FailedPreStopHook"),
        # Of fewer clients, no request may be in flight when the pods are killed.
        Workload("shell", shell, frozenset({"killed"}), slow=12),
        Workload("no-probe", no_probe, frozenset({"not-listening", "kept"})),
        Workload("recreate", recreate, frozenset({"outage"})),
        Workload("statefulset", stateful, STOPS),
        Workload("statefulset-alone", stateful_alone, frozenset({"outage"})),
    )
}
