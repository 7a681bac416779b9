"""A workload and the objects around it, as the checks ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path as File

from kubectl_lossless.doctor.container import Container, takes_requests
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import Path
from kubectl_lossless.doctor.manifest import KINDS, Manifest
from kubectl_lossless.doctor.neighbours import selects
from kubectl_lossless.doctor.server.model import Overrides, Server, overridden

SCRAPED = re.compile(r"/kube-rbac-proxy\b")
"""Image of a proxy in front of an exporter, whose port has the name of one for clients."""

MONITORING_SERVICE = re.compile(r"(^|-)(metrics|monitoring|health)(-service|-svc)?$")
"""Names of Services of the same kind."""

MINIMUM: dict[str, tuple[Path, int]] = {
    "HorizontalPodAutoscaler": (("spec", "minReplicas"), 1),
    "ScaledObject": (("spec", "minReplicaCount"), 0),
    "HTTPScaledObject": (("spec", "replicas", "min"), 0),
}
"""Kinds of objects that scale a workload: path of the minimum number of its pods, and its default."""

MAXIMUM: dict[str, Path] = {
    "HorizontalPodAutoscaler": ("spec", "maxReplicas"),
    "ScaledObject": ("spec", "maxReplicaCount"),
    "HTTPScaledObject": ("spec", "replicas", "max"),
}
"""Path of their maximum number of pods."""

PAUSED = "autoscaling.keda.sh/paused-replicas"
"""Annotation of a ScaledObject with the number of pods, a text, at which KEDA holds its workload."""

ONE_AT_A_TIME = {
    "configurable-http-proxy": "the routes of JupyterHub's proxy are in the memory of one pod",
    "jupyterhub": "two hubs would start and stop the same servers",
}
"""Programs of which two cannot serve at the same time, and why."""


@dataclass(frozen=True)
class Workload(Manifest):
    """A workload under examination: its servers, and the objects around it."""

    overrides: Overrides = field(default_factory=Overrides)
    unseen: Sequence[str] = ()
    """Kinds of objects that the cluster does not show us."""
    from_cluster: bool = False
    focus: str = ""
    """Name of the container that is `app`, where a pod has several servers; "": the first of them."""

    @cached_property
    def app(self) -> Container:
        """The container that responds to requests, the first of `servers` unless `focus` names another."""
        named = [each for each in self.plain if each.name == self.focus]
        return named[0] if named else self._first

    @cached_property
    def _first(self) -> Container:
        """The container that responds to requests: where the Services lead, unless that is a proxy.

        Without one, a known server; else a container with a readiness probe or a port; never a known helper
        where there is another.
        """
        way_in = self.way_in
        if way_in is not None and not way_in.sidecar and not (way_in.proxy and self._behind(way_in)):
            return way_in
        return self._behind(way_in)[0] if self._behind(way_in) else (way_in or self.plain[0])

    def _behind(self, front: Container | None) -> list[Container]:
        """Return the containers that may serve behind `front`, the likeliest first."""
        own = [each for each in self.plain if each is not front and not each.helper and not each.proxy]
        if front is None:
            own = own or [each for each in self.plain if not each.helper]
        servers = [each for each in own if each.server.name]
        probed = [each for each in own if each.probe("readiness")]
        return servers + probed + [each for each in own if each.ports] + own

    @cached_property
    def servers(self) -> list[Container]:
        """The containers that respond to clients' requests, each to others.

        Those that a Service leads to. Where it leads to a proxy or to a port that no container is seen to
        have, and where there is no Service, the other known servers too. A proxy, a helper and a database are
        none beside another.
        """
        found = [self._first]
        known = self.way_in is None or self.way_in.proxy or any(self.unseen_ports)
        for each in self.plain:
            serves = each in self.ways_in or (known and each.serves_clients)
            if each not in found and serves and not (each.proxy or each.helper or each.database):
                found.append(each)
        return found

    @property
    def of_servers(self) -> list[Workload]:
        """The workload once for each of its servers, which is `app` in it."""
        if len(self.servers) == 1:
            return [self]
        return [replace(self, focus=each.name) for each in self.servers]

    @cached_property
    def server(self) -> Server:
        """Known facts of the server in `app`."""
        return overridden(self.app.server, self.overrides)

    @property
    def serving_on(self) -> float:
        """Seconds for which the server in `app` still serves after the pod's deletion, as far as known."""
        return (self.wait or 0.0) + (self.server.drain or 0.0)

    @property
    def wait(self) -> float | None:
        """Seconds for which preStop lets it serve; 0 without one, None where that is not known."""
        hook = self.app.pre_stop
        return 0.0 if hook is None else hook.wait

    @property
    def way_in(self) -> Container | None:
        """The first container that the Services' ports lead to, None where none is known to."""
        return self.ways_in[0] if self.ways_in else None

    @cached_property
    def ways_in(self) -> list[Container]:
        """The containers that the Services' ports for clients lead to; without those, any of their ports."""
        for_clients: list[Container] = []
        others: list[Container] = []
        for service in self.services:
            for port in service.spec.get("ports") or ():
                container = self.container_of(port)
                if container is None or port.get("protocol", "TCP") != "TCP":
                    continue
                monitored = not takes_requests(port) or MONITORING_SERVICE.search(service.metadata_name)
                own = container.declared(port)
                found = others if monitored or (own and not any(map(takes_requests, own))) else for_clients
                if container not in found:
                    found.append(container)
        return for_clients or others[:1]

    def container_of(self, port: Object) -> Container | None:
        """Return the container that a Service's port leads to: one that declares or else uses it."""
        own = [each for each in self.containers if not each.helper]
        declared = next((each for each in own if each.declared(port)), None)
        if declared is not None:
            return declared
        target = port.get("targetPort", port.get("port"))
        if self._of_a_helper(target):
            return None
        using = [each for each in own if each.uses(target)]
        return next((each for each in using if not each.proxy), using[0] if using else None)

    @property
    def unseen_ports(self) -> Iterator[tuple[Document, int]]:
        """The Services' ports that no container is seen to have, each with its index in the Service."""
        for service in self.services:
            for number, port in enumerate(service.spec.get("ports") or ()):
                target = port.get("targetPort", port.get("port"))
                numbered = isinstance(target, int)
                if numbered and self.container_of(port) is None and not self._of_a_helper(target):
                    yield service, number

    def _of_a_helper(self, port: object) -> bool:
        return any(each.has_port(port) for each in self.containers if each.helper)

    @cached_property
    def not_judged(self) -> list[Container]:
        """The containers that may serve at one of `unseen_ports`, and that are not known to."""
        if not any(self.unseen_ports):
            return []
        own = [each for each in self.plain if each not in self.servers and each not in self.ways_in]
        return [each for each in own if not (each.proxy or each.helper or each.database)]

    @cached_property
    def services_of_app(self) -> list[Document]:
        """The Services that lead to `app`; all of them where it is the only server."""
        if len(self.servers) == 1:
            return self.services
        return [
            each
            for each in self.services
            if any(
                found is not None and (found.name == self.app.name or found not in self.servers)
                for found in map(self.container_of, each.spec.get("ports") or ())
            )
        ]

    @cached_property
    def serves(self) -> bool:
        """True if anything shows that it serves requests: a port, a Service, a probe, a known server.

        A worker's or scheduler's command shows that it does not.
        """
        if all(each.helper for each in self.plain) and any(SCRAPED.search(each.image) for each in self.plain):
            return False  # an exporter, of which Prometheus asks again
        for_clients = [each for each in self.services if not MONITORING_SERVICE.search(each.metadata_name)]
        client_ports = [port for each in for_clients for port in each.spec.get("ports") or [{}]]
        if any(map(takes_requests, client_ports)):
            return True
        if any(each.start.takes_work_from_a_queue for each in self.plain):
            return False
        return (
            any(self._shows_clients(each) for each in self.plain)
            or any(
                takes_requests(port) and not self._is_monitored(port)
                for each in self.plain
                if not each.helper
                for port in each.ports
            )
            or any(each.has_known_server for each in self.plain)
        )

    def _is_monitored(self, port: Object) -> bool:
        """Return whether Services for monitoring lead to a container's port."""
        targets = {
            each.get("targetPort", each.get("port"))
            for service in self.services
            for each in service.spec.get("ports") or ()
        }
        return not targets.isdisjoint({port["containerPort"], port.get("name")})

    def _shows_clients(self, container: Container) -> bool:
        """Return whether its probes ask a port that is not known as one for monitoring."""
        asked = container.probed_ports("readiness", "liveness", "startup")
        monitored = [each for each in container.ports if not takes_requests(each) or self._is_monitored(each)]
        names = {each[key] for each in monitored for key in ("name", "containerPort") if key in each}
        line = " ".join(container.start.words)
        return any(
            port not in names and not re.search(rf"(health|probe|metrics)[\w.-]*[= ]\S*\b{port}\b", line)
            for port in asked
        )

    @cached_property
    def claims(self) -> list[str]:
        """The PersistentVolumeClaims that its pods share."""
        volumes = self.pod.get("volumes") or ()
        return [
            str(each["persistentVolumeClaim"].get("claimName", ""))
            for each in volumes
            if "persistentVolumeClaim" in each
        ]

    @property
    def _many_may_write(self) -> bool:
        """True where its PersistentVolumeClaims are known to be for several nodes."""
        modes = {
            each.metadata_name: each.spec.get("accessModes") for each in self.of_kind("PersistentVolumeClaim")
        }
        return all("ReadWriteMany" in str(modes.get(claim)) for claim in self.claims)

    @cached_property
    def single_writer(self) -> str:
        """Reason for which two of its pods cannot serve at the same time; "" where none is known."""
        if self.kind != "StatefulSet" and self.claims and self.replicas < 2 and not self._many_may_write:
            return f"its pods share the volume {self.claims[0]}"
        database = next((each for each in self.plain if each.database), None)
        if database is not None and (database is self.app or self.replicas < 2):
            return f"{database.name} keeps data and has one writer"
        programs = {File(words[0]).name for each in self.plain for words in each.start.commands if words}
        if one := programs & ONE_AT_A_TIME.keys():
            return ONE_AT_A_TIME[min(one)]
        if any(
            "beat" in words[1:] or words[0].endswith("beat")
            for each in self.plain
            for words in each.start.commands
            if words and "celery" in words[0]
        ):
            return "two schedulers would send every task twice"
        return ""

    # ---- objects around it -------------------------------------------------------------------

    @cached_property
    def services(self) -> list[Document]:
        """The Services that select its pods."""
        return [
            each
            for each in self.of_kind("Service", group="")
            if (selector := each.spec.get("selector")) and selector.items() <= self.labels.items()
        ]

    @cached_property
    def shares_services(self) -> bool:
        """True where each of its Services leads to pods of another workload too, as a canary's does."""
        others = [
            (each.spec.get("template") or {}).get("metadata") or {}
            for each in self.of_kind(*KINDS)
            if each is not self.document and each.spec.get("replicas", 1)
        ]
        found = [each.get("labels") or {} for each in others]
        return bool(self.services) and all(
            any(each.spec["selector"].items() <= labels.items() for labels in found) for each in self.services
        )

    @cached_property
    def budgets(self) -> list[Document]:
        """The PodDisruptionBudgets that select its pods."""
        return [
            each
            for each in self.of_kind("PodDisruptionBudget")
            if (selector := each.spec.get("selector")) is not None and selects(selector, self.labels)
        ]

    def scalers(self, kind: str, field_name: str) -> list[Document]:
        """Return the objects of a kind whose `field_name` refers to this workload."""
        return [
            each
            for each in self.of_kind(kind)
            if (target := each.spec.get(field_name))
            and (target.get("kind", "Deployment"), target.get("name")) == (self.kind, self.metadata_name)
        ]

    @property
    def attached(self) -> list[Document]:
        """The Services and budgets that select its pods, and what scales it."""
        return [*self.services, *self.budgets, *([self.autoscaler] if self.autoscaler else [])]

    @cached_property
    def autoscaler(self) -> Document | None:
        """The object that scales it."""
        found = [each for kind in MINIMUM for each in self.scalers(kind, "scaleTargetRef")]
        return found[0] if found else None

    @property
    def minimum_path(self) -> Path:
        """Path of the minimum number of its pods in the object that scales it, else of their number in it."""
        if self.autoscaler is None:
            return ("spec", "replicas")
        if self.paused_at is not None:
            return ("metadata", "annotations", PAUSED)
        return MINIMUM[self.autoscaler.kind][0]

    @cached_property
    def paused_at(self) -> int | None:
        """Number of pods at which KEDA holds it; None where nothing does."""
        if self.autoscaler is None or self.autoscaler.kind != "ScaledObject":
            return None
        found = str(self.autoscaler.annotations.get(PAUSED, ""))
        return int(found) if re.fullmatch(r"[0-9]{1,9}", found) else None

    @property
    def low_maximum_path(self) -> Path | None:
        """Path of the maximum number of its pods, where that is below 2 in the object that scales it."""
        if self.autoscaler is None or self.paused_at is not None:
            return None
        path = MAXIMUM[self.autoscaler.kind]
        most = self._pods_at(path)
        return path if most is not None and most < 2 else None

    @property
    def replicas(self) -> int:
        """Minimum number of its pods; with an autoscaler, the autoscaler's."""
        if self.paused_at is not None:
            return self.paused_at
        default = 1 if self.autoscaler is None else MINIMUM[self.autoscaler.kind][1]
        found = self._pods_at(self.minimum_path)
        return default if found is None else found

    def _pods_at(self, path: Path) -> int | None:
        """Return the number at a path of what scales it, else of itself; None where there is none."""
        found: object = (self.autoscaler or self).data
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return int(found) if isinstance(found, int | float) else None

    @property
    def scaled_to_zero(self) -> bool:
        """True where the manifest itself asks for no pods, or where KEDA is paused at none."""
        if self.paused_at is not None:
            return self.paused_at == 0
        return self.autoscaler is None and self.kind != "DaemonSet" and self.spec.get("replicas") == 0
