"""Pods, the routes to them and their replacement, with the findings that count in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    AUTOSCALER,
    GUNICORN,
    WAITS_25,
    Change,
    added,
    beside,
    claim,
    command,
    grace,
    hook,
    image,
    kind,
    no_hook,
    no_probes,
    of_container,
    of_pod,
    pod,
    script,
    spec,
    target_port,
    without_service,
)
from kubectl_lossless.doctor.finding import Severity


def pre_stop(**handler: Any) -> Change:
    return lambda objects: container(objects).update(lifecycle={"preStop": handler})


def readiness(**probe: Any) -> Change:
    return of_container(readinessProbe=probe)


def probe(kind: str, **fields: Any) -> Change:
    return of_container(**{f"{kind}Probe": fields})


def of_service(**fields: Any) -> Change:
    return lambda objects: objects[1]["spec"].update(fields)


def without(*fields: str) -> Change:
    """Remove fields of the container."""

    def change(objects: list[Object]) -> None:
        for each in fields:
            del container(objects)[each]

    return change


def without_budget(objects: list[Object]) -> None:
    del objects[2]


def injected_namespace(objects: list[Object]) -> None:
    """Add the namespace, with the label by which Istio injects its proxy."""
    metadata = {"name": "demo", "labels": {"istio-injection": "enabled"}}
    objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


FAST = {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2}
"""A probe's pace that nothing is said of."""

READY = {"path": "/ready", "port": "http"}
SIDECAR = {
    "name": "proxy",
    "image": "envoyproxy/envoy:v1.30",
    "restartPolicy": "Always",
    "ports": [{"name": "edge", "containerPort": 9000}],
}

