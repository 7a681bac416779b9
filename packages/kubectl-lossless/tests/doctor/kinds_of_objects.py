"""More pods, Services, routes, autoscalers and updates, with the findings that count."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    AUTOSCALER,
    Change,
    added,
    before,
    beside,
    claim,
    grace,
    hook,
    ingress,
    kind,
    of_container,
    of_pod,
    pod,
    spec,
    target_port,
)
from doctor.kinds_of_pods import of_service
from doctor.kinds_of_servers import ENVOY
from doctor.kinds_of_updates import daemonset, init, no_replicas
from doctor.kinds_of_workloads import in_namespace
from kubectl_lossless.doctor.finding import Severity


def extra_service(name: str = "extra", **fields: Any) -> Change:
    """Add a Service in front of the pods."""
    ports = [{"port": 80, "targetPort": "http"}]
    return added("v1", "Service", name, {"selector": {"app": "web"}, "ports": ports, **fields})


def endpoints_of_database(objects: list[Object]) -> None:
    """Add the addresses of a Service that selects no pods."""
    subset = {"addresses": [{"ip": "10.0.0.5"}], "ports": [{"port": 5432}]}
    metadata = {"name": "db", "namespace": "demo"}
    objects.append({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]})


def vertical_autoscaler(mode: str) -> Change:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    fields = {"targetRef": target, "updatePolicy": {"updateMode": mode}}
    return added("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "web", fields)


def labelled(**labels: str) -> Change:
    """Give the pods more labels, and select them."""

    def change(objects: list[Object]) -> None:
        objects[0]["spec"]["template"]["metadata"]["labels"].update(labels)
        objects[0]["spec"]["selector"]["matchLabels"].update(labels)

    return change


def another(name: str, replicas: int, labels: dict[str, str]) -> Change:
    """Add a second Deployment of the same containers."""

    def change(objects: list[Object]) -> None:
        found = copy.deepcopy(objects[0])
        found["metadata"]["name"] = name
        found["spec"].update(replicas=replicas, selector={"matchLabels": labels})
        found["spec"]["template"]["metadata"]["labels"] = labels
        objects.append(found)

    return change


def http_route(backend: Object) -> Change:
    fields = {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [backend]}]}
    return added("gateway.networking.k8s.io/v1", "HTTPRoute", "web", fields)


def autoscaler(name: str = "web", **fields: Any) -> Change:
    return added("autoscaling/v2", "HorizontalPodAutoscaler", name, {**AUTOSCALER, **fields})


def budget(**fields: Any) -> Change:
    """Replace what the budget allows."""
    return lambda objects: objects[2].update(spec={"selector": objects[2]["spec"]["selector"], **fields})


def service_annotated(annotations: Object) -> Change:
    return lambda objects: objects[1]["metadata"].update(annotations=annotations)


def path_of(service: str, path: str) -> Object:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    return {"path": path, "pathType": "Prefix", "backend": backend}


OBJECTS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "sidecar with a probe and a hook": (
        [
            init(
                name="mesh",
                image="registry.test/mesh:1",
                restartPolicy="Always",
                startupProbe={"tcpSocket": {"port": 9000}},
                lifecycle={"preStop": {"exec": {"command": ["true"]}}},
            )
        ],
        set(),
    ),
    "sidecar that ships logs by a shell": (
        [
            init(
                name="logs",
                image="busybox",
                restartPolicy="Always",
                command=["sh", "-c", "tail -F /log/app.log"],
            )
        ],
        set(),
    ),
    "init container that waits": (
        [init(name="wait", image="busybox", command=["sh", "-c", "until nslookup db; do sleep 2; done"])],
        set(),
    ),
    "init container that migrates with alembic": (
        [init(name="migrate", image="registry.test/web:1", command=["alembic", "upgrade", "head"])],
        set(),
    ),
    "host users and security": (
        [
            of_pod(
                securityContext={"runAsNonRoot": True},
                automountServiceAccountToken=False,
                priorityClassName="high",
                hostUsers=False,
            )
        ],
        set(),
    ),
    "quota and limits beside": (
        [
            added("v1", "ResourceQuota", "q", {"hard": {"pods": "5"}}),
            added("v1", "LimitRange", "l", {"limits": [{"type": "Container", "default": {"cpu": "50m"}}]}),
        ],
        set(),
    ),
    "cpu limit in exponents": ([of_container(resources={"limits": {"cpu": "1e-1"}})], {(RISKS, "cpu-limit")}),
    "cpu limit as a number": ([of_container(resources={"limits": {"cpu": 0.1}})], {(RISKS, "cpu-limit")}),
    "cpu limit of two processors": (
        [of_container(resources={"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": "500m"}})],
        set(),
    ),
    "cpu limit of a sidecar alone": (
        [beside(name="logs", image="fluent/fluent-bit:3", resources={"limits": {"cpu": "20m"}})],
        set(),
    ),
    "windows pod": (
        [
            of_pod(os={"name": "windows"}, nodeSelector={"kubernetes.io/os": "windows"}),
            hook("powershell", "-Command", "Start-Sleep", "-Seconds", "15"),
        ],
        set(),
    ),
    "environment of every kind": (
        [
            of_container(
                env=[
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                ],
                envFrom=[
                    {"secretRef": {"name": "s"}},
                    {"prefix": "X_", "configMapRef": {"name": "c", "optional": True}},
                ],
            )
        ],
        set(),
    ),
    "volume of an emptyDir": ([of_pod(volumes=[{"name": "tmp", "emptyDir": {"medium": "Memory"}}])], set()),
    "read-only PersistentVolumeClaim with three replicas": (
        [of_pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "d", "readOnly": True}}])],
        set(),
    ),
    "one replica with a volume and RollingUpdate": (
        [spec(replicas=1), of_pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}])],
        {(RISKS, "strategy")},
    ),
    "grace of an hour": ([grace(3600)], set()),
    "environment variable twice": (
        [of_container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])],
        set(),
    ),
    "hostNetwork with another hostPort": (
        [of_pod(hostNetwork=True), lambda objects: container(objects)["ports"][0].update(hostPort=80)],
        {(LOSES, "refused"), (RISKS, "host-port")},
    ),
    "selector In without values": (
        [spec(selector={"matchExpressions": [{"key": "app", "operator": "In"}]})],
        {(LOSES, "selector")},
    ),
    "selector by expressions": (
        [spec(selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]})],
        set(),
    ),
    "NodePort local": (
        [of_service(type="NodePort", externalTrafficPolicy="Local")],
        {(RISKS, "external-traffic-policy")},
    ),
    "ClusterIP with external addresses and Local": (
        [of_service(externalTrafficPolicy="Local", externalIPs=["192.0.2.1"])],
        {(RISKS, "external-traffic-policy")},
    ),
    "Service with a health check node port": (
        [of_service(type="LoadBalancer", healthCheckNodePort=30000, externalTrafficPolicy="Local")],
        {(RISKS, "external-traffic-policy")},
    ),
    "Service with two IP families": (
        [of_service(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4", "IPv6"])],
        set(),
    ),
    "Service with appProtocol": (
        [lambda objects: objects[1]["spec"]["ports"][0].update(appProtocol="kubernetes.io/h2c", name="grpc")],
        set(),
    ),
    "Service near its clients": ([of_service(trafficDistribution="PreferClose")], set()),
    "targetPort 0": (
        [target_port(0), lambda objects: objects[1]["spec"]["ports"][0].update(port=8000)],
        set(),
    ),
    "headless and ClusterIP Service": ([extra_service(clusterIP="None")], set()),
    "headless Service without ports": ([extra_service(clusterIP="None", ports=[])], set()),
    "Service of UDP and TCP at one port": (
        [
            of_service(
                ports=[
                    {"name": "a", "port": 80, "targetPort": "http"},
                    {"name": "b", "port": 80, "protocol": "UDP", "targetPort": 5353},
                ]
            )
        ],
        set(),
    ),
    "blue and green behind one Service": (
        [labelled(color="blue"), another("green", 3, {"app": "web", "color": "green"})],
        set(),
    ),
    "canary of one replica behind the stable Service": (
        [labelled(track="stable"), another("canary", 1, {"app": "web", "track": "canary"})],
        set(),
    ),
    "canary of one replica of another Service": (
        [
            labelled(track="stable"),
            another("canary", 1, {"app": "canary"}),
            added(
                "v1",
                "Service",
                "canary",
                {"selector": {"app": "canary"}, "ports": [{"port": 80, "targetPort": "http"}]},
            ),
        ],
        {(RISKS, "replicas")},
    ),
    "green at no replicas": (
        [labelled(color="blue"), another("green", 0, {"app": "web", "color": "green"})],
        set(),
    ),
    "HTTPRoute with a weight": ([http_route({"name": "web", "port": 80, "weight": 90})], set()),
    "Ingress to a Service of each of two": (
        [
            extra_service("api"),
            added(
                "networking.k8s.io/v1",
                "Ingress",
                "web",
                {
                    "ingressClassName": "nginx",
                    "rules": [
                        {"host": "a.test", "http": {"paths": [path_of("web", "/"), path_of("api", "/api")]}}
                    ],
                },
            ),
        ],
        set(),
    ),
    "Ingress with tls and annotations": (
        [
            ingress(
                "web",
                {"number": 80},
                {
                    "nginx.ingress.kubernetes.io/proxy-body-size": "10m",
                    "cert-manager.io/cluster-issuer": "le",
                },
            )
        ],
        set(),
    ),
    "autoscaler by memory": (
        [
            no_replicas,
            autoscaler(
                metrics=[
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "memory",
                            "target": {"type": "Utilization", "averageUtilization": 80},
                        },
                    }
                ]
            ),
        ],
        set(),
    ),
    "autoscaler's minimum by default": ([no_replicas, autoscaler(minReplicas=None)], {(RISKS, "replicas")}),
    "autoscaler and budget of its minimum": (
        [
            no_replicas,
            autoscaler(minReplicas=2),
            budget(minAvailable=1),
        ],
        set(),
    ),
    "autoscaler of zero maximum": (
        [no_replicas, autoscaler(minReplicas=None, maxReplicas=0)],
        {(LOSES, "refused"), (RISKS, "replicas")},
    ),
    "two autoscalers": ([no_replicas, autoscaler(), autoscaler("second")], set()),
    "budget of another namespace": (
        [lambda objects: objects[2]["metadata"].update(namespace="other")],
        set(),
    ),
    "budget with an eviction policy": (
        [budget(maxUnavailable=1, unhealthyPodEvictionPolicy="AlwaysAllow")],
        set(),
    ),
    "budget minAvailable 0": (
        [
            lambda objects: (
                objects[2]["spec"].update(minAvailable=0) or objects[2]["spec"].pop("maxUnavailable")
            )
        ],
        {(RISKS, "disruption-budget")},
    ),
    "budget in percent of three": ([budget(maxUnavailable="33%")], set()),
    "maxSurge 100%": ([spec(strategy={"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}})], set()),
    "maxSurge 200%": ([spec(strategy={"rollingUpdate": {"maxSurge": "200%", "maxUnavailable": 0}})], set()),
    "maxUnavailable 0%": (
        [spec(strategy={"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "0%"}})],
        set(),
    ),
    "maxUnavailable 5 of 3": (
        [spec(strategy={"rollingUpdate": {"maxUnavailable": 5}})],
        {(LOSES, "strategy")},
    ),
    "replicas two with the default strategy": (
        [spec(replicas=2), lambda objects: objects[0]["spec"].pop("strategy")],
        set(),
    ),
    "empty strategy": ([spec(strategy={})], set()),
    "progressDeadlineSeconds of 0": ([spec(progressDeadlineSeconds=0)], {(LOSES, "progress-deadline")}),
    "revisionHistoryLimit 0": ([spec(revisionHistoryLimit=0)], set()),
    "StatefulSet with claims": (
        [
            kind("StatefulSet", "strategy"),
            spec(
                serviceName="web",
                volumeClaimTemplates=[claim("d")],
            ),
        ],
        set(),
    ),
    "StatefulSet ordinals": (
        [
            kind("StatefulSet", "strategy"),
            spec(
                serviceName="web",
                ordinals={"start": 1},
                podManagementPolicy="Parallel",
                persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain"},
            ),
        ],
        set(),
    ),
    "DaemonSet with a percentage": (
        [daemonset, spec(updateStrategy={"rollingUpdate": {"maxUnavailable": "10%"}})],
        set(),
    ),
    "namespace with ambient mesh and waypoint": (
        [in_namespace({"istio.io/dataplane-mode": "ambient"})],
        set(),
    ),
    "debug shell beside": ([beside(name="debug", image="busybox", command=["sleep", "infinity"])], set()),
    "cron beside": ([beside(name="cron", image="registry.test/web:1", command=["crond", "-f"])], set()),
    "celery beside a server": (
        [beside(name="worker", image="registry.test/web:1", command=["celery", "-A", "shop", "worker"])],
        set(),
    ),
    "envoy in front waits longer": (
        [
            before(**{**ENVOY, "lifecycle": {"preStop": {"exec": {"command": ["sleep", "30"]}}}}),
            target_port(9000),
        ],
        set(),
    ),
    "init container that copies assets": (
        [init(name="assets", image="registry.test/web:1", command=["cp", "-r", "/static", "/shared"])],
        set(),
    ),
    "init container with a sidecar proxy before it": (
        [
            init(name="sql", image="gcr.io/cloud-sql-connectors/cloud-sql-proxy:2", restartPolicy="Always"),
            lambda objects: pod(objects)["initContainers"].append(
                {"name": "migrate", "image": "registry.test/web:1", "command": ["./migrate"]}
            ),
        ],
        set(),
    ),
    "rbac proxy before an exporter": (
        [
            lambda objects: pod(objects).update(
                containers=[
                    {
                        "name": "node-exporter",
                        "image": "quay.io/prometheus/node-exporter:v1.8",
                        "args": ["--web.listen-address=127.0.0.1:9101"],
                    },
                    {
                        "name": "kube-rbac-proxy",
                        "image": "quay.io/brancz/kube-rbac-proxy:v0.18",
                        "ports": [{"name": "https", "containerPort": 9100}],
                    },
                ]
            ),
            target_port("https"),
        ],
        set(),
    ),
    "half of two at a time": (
        [spec(replicas=2, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}})],
        set(),
    ),
    "all of two at a time by percent": (
        [spec(replicas=2, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "100%"}})],
        {(LOSES, "strategy")},
    ),
    "one of one and a surge": (
        [spec(replicas=1, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}})],
        {(LOSES, "strategy"), (RISKS, "replicas")},
    ),
    "budget of one with the autoscaler's minimum of one": (
        [no_replicas, autoscaler(minReplicas=1), budget(minAvailable=1)],
        {(RISKS, "replicas")},
    ),
    "budget without a selector": ([lambda objects: objects[2].update(spec={"maxUnavailable": 1})], set()),
    "vertical autoscaler that only recommends": (
        [
            spec(replicas=1),
            vertical_autoscaler("Off"),
        ],
        {(RISKS, "replicas")},
    ),
    "vertical autoscaler in place": (
        [
            spec(replicas=1),
            vertical_autoscaler("InPlaceOrRecreate"),
        ],
        {(RISKS, "replicas"), (RISKS, "vertical-autoscaler")},
    ),
    "autoscaler of another API group's workload": (
        [
            no_replicas,
            autoscaler(
                scaleTargetRef={"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}
            ),
        ],
        {(RISKS, "replicas")},
    ),
    "one replica with the same volume for many": (
        [
            spec(replicas=1),
            of_pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]),
            added(
                "v1",
                "PersistentVolumeClaim",
                "d",
                {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
            ),
        ],
        {(RISKS, "replicas")},
    ),
    "one replica with a volume and Recreate and readiness": (
        [
            spec(replicas=1, strategy={"type": "Recreate"}),
            of_pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]),
        ],
        set(),
    ),
    "Service by number of a named port": ([target_port(8000)], set()),
    "Service with a port of a helper and of the server": (
        [
            beside(
                name="exporter",
                image="prom/statsd-exporter",
                ports=[{"name": "metrics", "containerPort": 9102}],
            ),
            of_service(
                ports=[
                    {"name": "http", "port": 80, "targetPort": "http"},
                    {"name": "metrics", "port": 9102, "targetPort": "metrics"},
                ]
            ),
        ],
        set(),
    ),
    "Service with session affinity and a timeout": (
        [of_service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})],
        set(),
    ),
    "internal load balancer": (
        [
            service_annotated({"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}),
            of_service(type="LoadBalancer"),
        ],
        set(),
    ),
    "NLB to addresses with a long hook": (
        [
            service_annotated({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip"}),
            of_service(type="LoadBalancer"),
            hook("sleep", "40"),
            grace(90),
        ],
        set(),
    ),
    "NLB to addresses with a hook of 10 s": (
        [
            service_annotated({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip"}),
            of_service(type="LoadBalancer"),
            hook("sleep", "10"),
        ],
        {(RISKS, "pod-targets")},
    ),
    "NEG written with other spaces": (
        [service_annotated({"cloud.google.com/neg": '{"ingress":true}'}), hook("sleep", "10")],
        {(RISKS, "pod-targets")},
    ),
    "NEG of exposed ports": (
        [service_annotated({"cloud.google.com/neg": '{"exposed_ports": {"80":{}}}'}), hook("sleep", "10")],
        {(RISKS, "pod-targets")},
    ),
    "load balancer class of AWS by instance": (
        [
            service_annotated({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "instance"}),
            of_service(type="LoadBalancer"),
            hook("sleep", "10"),
        ],
        set(),
    ),
    "Service in another namespace with the same selector": (
        [
            added(
                "v1",
                "Service",
                "other",
                {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "nope"}]},
            ),
            lambda objects: objects[-1]["metadata"].update(namespace="elsewhere"),
        ],
        set(),
    ),
    "Endpoints of a Service without a selector": (
        [added("v1", "Service", "db", {"ports": [{"port": 5432}]}), endpoints_of_database],
        set(),
    ),
    "ReplicaSet and Pod beside": (
        [added("v1", "Pod", "p", {"containers": [{"name": "a", "image": "b"}]})],
        set(),
    ),
    "NetworkPolicy and ServiceMonitor beside": (
        [
            added(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                "web",
                {"podSelector": {}, "policyTypes": ["Ingress"]},
            ),
            added(
                "monitoring.coreos.com/v1",
                "ServiceMonitor",
                "m",
                {"selector": {"matchLabels": {"app": "web"}}, "endpoints": [{"port": "http"}]},
            ),
        ],
        set(),
    ),
}
