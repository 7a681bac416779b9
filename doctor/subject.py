"""The Deployment and the objects around it, as the checks ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from doctor import server
from doctor.server import Server

Object = dict[str, Any]

POD = "spec.template.spec"

PROXIES = re.compile(
    r"(^|[-_/])(envoy|istio-proxy|proxyv2|linkerd-proxy|nginx|haproxy|traefik|caddy|oauth2-proxy"
    r"|cloud-sql-proxy|cloudsql-proxy|cloudsql-docker|pgbouncer|apache|httpd|varnish)($|[-_:.@/])"
)
"""Images and container names of programs that requests, or what they need, go through."""


@dataclass(frozen=True)
class Told:
    """What the person says who runs the doctor. None: nothing."""

    drain: float | None = None
    graceful: float | None = None
    keepalive: float | None = None


@dataclass(frozen=True)
class Image:
    """What docker knows of an image."""

    command: Sequence[str] = ()
    """Its entry point."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """A container of the pod template."""

    spec: Object
    path: str
    """Of it in the Deployment."""
    sidecar: bool
    """Whether it is a native one: it stops after the others."""
    environment: Mapping[str, str]
    command: Sequence[str] | None
    """What it starts, None where only the image knows."""
    first_process: Sequence[str] | None
    """What its PID 1 was seen to be."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.spec["name"])

    @property
    def proxy(self) -> bool:
        """Whether requests, or what they need, go through it to somewhere else."""
        image = Path(str(self.spec.get("image", ""))).name
        return bool(PROXIES.search(self.name) or PROXIES.search(image.split(":")[0].split("@")[0]))

    @property
    def pre_stop(self) -> Object | None:
        """Its preStop hook."""
        hook = self.spec.get("lifecycle", {}).get("preStop")
        return hook if isinstance(hook, dict) else None

    @property
    def pre_stop_seconds(self) -> float | None:
        """How long its preStop hook takes; 0 without one, None where that cannot be known."""
        hook = self.pre_stop
        if hook is None:
            return 0.0
        if "sleep" in hook:
            return float(hook["sleep"]["seconds"])
        words = " ".join(hook.get("exec", {}).get("command", ()))
        slept = re.search(r"\bsleep +([0-9.]+)", words)
        return float(slept[1]) if slept else None

    def ports(self) -> list[Object]:
        """The ports it declares."""
        return list(self.spec.get("ports") or ())

    def probe(self, kind: str) -> Object | None:
        """Its probe: "readiness", "liveness" or "startup"."""
        found = self.spec.get(f"{kind}Probe")
        return found if isinstance(found, dict) else None


