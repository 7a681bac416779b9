"""Workloads of other people, as they are found: each with what makes its rollouts lose requests."""

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
"""An image that is on the nodes already, in place of the registry's."""

UVICORN = ("uvicorn", "--host", "0.0.0.0", "--port", "8000", "asgi:app")
"""It listens only when it has imported the application."""

Object = dict[str, Any]

STOPS = frozenset({"drain", "kept", "in-flight"})
"""The causes of a server that stops as soon as it gets SIGTERM."""


def container(workload: Object) -> Object:
    """Return the only container of a workload's pods."""
    found: Object = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def runs(*command: str) -> Callable[[Object], None]:
    """Let the container run another server."""

    def change(workload: Object) -> None:
        container(workload)["command"] = list(command)

    return change


def prestop(workload: Object) -> None:
    """Add the sleep that guides recommend."""
    container(workload)["lifecycle"] = {"preStop": {"sleep": {"seconds": 4}}}


def shell(workload: Object) -> None:
    """Start the server from a shell that stays process 1, with little time to stop."""
    container(workload)["command"] = [
        "sh",
        "-c",
        "gunicorn -b 0.0.0.0:8000 -k gthread --threads 8 app:app; echo ended",
    ]
    workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2


def no_probe(workload: Object) -> None:
    """Leave the readiness probe out of a server that starts slowly; its pods leave well."""
    prestop(workload)
    runs(*UVICORN)(workload)
    del container(workload)["readinessProbe"]
    container(workload)["env"] = [{"name": "START_TAKES", "value": "2"}]


def recreate(workload: Object) -> None:
    """Delete all pods before there are new ones."""
    workload["spec"]["strategy"] = {"type": "Recreate"}


def stateful(workload: Object) -> None:
    """Make a StatefulSet of it."""
    workload["kind"] = "StatefulSet"
    workload["spec"]["serviceName"] = "web"
    workload["spec"]["replicas"] = 2


def stateful_alone(workload: Object) -> None:
    """Make a StatefulSet of one pod."""
    stateful(workload)
    workload["spec"]["replicas"] = 1


@dataclass(frozen=True)
class Workload:
    """One of them. `causes`: those that its losses have; none where it loses nothing. `some`: whether it must
    lose something in every rollout. `slow`: whether it is measured with slow requests too.
    """

    name: str
    change: Callable[[Object], None]
    causes: frozenset[str]
    some: bool = True
    slow: bool = False

    def objects(self) -> list[Object]:
        """Return its objects."""
        found: list[Object] = list(yaml.safe_load_all((FOLDER / "workload.yaml").read_text()))
        workload = copy.deepcopy(found[0])
        if IMAGE:
            container(workload).update(image=IMAGE, imagePullPolicy="IfNotPresent")
        self.change(workload)
        return [workload, found[1]]

    @property
    def reference(self) -> str:
        """KIND/NAME of it."""
        return f"{str(self.objects()[0]['kind']).lower()}/web"


WORKLOADS = {
    each.name: each
    for each in (
        Workload("gunicorn", lambda _: None, STOPS),
        Workload("nginx", runs("nginx", "-c", "/srv/nginx.conf"), STOPS),
        Workload("uvicorn", runs(*UVICORN), STOPS),
        Workload("go", runs("server"), STOPS),
        Workload("prestop", prestop, frozenset({"kept"}), some=False),
        Workload("shell", shell, frozenset({"killed"}), slow=True),
        Workload("no-probe", no_probe, frozenset({"not-listening", "kept"})),
        Workload("recreate", recreate, frozenset({"outage"})),
        Workload("statefulset", stateful, STOPS),
        Workload("statefulset-alone", stateful_alone, frozenset({"outage"})),
    )
}
