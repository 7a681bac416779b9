"""Containers beside a server, and kinds of workloads, with what counts in them for the exit status."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    AUTOSCALER,
    NGINX,
    PROBES,
    Change,
    added,
    annotated,
    before,
    beside,
    command,
    image,
    kind,
    no_hook,
    of_pod,
    pod,
    spec,
    target_port,
    without_service,
)
from doctor.kinds_of_pods import readiness, without_budget
from doctor.kinds_of_routes import DAEMON_SET
from kubectl_lossless.doctor.finding import Severity

STATEFUL = kind("StatefulSet", "strategy")


def waits(seconds: int) -> Object:
    return {"preStop": {"exec": {"command": ["sleep", str(seconds)]}}}


def php(lifecycle: Object) -> Change:
    """Let the second container be PHP-FPM."""

    def change(objects: list[Object]) -> None:
        found = pod(objects)["containers"][1]
        ports = [{"name": "fpm", "containerPort": 9000}]
        found.update(name="php", image="php:8.3-fpm", command=["php-fpm"], ports=ports, lifecycle=lifecycle)
        for each in PROBES:
            del found[each]["httpGet"]
            found[each]["tcpSocket"] = {"port": "fpm"}

    return change


def port_of(name: str, number: int) -> Change:
    """Give the container one port, which its probes ask."""

    def change(objects: list[Object]) -> None:
        container(objects)["ports"] = [{"name": name, "containerPort": number}]
        for each in PROBES:
            container(objects)[each]["httpGet"]["port"] = number

    return change


def in_namespace(labels: Object | None = None, annotations: Object | None = None) -> Change:
    """Add the namespace."""
    metadata = {"name": "demo", "labels": labels or {}, "annotations": annotations or {}}
    return lambda objects: objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def rollout(strategy: Object | None) -> Change:
    """Turn the Deployment into a Rollout of Argo's."""

    def change(objects: list[Object]) -> None:
        objects[0].update(apiVersion="argoproj.io/v1alpha1", kind="Rollout")
        del objects[0]["spec"]["strategy"]
        if strategy is not None:
            objects[0]["spec"]["strategy"] = strategy

    return change


def deployment_config(strategy: Object | None) -> Change:
    """Turn the Deployment into a DeploymentConfig of OpenShift's."""

    def change(objects: list[Object]) -> None:
        objects[0].update(apiVersion="apps.openshift.io/v1", kind="DeploymentConfig")
        objects[0]["spec"]["selector"] = {"app": "web"}
        for each in ("minReadySeconds", "strategy"):
            del objects[0]["spec"][each]
        if strategy is not None:
            objects[0]["spec"]["strategy"] = strategy

    return change