@dataclass(frozen=True)
class Subject:
    """A Deployment under examination."""

    deployment: Object
    others: Sequence[Object] = ()
    """What else was found, its neighbours of the same kind included."""
    told: Told = Told()
    images: Mapping[str, Image] = field(default_factory=dict)
    processes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """PID 1's command line by the container's name, where it was seen."""
    unseen: Sequence[str] = ()
    """Kinds of objects that the cluster does not show us."""

    @property
    def name(self) -> str:
        """Kind and name."""
        return f"Deployment {self.deployment['metadata']['name']}"

    @property
    def namespace(self) -> str:
        """The namespace."""
        return str(self.deployment["metadata"].get("namespace", "default"))

    @property
    def spec(self) -> Object:
        """The Deployment's."""
        found: Object = self.deployment["spec"]
        return found

    @property
    def pod(self) -> Object:
        """The spec of its pods."""
        found: Object = self.spec["template"]["spec"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return self.spec["template"].get("metadata", {}).get("labels") or {}

    @property
    def grace(self) -> float:
        """Seconds that a pod has to stop."""
        return float(self.pod.get("terminationGracePeriodSeconds", 30))

    # ---- containers ------------------------------------------------------------------------------

    @cached_property
    def containers(self) -> list[Container]:
        """The containers that run beside each other, native sidecars last."""
        plain = list(self._containers("containers"))
        return plain + [each for each in self._containers("initContainers") if each.sidecar]

    def _containers(self, key: str) -> Iterator[Container]:
        for number, spec in enumerate(self.pod.get(key) or ()):
            image = self.images.get(spec.get("image", ""), Image())
            if spec.get("command"):
                command = [*spec["command"], *spec.get("args", ())]
            elif image.command:
                command = [*image.command, *(spec.get("args") or image.arguments)]
            else:
                command = list(spec.get("args") or image.arguments)
            yield Container(
                spec=spec,
                path=f"{POD}.{key}[{number}]",
                sidecar=key == "initContainers" and spec.get("restartPolicy") == "Always",
                environment={**image.environment, **self._environment(spec)},
                command=command or None,
                first_process=self.processes.get(spec["name"]),
            )

    def _environment(self, spec: Object) -> dict[str, str]:
        """What is known of a container's environment: what stands there, and ConfigMaps."""
        maps = {each["metadata"]["name"]: each.get("data") or {} for each in self.of_kind("ConfigMap")}
        found: dict[str, str] = {}
        for source in spec.get("envFrom") or ():
            data = maps.get(source.get("configMapRef", {}).get("name"), {})
            found |= {source.get("prefix", "") + name: str(value) for name, value in data.items()}
        for entry in spec.get("env") or ():
            reference = entry.get("valueFrom", {}).get("configMapKeyRef", {})
            value = entry.get("value", maps.get(reference.get("name"), {}).get(reference.get("key")))
            if value is not None:
                found[entry["name"]] = str(value)
        return found

    @cached_property
    def app(self) -> Container:
        """The container that answers in the end: a known server, else what is no proxy and has ports."""
        plain = [each for each in self.containers if not each.sidecar]
        servers = [each for each in plain if self._known(each).name]
        own = [each for each in plain if not each.proxy]
        asked = [each for each in own if each.probe("readiness") or each.ports()]
        return (servers or asked or own or plain)[0]

    def _known(self, container: Container) -> Server:
        return server.known(container.first_process or container.command or (), container.environment)

    @cached_property
    def server(self) -> Server:
        """What is known of the server in `app`."""
        return server.told(self._known(self.app), self.told.drain, self.told.graceful, self.told.keepalive)

    @cached_property
    def way_in(self) -> Container | None:
        """The container that the Services' ports lead to, None where there is no Service or it leads
        nowhere.
        """
        for service in self.services:
            for port in service["spec"].get("ports") or ():
                target = port.get("targetPort", port.get("port"))
                for each in self.containers:
                    if any(target in (own.get("name"), own["containerPort"]) for own in each.ports()):
                        return each
        return None

    # ---- what stands around it -------------------------------------------------------------------

    def of_kind(self, *kinds: str) -> list[Object]:
        """The objects of these kinds in its namespace, or in none."""
        return [
            each
            for each in self.others
            if each["kind"] in kinds and each["metadata"].get("namespace", self.namespace) == self.namespace
        ]

    @cached_property
    def services(self) -> list[Object]:
        """The Services that select its pods."""
        return [
            each
            for each in self.of_kind("Service")
            if (selector := each["spec"].get("selector")) and selector.items() <= self.labels.items()
        ]

    @cached_property
    def budgets(self) -> list[Object]:
        """The PodDisruptionBudgets that select its pods."""
        return [
            each
            for each in self.of_kind("PodDisruptionBudget")
            if selects(each["spec"].get("selector") or {}, self.labels)
        ]

    @cached_property
    def autoscaler(self) -> Object | None:
        """The HorizontalPodAutoscaler that scales it."""
        for each in self.of_kind("HorizontalPodAutoscaler"):
            target = each["spec"]["scaleTargetRef"]
            if (target["kind"], target["name"]) == ("Deployment", self.deployment["metadata"]["name"]):
                return each
        return None

    @property
    def replicas(self) -> int:
        """How many pods it has at least."""
        if self.autoscaler is not None:
            return int(self.autoscaler["spec"].get("minReplicas", 1))
        return int(self.spec.get("replicas", 1))


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels, as a PodDisruptionBudget's does."""
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    for each in selector.get("matchExpressions") or ():
        value, values = labels.get(each["key"]), each.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[each["operator"]]:
            return False
    return True
