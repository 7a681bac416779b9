"""A workload and the objects around it, as the checks ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kubectl_lossless.doctor import configuration, prestop, server
from kubectl_lossless.doctor.configuration import Configuration
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import REMOVE, Change
from kubectl_lossless.doctor.finding import Path as FieldPath
from kubectl_lossless.doctor.prestop import Place, PreStop
from kubectl_lossless.doctor.server import Server, Start
from kubectl_lossless.doctor.shell.tokens import Shell

POD: FieldPath = ("spec", "template", "spec")

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Rollout", "DeploymentConfig")
"""Kinds of workloads that are checked."""

ROLLING_UPDATE = {"Rollout": "canary", "DeploymentConfig": "rollingParams"}
"""Names of the field that other kinds call rollingUpdate."""

DEFAULT_GRACE = 30.0
"""Seconds, Kubernetes' default for terminationGracePeriodSeconds."""

PROXIES = re.compile(
    r"(^|[-_/])(envoy|istio-proxy|proxyv2|linkerd-proxy|nginx|haproxy|traefik|caddy|oauth2-proxy"
    r"|cloud-sql-proxy|cloudsql-proxy|cloudsql-docker|pgbouncer|apache|httpd|varnish|proxy)($|[-_:.@/])"
)
"""Images and container names of programs that requests, or what they need, go through."""

HELPERS = re.compile(
    r"(exporter|fluent|filebeat|promtail|vector|logrotate|log-shipper|statsd|datadog|telegraf|otel|opentelemetry|jaeger-agent"
    r"|reload|git-sync|vault-agent|consul-template|config-sync|metrics-proxy|kube-rbac-proxy|prometheus-nginxlog|loadgen"
    r"|load-generator|shutdown-manager)"
)
"""Images and container names of programs that accompany a server and serve none of its requests."""

SCRAPED = re.compile(r"/kube-rbac-proxy\b")
"""Image of a proxy in front of an exporter, whose port has the name of one for clients."""

MONITORING_PORT = re.compile(
    r"metric|prom|health|probe|liveness|readiness|telemetry|monitor|pprof|debug|(^|-)logs?($|-)"
)
"""Names of ports that the platform asks, and clients do not."""

MONITORING_SERVICE = re.compile(r"(^|-)(metrics|monitoring|health)(-service|-svc)?$")
"""Names of Services of the same kind."""

PORT_HANDLERS = ("httpGet", "tcpSocket", "grpc")
"""Handlers of probes that ask a port."""

HTTP_PORT = re.compile(r"http|web|api|www", re.IGNORECASE)
HTTP_PORTS = {80, 443, 3000, 4000, 5000, 8000, 8001, 8008, 8080, 8081, 8443, 8888, 9000, 9090}


class Neighbours:
    """The objects around the workloads, found by kind and namespace without going through all of them."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._found: dict[tuple[str, str], list[Document]] = {}
        self._kinds: dict[str, list[Document]] = {}
        self._names: dict[tuple[str, str], Document] = {}
        for each in documents:
            self._found.setdefault((each.kind, each.namespace), []).append(each)
            self._kinds.setdefault(each.kind, []).append(each)
            self._names.setdefault((each.name, each.namespace), each)

    def in_namespace(self, kind: str, namespace: str) -> Sequence[Document]:
        """Return the objects of a kind in a namespace."""
        return self._found.get((kind, namespace), ())

    def named(self, name: str, namespace: str) -> Document | None:
        """Return the object of a kind and name, such as "Service web"."""
        return self._names.get((name, namespace))

    def everywhere(self, kind: str) -> Sequence[Document]:
        """Return the objects of a kind, whatever their namespace."""
        return self._kinds.get(kind, ())

    @cached_property
    def pod_labels(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """The labels of every pod and pod template, by namespace."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for each in (each for documents in self._kinds.values() for each in documents):
            job = _field(_field(each.spec, "jobTemplate"), "spec")
            pods = [_field(each.spec, "template"), _field(job, "template")]
            for pod in [*pods, each.data] if each.kind == "Pod" else pods:
                labels = _field(_field(pod, "metadata"), "labels")
                if labels:
                    found.setdefault(each.namespace, []).append(labels)
        return found


@dataclass(frozen=True)
class Overrides:
    """Facts of the server that the user of the doctor states. None: not stated."""

    drain: float | None = None
    graceful: float | None = None
    keepalive: float | None = None