WORKLOADS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "nginx php both wait": (
        [before(**NGINX, lifecycle=waits(15)), target_port("web"), php(waits(15))],
        set(),
    ),
    "nginx shorter than php": (
        [before(**NGINX, lifecycle=waits(10)), target_port("web"), php(waits(15))],
        set(),
    ),
    "nginx php no hooks": (
        [before(**NGINX), target_port("web"), php({})],
        {(LOSES, "plain-sidecar"), (RISKS, "drain")},
    ),
    "cloud-sql-proxy waits": (
        [
            beside(
                name="cloud-sql-proxy",
                image="gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.11",
                args=["--max-sigterm-delay=30s", "p:r:i"],
            )
        ],
        set(),
    ),
    "cloud-sql-proxy v1 waits": (
        [
            beside(
                name="cloudsql-proxy",
                image="gcr.io/cloudsql-docker/gce-proxy:1.33",
                command=["/cloud_sql_proxy", "-instances=x=tcp:5432", "-term_timeout=30s"],
            )
        ],
        set(),
    ),
    "cloud-sql-proxy native": (
        [
            of_pod(
                initContainers=[
                    {
                        "name": "cloud-sql-proxy",
                        "image": "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2",
                        "restartPolicy": "Always",
                    }
                ]
            )
        ],
        set(),
    ),
    "istio written, exits on zero": (
        [
            beside(
                name="istio-proxy",
                image="istio/proxyv2:1.22",
                env=[{"name": "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "value": "true"}],
            )
        ],
        set(),
    ),
    "linkerd ingress mode": ([annotated({"linkerd.io/inject": "ingress"})], {(RISKS, "injected-proxy")}),
    "linkerd as a native sidecar by the annotation in beta": (
        [
            annotated(
                {
                    "linkerd.io/inject": "enabled",
                    "config.beta.linkerd.io/proxy-enable-native-sidecar": "true",
                }
            )
        ],
        set(),
    ),
    "linkerd by namespace": (
        [in_namespace(annotations={"linkerd.io/inject": "enabled"})],
        {(RISKS, "injected-proxy")},
    ),
    "istio revision by namespace": (
        [in_namespace(labels={"istio.io/rev": "1-22"})],
        {(RISKS, "injected-proxy")},
    ),
    "istio ambient": ([in_namespace(labels={"istio.io/dataplane-mode": "ambient"})], set()),
    "istio disabled in the pod": (
        [
            in_namespace(labels={"istio-injection": "enabled"}),
            annotated({"sidecar.istio.io/inject": "false"}),
        ],
        set(),
    ),
    "istio drain configured": (
        [
            annotated(
                {"sidecar.istio.io/inject": "true", "proxy.istio.io/config": "terminationDrainDuration: 20s"}
            )
        ],
        set(),
    ),
    "probe of a container at another's port": (
        [
            beside(name="stats", ports=[{"name": "stats", "containerPort": 9090}]),
            readiness(httpGet={"path": "/ready", "port": 9090}, periodSeconds=2, timeoutSeconds=2),
        ],
        set(),
    ),
    "probes rewritten by Istio": (
        [
            beside(
                name="istio-proxy",
                image="istio/proxyv2:1.22",
                lifecycle=waits(20),
                ports=[{"name": "http-envoy-prom", "containerPort": 15090}],
            ),
            readiness(
                httpGet={"path": "/app-health/web/readyz", "port": 15020}, periodSeconds=2, timeoutSeconds=2
            ),
        ],
        set(),
    ),
    "otel collector beside": (
        [
            beside(
                name="otel-collector",
                image="otel/opentelemetry-collector:0.100",
                ports=[{"name": "otlp", "containerPort": 4317}],
            )
        ],
        set(),
    ),
    "fluentd beside with a shell": (
        [beside(name="fluentd", image="fluent/fluentd:1", command=["sh", "-c", "fluentd -c /x"])],
        set(),
    ),
    "pgbouncer beside": (
        [beside(name="pgbouncer", image="edoburu/pgbouncer:1.22", ports=[{"containerPort": 6432}])],
        {(RISKS, "plain-sidecar")},
    ),
    "pgbouncer waits": (
        [
            beside(
                name="pgbouncer",
                image="edoburu/pgbouncer:1.22",
                ports=[{"containerPort": 6432}],
                lifecycle=waits(25),
            )
        ],
        set(),
    ),
    "dind beside": ([beside(name="dind", image="docker:27-dind")], set()),
    "oauth2-proxy first, named after": (
        [
            before(
                name="oauth",
                image="quay.io/oauth2-proxy/oauth2-proxy:v7",
                ports=[{"name": "proxy", "containerPort": 4180}],
                lifecycle=waits(15),
            ),
            target_port("proxy"),
        ],
        set(),
    ),
    "websocket second server in UDP": (
        [beside(name="turn", ports=[{"name": "turn", "containerPort": 3478, "protocol": "UDP"}])],
        set(),
    ),
    "ephemeral debug container": (
        [of_pod(ephemeralContainers=[{"name": "debug", "image": "busybox"}])],
        {(LOSES, "refused")},
    ),
    "dapr injected": ([annotated({"dapr.io/enabled": "true", "dapr.io/app-id": "web"})], set()),
    "memcached beside with a hook-less app": (
        [
            beside(name="cache", image="memcached:1.6", ports=[{"name": "mc", "containerPort": 11211}]),
            no_hook,
        ],
        {(RISKS, "drain")},
    ),
    "postgres beside, dev all in one": (
        [beside(name="db", image="postgres:16", ports=[{"containerPort": 5432}]), spec(replicas=1)],
        set(),
    ),
    "rollout canary": (
        [
            rollout(
                {
                    "canary": {
                        "maxSurge": "25%",
                        "maxUnavailable": 0,
                        "steps": [{"setWeight": 20}, {"pause": {"duration": "1m"}}],
                    }
                }
            )
        ],
        set(),
    ),
    "rollout no strategy": ([rollout(None)], {(LOSES, "refused")}),
    "rollout of RollingUpdate": (
        [rollout({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})],
        {(LOSES, "refused")},
    ),
    "rollout empty strategy": ([rollout({})], {(LOSES, "refused")}),
    "rollout both strategies": (
        [rollout({"canary": {}, "blueGreen": {"activeService": "web"}})],
        {(LOSES, "refused")},
    ),
    "rollout canary null fields": ([rollout({"canary": {}})], set()),
    "rollout blueGreen": (
        [rollout({"blueGreen": {"activeService": "web", "autoPromotionEnabled": True}})],
        set(),
    ),
    "rollout blueGreen without a Service": ([rollout({"blueGreen": {}})], {(LOSES, "refused")}),
    "rollout canary zero": (
        [rollout({"canary": {"maxSurge": 0, "maxUnavailable": 0}})],
        {(LOSES, "refused")},
    ),
    "rollout no selector": (
        [rollout({"canary": {}}), lambda objects: objects[0]["spec"].pop("selector")],
        {(LOSES, "refused")},
    ),
    "rollout hpa": (
        [
            rollout({"canary": {}}),
            lambda objects: objects[0]["spec"].pop("replicas"),
            added(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                "web",
                {
                    **AUTOSCALER,
                    "scaleTargetRef": {
                        "apiVersion": "argoproj.io/v1alpha1",
                        "kind": "Rollout",
                        "name": "web",
                    },
                },
            ),
        ],
        set(),
    ),
    "rollout canary takes all": (
        [rollout({"canary": {"maxSurge": 0, "maxUnavailable": "100%"}})],
        {(LOSES, "strategy")},
    ),
    "dc rolling": (
        [deployment_config({"type": "Rolling", "rollingParams": {"maxSurge": "25%", "maxUnavailable": 0}})],
        set(),
    ),
    "dc recreate": ([deployment_config({"type": "Recreate"})], {(LOSES, "strategy")}),
    "dc without strategy": ([deployment_config(None)], set()),
    "sts OnDelete of three": (
        [STATEFUL, spec(serviceName="web", updateStrategy={"type": "OnDelete"})],
        set(),
    ),
    "sts partition of one pod": (
        [
            STATEFUL,
            spec(
                serviceName="web", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
            ),
        ],
        set(),
    ),
    "sts parallel maxUnavailable all": (
        [
            STATEFUL,
            spec(
                serviceName="web",
                podManagementPolicy="Parallel",
                updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            ),
        ],
        {(LOSES, "strategy")},
    ),
    "sts Recreate": (
        [STATEFUL, spec(serviceName="web", updateStrategy={"type": "Recreate"})],
        {(LOSES, "refused")},
    ),
    "sts rabbitmq 3": (
        [
            STATEFUL,
            spec(serviceName="web", replicas=3),
            image("rabbitmq:3.13-management"),
            command(),
            lambda objects: container(objects).update(
                lifecycle={
                    "preStop": {
                        "exec": {
                            "command": [
                                "sh",
                                "-c",
                                "rabbitmq-upgrade await_online_quorum_plus_one; rabbitmqctl stop_app",
                            ]
                        }
                    }
                }
            ),
        ],
        set(),
    ),
    "sts kafka 3": (
        [STATEFUL, spec(serviceName="web", replicas=3), image("apache/kafka:3.8.0"), command(), no_hook],
        set(),
    ),
    "sts mongo 3": (
        [
            STATEFUL,
            spec(serviceName="web", replicas=3),
            image("mongo:7"),
            command("mongod", "--replSet", "rs0"),
            no_hook,
        ],
        set(),
    ),
    "sts elasticsearch shell": (
        [
            STATEFUL,
            spec(serviceName="web", replicas=3),
            image("docker.elastic.co/elasticsearch/elasticsearch:8.14"),
            command(),
            no_hook,
        ],
        set(),
    ),
    "ds surge": (
        [
            *DAEMON_SET,
            spec(
                updateStrategy={
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                }
            ),
        ],
        set(),
    ),
    "ds Recreate": ([*DAEMON_SET, spec(updateStrategy={"type": "Recreate"})], {(LOSES, "refused")}),
    "ds node-exporter": (
        [
            *DAEMON_SET,
            without_service,
            image("quay.io/prometheus/node-exporter:v1.8"),
            command(),
            port_of("metrics", 9100),
            no_hook,
            of_pod(hostNetwork=True, hostPID=True),
        ],
        set(),
    ),
    "ds with replicas": ([kind("DaemonSet", "strategy"), without_budget], {(LOSES, "refused")}),
    "deployment of a consumer with health port": (
        [without_service, command("/consumer"), port_of("health", 8081), no_hook],
        set(),
    ),
    "exporter deployment with Service": (
        [
            command("/exporter"),
            port_of("metrics", 9187),
            no_hook,
            lambda objects: objects[1]["spec"].update(
                ports=[{"name": "metrics", "port": 9187, "targetPort": 9187}]
            ),
        ],
        set(),
    ),
}