PODS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "hook sleep 15 native": ([pre_stop(sleep={"seconds": 15})], set()),
    "hook sleep 0": ([pre_stop(sleep={"seconds": 0})], {(LOSES, "prestop")}),
    "hook sleep 3": ([pre_stop(sleep={"seconds": 3})], {(LOSES, "prestop")}),
    "hook httpGet drain path": ([pre_stop(httpGet={"path": "/drain", "port": "http"})], set()),
    "hook httpGet no path": ([pre_stop(httpGet={"port": 8000})], set()),
    "hook httpGet unknown port name": (
        [pre_stop(httpGet={"path": "/drain", "port": "admin"})],
        {(LOSES, "prestop")},
    ),
    "hook tcpSocket": ([pre_stop(tcpSocket={"port": 8000})], {(LOSES, "prestop")}),
    "hook sh sleep && kill": ([hook("sh", "-c", "sleep 10 && kill -QUIT 1")], set()),
    "hook sh sleep in background": ([hook("sh", "-c", "sleep 15 &")], {(LOSES, "prestop")}),
    "hook bash script file": ([hook("/bin/bash", "/hooks/prestop.sh")], set()),
    "hook script": ([hook("/hooks/prestop.sh")], set()),
    "hook while curl": ([hook("sh", "-c", "while curl -sf localhost:8000/busy; do sleep 1; done")], set()),
    "hook touch file; sleep": ([hook("sh", "-c", "touch /tmp/drain; sleep 20")], set()),
    "hook echo": ([hook("sh", "-c", "echo bye")], {(LOSES, "prestop")}),
    "hook rm ready file only": ([hook("rm", "-f", "/tmp/ready")], set()),
    "hook sleep via /usr/bin": ([hook("/usr/bin/sleep", "20s")], set()),
    "hook sleep 0.5m": ([hook("sleep", "0.5m"), grace(60)], set()),
    "hook sleep 1 m two words": ([hook("sleep", "1", "m")], {(LOSES, "prestop")}),
    "hook nginx quit then sleep": (
        [command("nginx"), hook("sh", "-c", "nginx -s quit; sleep 20")],
        {(LOSES, "prestop")},
    ),
    "hook sh -c unquoted parts": ([hook("sh", "-c", "sleep", "15")], {(LOSES, "prestop")}),
    "hook variable": ([hook("sh", "-c", "sleep ${DELAY:-15}")], set()),
    "hook k8s variable": ([hook("sleep", "$(DELAY)")], {(LOSES, "prestop")}),
    "hook kill -s": ([hook("kill", "-s", "QUIT", "1")], {(LOSES, "prestop")}),
    "hook pkill": ([hook("sh", "-c", "pkill gunicorn")], {(LOSES, "prestop")}),
    "hook python time": ([hook("python3", "-c", "import time; time.sleep(15)")], set()),
    "hook timeout sleep": ([hook("timeout", "20", "sleep", "10")], set()),
    "hook only postStart": (
        [lambda objects: container(objects).update(lifecycle={"postStart": {"exec": {"command": ["true"]}}})],
        {(RISKS, "drain")},
    ),
    "grace 15 hook 15": ([grace(15)], {(LOSES, "grace-period")}),
    "grace 20 hook 15": ([grace(20)], {(RISKS, "grace-period")}),
    "grace 25 hook 15": ([grace(25)], set()),
    "grace 1": ([grace(1)], {(LOSES, "grace-period")}),
    "grace default with hook 25": (
        [lambda objects: pod(objects).pop("terminationGracePeriodSeconds"), hook("sleep", "25")],
        set(),
    ),
    "gunicorn graceful 60 in 60": (
        [command("gunicorn", "a:a", "-k", "gthread", "--keep-alive", "75", "--graceful-timeout", "60")],
        {(RISKS, "grace-period")},
    ),
    "uvicorn graceful 60 in 60": (
        [command("uvicorn", "a:a", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "60")],
        {(RISKS, "grace-period")},
    ),
    "probe grpc": ([readiness(grpc={"port": 8000}, periodSeconds=2, timeoutSeconds=2)], set()),
    "probe exec cat": (
        [readiness(exec={"command": ["cat", "/tmp/ready"]}, periodSeconds=2, timeoutSeconds=2)],
        set(),
    ),
    "no readiness": (
        [without("readinessProbe")],
        {(RISKS, "readiness-probe")},
    ),
    "no readiness with startup only": (
        [without("readinessProbe", "livenessProbe")],
        {(RISKS, "readiness-probe")},
    ),
    "liveness only": (
        [without("readinessProbe", "startupProbe")],
        {(LOSES, "readiness-probe")},
    ),
    "readiness wrong named port": (
        [readiness(httpGet={"path": "/", "port": "web"}, periodSeconds=2, timeoutSeconds=2)],
        {(LOSES, "probe-port")},
    ),
    "readiness other number": (
        [readiness(httpGet={"path": "/", "port": 9000}, periodSeconds=2, timeoutSeconds=2)],
        {(RISKS, "probe-port")},
    ),
    "readiness host set": (
        [
            readiness(
                httpGet={"path": "/", "port": 8000, "host": "127.0.0.1"}, periodSeconds=2, timeoutSeconds=2
            )
        ],
        {(LOSES, "probe-port")},
    ),
    "liveness aggressive": (
        [
            of_container(
                livenessProbe={
                    "httpGet": READY,
                    "periodSeconds": 1,
                    "failureThreshold": 1,
                    "timeoutSeconds": 1,
                }
            )
        ],
        {(RISKS, "liveness-equals-readiness"), (RISKS, "liveness-patience")},
    ),
    "readiness equals liveness": (
        [
            of_container(livenessProbe=None, readinessProbe=None),
            lambda objects: container(objects).update(
                {
                    k: {
                        "httpGet": dict(READY),
                        "periodSeconds": 10,
                        "timeoutSeconds": 2,
                        "failureThreshold": 3,
                    }
                    for k in ("livenessProbe", "readinessProbe")
                }
            ),
        ],
        {(RISKS, "liveness-equals-readiness")},
    ),
    "ports by string number": (
        [readiness(httpGet={"path": "/", "port": "8000"}, periodSeconds=2, timeoutSeconds=2)],
        {(LOSES, "refused")},
    ),
    "headless": ([of_service(clusterIP="None")], set()),
    "headless unready": (
        [of_service(clusterIP="None", publishNotReadyAddresses=True)],
        {(LOSES, "unready-addresses")},
    ),
    "publishNotReady": ([of_service(publishNotReadyAddresses=True)], {(LOSES, "unready-addresses")}),
    "loadbalancer local": (
        [of_service(type="LoadBalancer", externalTrafficPolicy="Local")],
        {(RISKS, "external-traffic-policy")},
    ),
    "loadbalancer cluster": ([of_service(type="LoadBalancer")], set()),
    "session affinity": ([of_service(sessionAffinity="ClientIP")], set()),
    "external name": (
        [added("v1", "Service", "ext", {"type": "ExternalName", "externalName": "x.test"})],
        set(),
    ),
    "service without selector": ([added("v1", "Service", "manual", {"ports": [{"port": 1}]})], set()),
    "service of nobody": (
        [added("v1", "Service", "other", {"selector": {"app": "other"}, "ports": [{"port": 1}]})],
        set(),
    ),
    "service near miss": (
        [of_service(selector={"app": "web", "tier": "front"})],
        {(LOSES, "service-selector")},
    ),
    "second service same pods": (
        [
            added(
                "v1",
                "Service",
                "metrics",
                {"selector": {"app": "web"}, "ports": [{"port": 9090, "targetPort": 9090}]},
            )
        ],
        set(),
    ),
    "targetPort wrong name": ([target_port("htpp")], {(LOSES, "target-port")}),
    "targetPort of a native sidecar": (
        [
            of_pod(
                initContainers=[
                    {
                        "name": "proxy",
                        "image": "envoyproxy/envoy:1",
                        "restartPolicy": "Always",
                        "ports": [{"name": "edge", "containerPort": 9000}],
                    }
                ]
            ),
            target_port("edge"),
        ],
        set(),
    ),
    "hostNetwork": ([of_pod(hostNetwork=True)], {(RISKS, "host-port")}),
    "hostPort": (
        [of_container(ports=[{"name": "http", "containerPort": 8000, "hostPort": 80}])],
        {(RISKS, "host-port")},
    ),
    "percent 100": ([spec(strategy={"rollingUpdate": {"maxUnavailable": "100%"}})], {(LOSES, "strategy")}),
    "percent 25 of 3": (
        [spec(strategy={"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})],
        set(),
    ),
    "percent 34 of 3": (
        [spec(strategy={"rollingUpdate": {"maxUnavailable": "34%", "maxSurge": "25%"}})],
        set(),
    ),
    "both zero": (
        [spec(strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}})],
        {(LOSES, "refused")},
    ),
    "replicas 1 default strategy": ([spec(replicas=1, strategy=None)], {(RISKS, "replicas")}),
    "replicas 1 pdb min 1": (
        [
            spec(replicas=1),
            without_budget,
            added(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            ),
        ],
        {(RISKS, "replicas")},
    ),
    "pdb min 100%": (
        [
            without_budget,
            added(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                {"minAvailable": "100%", "selector": {"matchLabels": {"app": "web"}}},
            ),
        ],
        set(),
    ),
    "pdb maxUnavailable 0": (
        [
            without_budget,
            added(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}},
            ),
        ],
        set(),
    ),
    "pdb min 3 of 3": (
        [
            without_budget,
            added(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}},
            ),
        ],
        set(),
    ),
    "pdb min 2 of 3": (
        [
            without_budget,
            added(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
            ),
        ],
        set(),
    ),
    "pdb 50%": (
        [
            without_budget,
            added(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}},
            ),
        ],
        set(),
    ),
    "hpa without replicas": (
        [
            lambda objects: objects[0]["spec"].pop("replicas"),
            added("autoscaling/v2", "HorizontalPodAutoscaler", "web", AUTOSCALER),
        ],
        set(),
    ),
    "hpa min 1 no replicas": (
        [
            lambda objects: objects[0]["spec"].pop("replicas"),
            added("autoscaling/v2", "HorizontalPodAutoscaler", "web", {**AUTOSCALER, "minReplicas": 1}),
        ],
        {(RISKS, "replicas")},
    ),
    "recreate one replica": (
        [spec(replicas=1, strategy={"type": "Recreate"})],
        {(LOSES, "strategy"), (RISKS, "replicas")},
    ),
    "hpa of another": (
        [
            added(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                "x",
                {
                    **AUTOSCALER,
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
                },
            )
        ],
        set(),
    ),
    "hpa v1": (
        [
            added(
                "autoscaling/v1",
                "HorizontalPodAutoscaler",
                "web",
                {**AUTOSCALER, "targetCPUUtilizationPercentage": 50},
            )
        ],
        {(RISKS, "replicas-and-autoscaler")},
    ),
    "minReady eq deadline": ([spec(minReadySeconds=600)], {(LOSES, "progress-deadline")}),
    "deadline 10 minready 15": ([spec(progressDeadlineSeconds=10)], {(LOSES, "progress-deadline")}),
    "paused": ([spec(paused=True)], set()),
    "sts OnDelete": (
        [
            kind("StatefulSet", "strategy", "progressDeadlineSeconds"),
            spec(updateStrategy={"type": "OnDelete"}),
        ],
        set(),
    ),
    "sts 1 replica": (
        [kind("StatefulSet", "strategy", "progressDeadlineSeconds"), spec(replicas=1)],
        {(LOSES, "replicas")},
    ),
    "sts postgres": (
        [
            kind("StatefulSet", "strategy", "progressDeadlineSeconds"),
            spec(replicas=1, volumeClaimTemplates=[claim("d")]),
            image("postgres:16"),
            of_container(command=[]),
        ],
        set(),
    ),
    "ds maxUnavailable 100%": (
        [
            kind("DaemonSet", "strategy", "replicas", "progressDeadlineSeconds"),
            spec(updateStrategy={"rollingUpdate": {"maxUnavailable": "100%"}}),
        ],
        {(LOSES, "strategy")},
    ),
    "native sidecar in front": ([of_pod(initContainers=[SIDECAR]), target_port("edge")], set()),
    "cloudsql proxy beside": (
        [beside(name="cloudsql", image="gcr.io/cloud-sql-connectors/cloud-sql-proxy:2")],
        {(RISKS, "plain-sidecar")},
    ),
    "fluentbit beside": ([beside(name="fluent-bit", image="fluent/fluent-bit:3")], set()),
    "vault agent beside": ([beside(name="vault-agent", image="hashicorp/vault:1")], set()),
    "oauth2-proxy in front": (
        [
            beside(name="auth", image="oauth2-proxy:7", ports=[{"name": "auth", "containerPort": 4180}]),
            target_port("auth"),
        ],
        {(LOSES, "plain-sidecar")},
    ),
    "oauth2-proxy with sleep": (
        [
            beside(
                name="auth",
                image="oauth2-proxy:7",
                ports=[{"name": "auth", "containerPort": 4180}],
                lifecycle=WAITS_25,
            ),
            target_port("auth"),
            hook("sleep", "15"),
        ],
        set(),
    ),
    "init chown": (
        [
            of_pod(
                initContainers=[{"name": "c", "image": "busybox", "command": ["sh", "-c", "chown -R 1 /d"]}]
            )
        ],
        set(),
    ),
    "istio injected revision label": (
        [
            lambda objects: objects[0]["spec"]["template"]["metadata"]["labels"].update(
                {"istio.io/rev": "stable"}
            )
        ],
        {(RISKS, "injected-proxy")},
    ),
    "istio inject label": (
        [
            lambda objects: objects[0]["spec"]["template"]["metadata"]["labels"].update(
                {"sidecar.istio.io/inject": "true"}
            )
        ],
        {(RISKS, "injected-proxy")},
    ),
    "istio ns label": ([injected_namespace], {(RISKS, "injected-proxy")}),
    "migrations in command": ([script(f"python manage.py migrate && exec {GUNICORN}")], set()),
    "rabbitmq deployment": ([image("rabbitmq:3"), spec(replicas=1), of_container(command=[])], set()),
    "memcached": ([image("memcached:1"), spec(replicas=1), of_container(command=[])], set()),
    "worker with health port": ([command("celery", "-A", "a", "worker"), without_service], set()),
    "sidekiq": (
        [command("bundle", "exec", "sidekiq"), without_service, of_container(ports=[]), no_probes],
        set(),
    ),
    "consumer python unknown no ports": (
        [command("python", "consumer.py"), without_service, of_container(ports=[]), no_probes, no_hook],
        set(),
    ),
    "cron-like bot": ([command("/bot"), without_service, of_container(ports=[]), no_probes, no_hook], set()),
    "metrics port only, no service": (
        [
            command("/consumer"),
            without_service,
            of_container(ports=[{"name": "metrics", "containerPort": 9090}]),
            no_probes,
            no_hook,
        ],
        set(),
    ),
    "cpu limit equals": (
        [of_container(resources={"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}})],
        {(RISKS, "cpu-limit")},
    ),
    "cpu limit roomy": ([of_container(resources={"limits": {"cpu": "4"}, "requests": {"cpu": "1"}})], set()),
    # API versions.
    "deployment of an old API": (
        [lambda objects: objects[0].update(apiVersion="extensions/v1beta1")],
        {(LOSES, "refused")},
    ),
    "deployment without an API": ([lambda objects: objects[0].pop("apiVersion")], {(LOSES, "refused")}),
    "deployment of the core API": (
        [lambda objects: objects[0].update(apiVersion="v1")],
        {(LOSES, "refused")},
    ),
    "deployment of an API to come": (
        [lambda objects: objects[0].update(apiVersion="apps/v2")],
        {(LOSES, "refused")},
    ),
    "budget without an API": ([lambda objects: objects[2].pop("apiVersion")], {(LOSES, "refused")}),
    "autoscaler of an old API": (
        [spec(replicas=None), added("autoscaling/v2beta2", "HorizontalPodAutoscaler", "web", AUTOSCALER)],
        {(LOSES, "refused")},
    ),
    "budget with both limits": (
        [lambda objects: objects[2]["spec"].update(minAvailable=1)],
        {(LOSES, "refused")},
    ),
    "port's name twice": (
        [
            of_container(
                ports=[{"name": "http", "containerPort": 8000}, {"name": "http", "containerPort": 8001}]
            )
        ],
        {(LOSES, "refused")},
    ),
    "two handlers of a hook": (
        [pre_stop(sleep={"seconds": 15}, exec={"command": ["sleep", "15"]})],
        {(LOSES, "refused")},
    ),
    "target port in quotes": ([target_port("8000")], {(LOSES, "refused")}),
    "Recreate with rollingUpdate": (
        [spec(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})],
        {(LOSES, "refused"), (LOSES, "strategy")},
    ),
    "liveness probe with two successes": (
        [
            of_container(
                livenessProbe={
                    "httpGet": {"path": "/alive", "port": "http"},
                    "timeoutSeconds": 5,
                    "successThreshold": 2,
                }
            )
        ],
        {(LOSES, "refused")},
    ),
}
