"""Manifests that the API server refuses, with what counts in them for the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import Change, added, beside, ingress, kind, of_container, of_pod, spec
from doctor.kinds_of_objects import autoscaler, http_route, path_of
from doctor.kinds_of_pods import FAST, of_service, readiness
from doctor.kinds_of_updates import no_replicas
from kubectl_lossless.doctor.finding import Severity

REFUSED = {(LOSES, "refused")}

BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def ingress_path(api: str = "networking.k8s.io/v1", **path: Any) -> Change:
    """Add an Ingress with one path to the Service."""
    fields: Object = {"rules": [{"http": {"paths": [{"path": "/", "backend": BACKEND, **path}]}}]}
    return added(api, "Ingress", "web", {"ingressClassName": "nginx", **fields})


def paths_of(ingress: Object) -> list[Object]:
    found: list[Object] = ingress["spec"]["rules"][0]["http"]["paths"]
    return found


def config(**strategy: Any) -> Sequence[Change]:
    """Return a DeploymentConfig with a strategy."""

    def change(objects: list[Object]) -> None:
        objects[0]["apiVersion"] = "apps.openshift.io/v1"

    labels = {"app": "web"}
    return [
        kind("DeploymentConfig", "progressDeadlineSeconds"),
        change,
        spec(strategy=strategy, selector=labels),
    ]


def mounts(*entries: Object) -> Sequence[Change]:
    """Mount the volume v."""
    return [of_pod(volumes=[{"name": "v", "emptyDir": {}}]), of_container(volumeMounts=list(entries))]


REFUSALS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "Ingress path without pathType": ([ingress_path()], REFUSED),
    "Ingress regular expression without pathType": ([ingress_path(path="/api(/|$)(.*)")], REFUSED),
    "Ingress pathType in small letters": ([ingress_path(pathType="prefix")], REFUSED),
    "Ingress path without a slash": ([ingress_path(path="api", pathType="Prefix")], REFUSED),
    "Ingress pathType Exact": ([ingress_path(pathType="Exact")], set()),
    "Ingress pathType of a controller alone": (
        [ingress_path(path="", pathType="ImplementationSpecific")],
        set(),
    ),
    "Ingress backend of v1beta1 in v1": (
        [ingress_path(pathType="Prefix", backend={"serviceName": "web", "servicePort": 80})],
        REFUSED,
    ),
    "Ingress backend without a port": (
        [ingress_path(pathType="Prefix", backend={"service": {"name": "web"}})],
        REFUSED,
    ),
    "strategy RollingUpdate of a DeploymentConfig": (
        config(type="RollingUpdate", rollingParams={"maxSurge": 1, "maxUnavailable": 0}),
        REFUSED,
    ),
    "strategy Custom of a DeploymentConfig": (
        config(
            type="Custom", customParams={"image": "x"}, rollingParams={"maxSurge": 1, "maxUnavailable": 0}
        ),
        set(),
    ),
    "probe port as a number in quotes": ([readiness(httpGet={"path": "/", "port": "8000"}, **FAST)], REFUSED),
    "volume that is mounted and not there": (
        [of_container(volumeMounts=[{"name": "cfg", "mountPath": "/etc/x"}])],
        REFUSED,
    ),
    "two volumes of a name": (
        [of_pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}])],
        REFUSED,
    ),
    "container's name in capitals": ([of_container(name="Web")], REFUSED),
    "container's name with an underscore": ([beside(name="my_sidecar")], REFUSED),
    "label of the template with a space": (
        [lambda objects: objects[0]["spec"]["template"]["metadata"]["labels"].update(team="a b")],
        REFUSED,
    ),
    "environment variable with value and valueFrom": (
        [
            of_container(
                env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
            )
        ],
        REFUSED,
    ),
    "requests above limits": (
        [of_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})],
        REFUSED,
    ),
    "memory request above its limit": (
        [of_container(resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}})],
        REFUSED,
    ),
    "pull policy misspelt": ([of_container(imagePullPolicy="always")], REFUSED),
    "selector without matchLabels": ([spec(selector={"app": "web"})], REFUSED),
    "selector of no labels": ([spec(selector={"matchLabels": {}})], REFUSED),
    "ClusterIP with externalTrafficPolicy": ([of_service(externalTrafficPolicy="Local")], REFUSED),
    "externalTrafficPolicy local in small letters": (
        [of_service(type="LoadBalancer", externalTrafficPolicy="local")],
        {*REFUSED, (RISKS, "external-traffic-policy")},
    ),
    "Service of an unknown type": ([of_service(type="Loadbalancer")], REFUSED),
    "port's name in capitals in a Service": (
        [lambda objects: objects[1]["spec"]["ports"][0].update(name="HTTP")],
        REFUSED,
    ),
    "Service with nodePort in a ClusterIP": (
        [lambda objects: objects[1]["spec"]["ports"][0].update(nodePort=30080)],
        REFUSED,
    ),
    "nodePort twice": (
        [
            of_service(
                type="NodePort",
                ports=[
                    {"name": "a", "port": 80, "targetPort": "http", "nodePort": 30080},
                    {"name": "b", "port": 81, "targetPort": "http", "nodePort": 30080},
                ],
            )
        ],
        REFUSED,
    ),
    "LoadBalancer Service with clusterIP None": (
        [of_service(type="LoadBalancer", clusterIP="None")],
        REFUSED,
    ),
    "Service without ports": ([of_service(ports=[])], REFUSED),
    "Service name with a digit first": (
        [lambda objects: objects[1]["metadata"].update(name="1web")],
        REFUSED,
    ),
    "protocol in small letters": (
        [lambda objects: objects[1]["spec"]["ports"][0].update(protocol="tcp")],
        REFUSED,
    ),
    "container's protocol in small letters": (
        [lambda objects: container(objects)["ports"][0].update(protocol="tcp")],
        REFUSED,
    ),
    "HTTPRoute backend without a port": ([http_route({"name": "web"})], REFUSED),
    "Ingress port by number and name": ([ingress("web", {"number": 80, "name": "http"})], REFUSED),
    "Ingress host with a port": (
        [
            added(
                "networking.k8s.io/v1",
                "Ingress",
                "web",
                {
                    "ingressClassName": "nginx",
                    "rules": [{"host": "a.test:443", "http": {"paths": [path_of("web", "/")]}}],
                },
            )
        ],
        REFUSED,
    ),
    "autoscaler without maxReplicas": ([no_replicas, autoscaler(maxReplicas=None)], REFUSED),
    "StatefulSet with a pod management misspelt": (
        [kind("StatefulSet", "strategy"), spec(serviceName="web", podManagementPolicy="parallel")],
        REFUSED,
    ),
    "nodePort of a low number": (
        [of_service(type="NodePort", ports=[{"port": 80, "targetPort": "http", "nodePort": 8080}])],
        REFUSED,
    ),
    "nodePort in its range": (
        [of_service(type="NodePort", ports=[{"port": 80, "targetPort": "http", "nodePort": 30080}])],
        set(),
    ),
    "container without an image": ([lambda objects: container(objects).pop("image")], REFUSED),
    "variable with an equals sign": ([of_container(env=[{"name": "A=B", "value": "1"}])], REFUSED),
    "variable with dashes and dots": ([of_container(env=[{"name": "my-var.x", "value": "1"}])], set()),
    "variable from two sources": (
        [
            of_container(
                env=[
                    {
                        "name": "A",
                        "valueFrom": {
                            "secretKeyRef": {"name": "s", "key": "k"},
                            "configMapKeyRef": {"name": "c", "key": "k"},
                        },
                    }
                ]
            )
        ],
        REFUSED,
    ),
    "mount without a path": (mounts({"name": "v"}), REFUSED),
    "two mounts at one path": (
        mounts({"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a", "subPath": "b"}),
        REFUSED,
    ),
    "two mounts of one volume": (
        mounts({"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b", "subPath": "b"}),
        set(),
    ),
    "volume of two kinds": (
        [of_pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}])],
        REFUSED,
    ),
    "volume of no kind": ([of_pod(volumes=[{"name": "v"}])], set()),
    "label with a space in its name": (
        [lambda objects: objects[0]["spec"]["template"]["metadata"]["labels"].update({"a b": "x"})],
        REFUSED,
    ),
    "Service port without a number": ([lambda objects: objects[1]["spec"]["ports"][0].pop("port")], REFUSED),
    "Ingress path without a backend": (
        [
            ingress("web", {"number": 80}),
            lambda objects: paths_of(objects[-1]).append({"path": "/x", "pathType": "Prefix"}),
        ],
        REFUSED,
    ),
    "annotation with two slashes": (
        [lambda objects: objects[0]["metadata"].update(annotations={"a/b/c": "x"})],
        REFUSED,
    ),
    "annotation with a domain": (
        [lambda objects: objects[0]["metadata"].update(annotations={"a.example.com/b_c": "x"})],
        set(),
    ),
}
