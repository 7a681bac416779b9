"""Pods as EndpointSlices show them, for users who may not list pods.

A slice names each pod behind a Service with its node and whether it is ready or terminating. Pods that have
no address yet, the ends of containers, restarts and exit codes are not in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kubectl_lossless.kubectl import Object

POD_NAMES = {
    "deployment": r"-(?P<revision>[a-z0-9]+)-[a-z0-9]{5}",
    "rollouts.argoproj.io": r"-(?P<revision>[a-z0-9]+)-[a-z0-9]{5}",
    "statefulset": r"-(?P<revision>)[0-9]+",
}
"""Patterns of the part of a pod's name behind its workload's. A StatefulSet's has no hash of the template."""


@dataclass(frozen=True)
class Endpoint:
    """A pod in EndpointSlices."""

    uid: str
    name: str
    revision: str
    node: str
    ready: bool
    terminating: bool


def endpoints_of(slices: Iterable[Object], kind: str, workload: str) -> dict[str, Endpoint]:
    """Return the pods of a workload by UID.

    A pod of several slices (two Services, two address families) is ready where one of them has it ready.
    """
    pattern = re.compile(re.escape(workload) + POD_NAMES[kind])
    found: dict[str, Endpoint] = {}
    for each in slices:
        for endpoint in each.get("endpoints") or []:
            pod = endpoint.get("targetRef") or {}
            name = str(pod.get("name", ""))
            if pod.get("kind", "Pod") != "Pod" or not (match := pattern.fullmatch(name)):
                continue
            conditions = endpoint.get("conditions") or {}
            uid = str(pod.get("uid", ""))
            other = found.get(uid)
            found[uid] = Endpoint(
                uid,
                name,
                match["revision"],
                str(endpoint.get("nodeName", "")),
                bool(conditions.get("ready")) or (other is not None and other.ready),
                bool(conditions.get("terminating")) or (other is not None and other.terminating),
            )
    return found