@dataclass(frozen=True)
class Image:
    """Configuration of an image, as docker has it."""

    command: Sequence[str] = ()
    """Its entry point."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """Observation of one container in a running pod; empty where nothing was seen."""

    process: Sequence[str] = ()
    """PID 1's command line."""
    configuration: str = ""
    """Text of Gunicorn's configuration file."""
    readiness: str = ""
    """Body of the response to its readiness probe."""


@dataclass(frozen=True)
class Container:
    """A container of the pod template."""

    spec: Object
    path: FieldPath
    """Of it in the workload."""
    sidecar: bool
    """True for a native sidecar, which stops after the others."""
    environment: Mapping[str, str]
    start: Start
    observed: Start | None = None
    """PID 1's command line in a running pod, where it was seen."""
    configuration: Configuration | None = None
    """Gunicorn's configuration file in a running pod, where it was seen."""
    readiness: str = ""
    """Body of the response to the readiness probe, where it was seen."""
    on_node: bool = False
    """True where its pod uses the network of the node."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.spec["name"])

    @property
    def image(self) -> str:
        """Its image, "" where none is named."""
        return str(self.spec.get("image", ""))

    @cached_property
    def helper(self) -> bool:
        """True where it is known to serve no requests of the pod's clients."""
        return bool(HELPERS.search(self.name) or HELPERS.search(Path(self.image).name))

    @cached_property
    def proxy(self) -> bool:
        """True for a proxy of requests, or of connections that requests need."""
        if self.helper:
            return False
        image = Path(self.image).name
        return bool(PROXIES.search(self.name) or PROXIES.search(image.split(":")[0].split("@")[0]))

    @cached_property
    def bare(self) -> bool:
        """True where its image is one of distroless, which has neither a shell nor programs of a system."""
        return "distroless" in self.image and "debug" not in self.image

    @cached_property
    def has_dash(self) -> bool:
        """True where its image is known to have dash as sh, and bash too."""
        return self.start.sh is Shell.DASH and bool(server.WITH_DASH.match(self.image))

    @cached_property
    def database(self) -> bool:
        """True where it runs a known database or queue, which has one writer."""
        name = Path(self.image.split("@")[0]).name.split(":")[0]
        ports = {each["containerPort"] for each in self.ports}
        by_ports = bool(ports) and ports <= server.DATABASE_PORTS and not self.proxy
        return not self.helper and (by_ports or bool(server.DATABASES.search(name)))

    @cached_property
    def server(self) -> Server:
        """Known facts of its server. The manifest's command has precedence over PID 1's title."""
        found = server.known(self.start, self.environment, self.image, self.configuration)
        if not found.name and self.name == "istio-proxy":
            found = server.of_istio(self.environment)
        if not found.name and self.observed is not None:
            found = server.known(self.observed, self.environment, self.image, self.configuration)
        return server.with_readiness(server.with_signal(found, self.stop_signal), self.readiness)

    @property
    def stop_signal(self) -> str:
        """Signal that its lifecycle names, "" where the image decides."""
        return str((self.spec.get("lifecycle") or {}).get("stopSignal", ""))

    @cached_property
    def pre_stop(self) -> PreStop | None:
        """Its preStop hook."""
        ports = [each[key] for each in self.ports for key in ("name", "containerPort") if key in each]
        place = Place(
            ports,
            self.start.files,
            server.first_program(self.start),
            self.environment,
            self.on_node,
            self.start.sh,
            self.bare,
        )
        return prestop.judge((self.spec.get("lifecycle") or {}).get("preStop"), place)

    @property
    def ports(self) -> list[Object]:
        """The ports it declares, those without a number left out."""
        return [each for each in self.spec.get("ports") or () if "containerPort" in each]

    @property
    def has_known_server(self) -> bool:
        """True for a server that is known to be one, as not every Python program is."""
        python = self.server.kind is not None and self.server.kind.name == "A Python program"
        return bool(self.server.name) and not python

    @property
    def serves_clients(self) -> bool:
        """True for a known server, unless the ports that it declares are for monitoring."""
        return self.has_known_server and (not self.ports or any(map(takes_requests, self.ports)))

    def probed_ports(self, *kinds: str) -> list[object]:
        """Return the ports that its probes of these kinds ask, by name or number."""
        probes = [self.probe(kind) or {} for kind in kinds]
        found = [(probe.get(handler) or {}).get("port") for probe in probes for handler in PORT_HANDLERS]
        return [port for port in found if port is not None]

    def probe(self, kind: str) -> Object | None:
        """Return the container's probe: "readiness", "liveness" or "startup"."""
        found = self.spec.get(f"{kind}Probe")
        return found or None

    def has_port(self, port: object) -> bool:
        """Return whether it declares a port of this name or number."""
        return any(port in (own.get("name"), own["containerPort"]) for own in self.ports)

    def declared(self, port: Object) -> list[Object]:
        """Return the declared ports that a Service's port leads to."""
        target, protocol = port.get("targetPort", port.get("port")), port.get("protocol", "TCP")
        return [
            own
            for own in self.ports
            if target in (own.get("name"), own["containerPort"]) and protocol == own.get("protocol", "TCP")
        ]

    def uses(self, port: object, *, probed: bool = True) -> bool:
        """Return whether its command line has a port's number or, if `probed`, its probes ask it."""
        if not isinstance(port, int):
            return False
        asked = self.probed_ports("readiness", "liveness", "startup") if probed else []
        number = re.compile(rf"(?<![0-9.]){port}(?![0-9.])")
        return port in asked or any(number.search(word) for word in self.start.words)

    def _words(self) -> Iterator[tuple[FieldPath, str]]:
        """Yield the words of command and args that are written in the manifest, with their paths."""
        for key in ("command", "args"):
            for number, word in enumerate(self.spec.get(key) or ()):
                yield (*self.path, key, number), word

    def with_option(self, option: str, value: str = "") -> tuple[Change, ...]:
        """Return the change that sets an option; none where a shell or the image starts the server."""
        words = list(self._words())
        if not words or self.start.shell is not None or not server.serves(self.start.serving):
            return ()
        for at, (path, word) in enumerate(words):
            if word == option and value and at + 1 < len(words):
                return (Change(words[at + 1][0], value),)
            if value and word.startswith(f"{option}="):
                return (Change(path, f"{option}={value}"),)
        *parent, last = words[-1][0]
        added = [option, value] if value else [option]
        return tuple(Change((*parent, int(last) + 1 + at), each) for at, each in enumerate(added))

    def without_option(self, option: str) -> tuple[Change, ...]:
        """Return the change that removes an option without a value; none where it is not in the manifest."""
        if self.start.shell is not None:
            return ()
        return tuple(Change(path, REMOVE) for path, word in self._words() if word == option)[:1]

    @property
    def speaks_http(self) -> bool:
        """True if something declares that its first port takes HTTP."""
        probes = [self.probe(kind) or {} for kind in ("readiness", "liveness", "startup")]
        if any("httpGet" in probe for probe in probes):
            return True
        if self.database or not self.ports:
            return bool(self.server.name) and not self.database
        first = self.ports[0]
        return bool(
            self.server.name
            or HTTP_PORT.search(str(first.get("name", "")))
            or first["containerPort"] in HTTP_PORTS
        )


