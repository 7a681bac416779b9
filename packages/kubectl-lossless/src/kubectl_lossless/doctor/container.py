"""A container of a pod, and its part in the pod: server, proxy, helper or database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kubectl_lossless.doctor import prestop
from kubectl_lossless.doctor.configuration import Configuration
from kubectl_lossless.doctor.documents import Object
from kubectl_lossless.doctor.finding import REMOVE, Change
from kubectl_lossless.doctor.finding import Path as FieldPath
from kubectl_lossless.doctor.prestop import Place, PreStop
from kubectl_lossless.doctor.server.images import WITH_DASH, image_name
from kubectl_lossless.doctor.server.known import known, with_readiness
from kubectl_lossless.doctor.server.model import Server, with_signal
from kubectl_lossless.doctor.server.programs import serves
from kubectl_lossless.doctor.server.settings import of_istio
from kubectl_lossless.doctor.server.start import Start
from kubectl_lossless.doctor.shell.tokens import Shell

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

DATABASES = re.compile(
    r"(^|[-_/])(mysql|mariadb|percona|postgres|postgresql|postgis|timescaledb|mongo|mongodb|redis|valkey|keydb|memcached"
    r"|rabbitmq|kafka|zookeeper|etcd|elasticsearch|opensearch|clickhouse|clickhouse-server|influxdb|cassandra|minio|nats"
    r"|neo4j|couchdb|couchbase|consul|vault|registry)($|[-_:.@/])"
)
"""Images and programs that keep data and have one writer each."""

DATABASE_PORTS = {1433, 1521, 2181, 3306, 5432, 5672, 6379, 9042, 9092, 11211, 26257, 27017}
"""Ports of databases and queues, whatever their image is called."""

MONITORING_PORT = re.compile(
    r"metric|prom|health|probe|liveness|readiness|telemetry|monitor|pprof|debug|(^|-)logs?($|-)"
)
"""Names of ports that the platform asks, and clients do not."""

PORT_HANDLERS = ("httpGet", "tcpSocket", "grpc")
"""Handlers of probes that ask a port."""

HTTP_PORT = re.compile(r"http|web|api|www", re.IGNORECASE)

HTTP_PORTS = {80, 443, 3000, 4000, 5000, 8000, 8001, 8008, 8080, 8081, 8443, 8888, 9000, 9090}


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
        return self.start.sh is Shell.DASH and bool(WITH_DASH.match(self.image))

    @cached_property
    def database(self) -> bool:
        """True where it runs a known database or queue, which has one writer."""
        name = Path(self.image.split("@")[0]).name.split(":")[0]
        ports = {each["containerPort"] for each in self.ports}
        by_ports = bool(ports) and ports <= DATABASE_PORTS and not self.proxy
        return not self.helper and (by_ports or bool(DATABASES.search(name)))

    @cached_property
    def server(self) -> Server:
        """Known facts of its server. The manifest's command has precedence over PID 1's title."""
        found = known(self.start, self.environment, self.image, self.configuration)
        if not found.name and self.name == "istio-proxy":
            found = of_istio(self.environment)
        if not found.name and self.observed is not None:
            found = known(self.observed, self.environment, self.image, self.configuration)
        return with_readiness(with_signal(found, self.stop_signal), self.readiness)

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
            self.start,
            self.start.first_program or ("" if self.start.words else image_name(self.image)),
            self.environment,
            self.on_node,
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
        if not words or self.start.shell is not None or not serves(self.start.serving):
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
    def script_path(self) -> FieldPath:
        """Where in the manifest the shell's script stands; its command where the image has the script."""
        index, command = self.start.script_index, self.spec.get("command") or []
        if index is None:
            return (*self.path, "command")
        if index < len(command):
            return (*self.path, "command", index)
        return (*self.path, "args", index - len(command))

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


def takes_requests(port: Object) -> bool:
    """Return whether a port may be for clients: one for metrics or health checks is not."""
    return not MONITORING_PORT.search(str(port.get("name", "")))