@dataclass(frozen=True)
class Workload:
    """A workload under examination."""

    document: Document
    others: Neighbours = field(default_factory=lambda: Neighbours(()))
    """All other objects, its neighbours of the same kind included."""
    overrides: Overrides = Overrides()
    images: Mapping[str, Image] = field(default_factory=dict)
    observed: Mapping[str, Observed] = field(default_factory=dict)
    """Observations in a running pod, by the container's name."""
    unseen: Sequence[str] = ()
    """Kinds of objects that the cluster does not show us."""
    from_cluster: bool = False
    focus: str = ""
    """Name of the container that is `app`, where a pod has several servers; "": the first of them."""

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.document.kind

    @property
    def data(self) -> Object:
        """The object."""
        return self.document.data

    @property
    def name(self) -> str:
        """Kind and name."""
        return self.document.name

    @property
    def metadata_name(self) -> str:
        """Its name alone."""
        return self.document.metadata_name

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.document.namespace

    @property
    def spec(self) -> Object:
        """Its spec."""
        found: Object = self.data["spec"]
        return found

    @property
    def strategy_path(self) -> tuple[str, str]:
        """Path of the strategy of its updates."""
        return ("spec", "updateStrategy" if self.kind in ("StatefulSet", "DaemonSet") else "strategy")

    @property
    def strategy(self) -> Object:
        """Strategy of its updates; empty if the default applies."""
        return self.spec.get(self.strategy_path[-1]) or {}

    @property
    def rolling_update_path(self) -> tuple[str, str, str]:
        """Path of the object with maxSurge, maxUnavailable and partition."""
        return (*self.strategy_path, ROLLING_UPDATE.get(self.kind, "rollingUpdate"))

    @property
    def rolling_update(self) -> Object:
        """The object with maxSurge, maxUnavailable and partition; empty if the defaults apply."""
        return self.strategy.get(self.rolling_update_path[-1]) or {}

    @property
    def template(self) -> Object:
        """Its pod template."""
        found: Object = self.spec["template"]
        return found

    @property
    def pod(self) -> Object:
        """The spec of its pods."""
        found: Object = self.template["spec"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return (self.template.get("metadata") or {}).get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of its pods."""
        return (self.template.get("metadata") or {}).get("annotations") or {}

    @property
    def grace(self) -> float:
        """Seconds that a pod has to stop."""
        return float(self.pod.get("terminationGracePeriodSeconds", DEFAULT_GRACE))

    # ---- containers ------------------------------------------------------------------------------

    @cached_property
    def containers(self) -> list[Container]:
        """The containers that run at the same time, native sidecars last."""
        plain = list(self._containers("containers"))
        return plain + [each for each in self._containers("initContainers") if each.sidecar]

    @cached_property
    def plain(self) -> list[Container]:
        """The containers that get SIGTERM at the same time."""
        return [each for each in self.containers if not each.sidecar]

    @cached_property
    def init_containers(self) -> list[Container]:
        """The containers that run to their end before the others."""
        return [each for each in self._containers("initContainers") if not each.sidecar]

    def _containers(self, key: str) -> Iterator[Container]:
        for number, spec in enumerate(self.pod.get(key) or ()):
            image = self.images.get(spec.get("image", ""), Image())
            environment = {**image.environment, **self._environment(spec)}
            if spec.get("command"):
                command = [*spec["command"], *(spec.get("args") or ())]
            elif image.command:
                command = [*image.command, *(spec.get("args") or image.arguments)]
            else:
                command = list(spec.get("args") or image.arguments)
            shared = bool(self.pod.get("shareProcessNamespace") or self.pod.get("hostPID"))
            sh = server.sh_of(str(spec.get("image", "")))
            seen = self.observed.get(spec["name"], Observed())
            files = self._files(spec)
            words = tuple(_expanded(word, environment) for word in command)
            start = Start(words, sh, shared, files)
            settings = seen.configuration or _settings(start, environment, str(spec.get("workingDir", "")))
            yield Container(
                spec=spec,
                path=(*POD, key, number),
                sidecar=key == "initContainers" and spec.get("restartPolicy") == "Always",
                environment=environment,
                start=start,
                observed=Start(tuple(seen.process), sh, shared) if seen.process else None,
                configuration=configuration.read(settings) if settings else None,
                readiness=seen.readiness,
                on_node=bool(self.pod.get("hostNetwork")),
            )

    @cached_property
    def _maps(self) -> Mapping[str, Mapping[str, str]]:
        """The data of the ConfigMaps in its namespace, by their names."""
        return {each.metadata_name: each.data.get("data") or {} for each in self.of_kind("ConfigMap")}

    def _files(self, spec: Object) -> dict[str, str]:
        """Return the texts of the files that a container has from ConfigMaps, by their paths."""
        found: dict[str, str] = {}
        volumes: dict[Any, Object] = {each.get("name"): each for each in self.pod.get("volumes") or ()}
        for mount in spec.get("volumeMounts") or ():
            volume = volumes.get(mount.get("name"), {})
            projected = (volume.get("projected") or {}).get("sources") or ()
            for source in (volume, *projected):
                reference = source.get("configMap") or {}
                data = self._maps.get(str(reference.get("name", "")), {})
                items: dict[str, str] = {
                    each.get("key", ""): each.get("path", "") for each in reference.get("items") or ()
                }
                names = {items.get(key) or key: data[key] for key in data if not items or key in items}
                path, part = str(mount.get("mountPath", "")).rstrip("/"), mount.get("subPath")
                if part:
                    found |= {path: names[part]} if part in names else {}
                else:
                    found |= {f"{path}/{name}": text for name, text in names.items()}
        return found

    def config_map_of(self, text: str) -> tuple[str, str] | None:
        """Return kind and name of the ConfigMap with a text, and its key; None where there is none."""
        return next(
            (
                (f"ConfigMap {name}", key)
                for name, data in self._maps.items()
                for key, found in data.items()
                if found is text
            ),
            None,
        )

    def _environment(self, spec: Object) -> dict[str, str]:
        """Return the known part of a container's environment: literal values, and ConfigMaps."""
        maps = self._maps
        found: dict[str, str] = {}
        for source in spec.get("envFrom") or ():
            data = maps.get((source.get("configMapRef") or {}).get("name", ""), {})
            found |= {source.get("prefix", "") + name: value for name, value in data.items()}
        for entry in spec.get("env") or ():
            reference = (entry.get("valueFrom") or {}).get("configMapKeyRef") or {}
            value = entry.get("value", maps.get(reference.get("name", ""), {}).get(reference.get("key", "")))
            if value is not None:
                found[entry["name"]] = value
        return found

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
        known = self.overrides
        return server.overridden(self.app.server, known.drain, known.graceful, known.keepalive)

    @property
    def serving_on(self) -> float:
        """Seconds for which the server in `app` still serves after the pod's deletion, as far as known."""
        hook = self.app.pre_stop
        return (hook.wait or 0.0 if hook else 0.0) + (self.server.drain or 0.0)

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
        if any(server.takes_work_from_a_queue(each.start) for each in self.plain):
            return False
        return (
            any(self._shows_clients(each) for each in self.plain)
            or any(takes_requests(port) for each in self.plain if not each.helper for port in each.ports)
            or any(each.has_known_server for each in self.plain)
        )

    @staticmethod
    def _shows_clients(container: Container) -> bool:
        """Return whether its probes ask a port that is not declared as one for monitoring."""
        asked = container.probed_ports("readiness", "liveness", "startup")
        monitored = [each for each in container.ports if not takes_requests(each)]
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
        if any(
            "beat" in words[1:] or words[0].endswith("beat")
            for each in self.plain
            for words in each.start.commands
            if words and "celery" in words[0]
        ):
            return "two schedulers would send every task twice"
        return ""

    # ---- objects around it -------------------------------------------------------------------

    def of_kind(self, *kinds: str, group: str | None = None) -> list[Document]:
        """Return the objects of these kinds in its namespace, or in none."""
        found = [each for kind in kinds for each in self.others.in_namespace(kind, self.namespace)]
        return found if group is None else [each for each in found if each.group == group]

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
        """The HorizontalPodAutoscaler or ScaledObject that scales it."""
        found = [
            *self.scalers("HorizontalPodAutoscaler", "scaleTargetRef"),
            *self.scalers("ScaledObject", "scaleTargetRef"),
        ]
        return found[0] if found else None

    @property
    def replicas(self) -> int:
        """Minimum number of its pods; with an autoscaler, the autoscaler's."""
        if self.autoscaler is not None:
            spec = self.autoscaler.spec
            if self.autoscaler.kind == "ScaledObject":
                return int(spec.get("minReplicaCount", 0))
            return int(spec.get("minReplicas", 1))
        return int(self.spec.get("replicas", 1))

    @property
    def scaled_to_zero(self) -> bool:
        """True where the manifest itself asks for no pods."""
        return self.autoscaler is None and self.kind != "DaemonSet" and self.spec.get("replicas") == 0


def _field(value: Object, name: str) -> Object:
    """Return a field that is a mapping; an empty one for all else, of objects whose shape is not checked."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def takes_requests(port: Object) -> bool:
    """Return whether a port may be for clients: one for metrics or health checks is not."""
    return not MONITORING_PORT.search(str(port.get("name", "")))


def _settings(start: Start, environment: Mapping[str, str], folder: str) -> str:
    """Return the text of Gunicorn's configuration file, "" where no known file is it."""
    if not start.files or not (path := server.configuration_file(start, environment)):
        return ""
    relative = path.removeprefix("/proc/1/cwd/")
    if relative == path:
        return start.files.get(path, "")
    if folder:
        return start.files.get(f"{folder.rstrip('/')}/{relative}", "")
    return next((text for each, text in start.files.items() if each.endswith(f"/{relative}")), "")


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    """Expand `$(NAME)` in a container's argument, as Kubernetes does, where the value is known."""
    return re.sub(
        r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", lambda found: environment.get(found[1], found[0]), word
    )


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector takes these labels, as a PodDisruptionBudget's does."""
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
