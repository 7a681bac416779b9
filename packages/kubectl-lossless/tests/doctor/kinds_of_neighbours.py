"""What scales a workload or routes to it, with settings of its own, and the findings that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object
from doctor.kinds import AUTOSCALER, Change, added, command, ingress, no_hook, of_container, spec
from kubectl_lossless.doctor.finding import Severity

UVICORN_75 = command("uvicorn", "shop:app", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "20")
UVICORN_45 = command("uvicorn", "shop:app", "--timeout-keep-alive", "45", "--timeout-graceful-shutdown", "20")


def no_replicas(objects: list[Object]) -> None:
    del objects[0]["spec"]["replicas"]


def of_http(**replicas: int) -> Change:
    """Add an HTTPScaledObject of KEDA."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "service": "web", "port": 80}
    fields: Object = {"hosts": ["shop.test"], "scaleTargetRef": target}
    if replicas:
        fields["replicas"] = replicas
    return added("http.keda.sh/v1alpha1", "HTTPScaledObject", "web", fields)


def paused(pods: str, **fields: Any) -> Change:
    """Add a ScaledObject of KEDA that is paused at a number of pods."""
    target = {"scaleTargetRef": {"name": "web"}, "triggers": [{"type": "cpu", "metadata": {"value": "50"}}]}
    annotations = {"autoscaling.keda.sh/paused-replicas": pods}
    return added("keda.sh/v1alpha1", "ScaledObject", "web", {**target, **fields}, annotations)


def budget(**fields: Any) -> Change:
    return lambda objects: objects[2]["spec"].update(fields)


def load_balancer(attributes: str) -> Change:
    annotations = {"alb.ingress.kubernetes.io/load-balancer-attributes": attributes}

    def change(objects: list[Object]) -> None:
        ingress("web", {"number": 80}, annotations)(objects)
        objects[-1]["spec"]["ingressClassName"] = "alb"

    return change


def http_proxy(*policies: Object) -> Change:
    """Add an HTTPProxy with a route for each of the timeout policies."""
    services = [{"name": "web", "port": 80}]
    found = [{"services": services, **({"timeoutPolicy": each} if each else {})} for each in policies]
    return added(
        "projectcontour.io/v1", "HTTPProxy", "web", {"virtualhost": {"fqdn": "a.test"}, "routes": found}
    )


def envoy_gateway(timeout: str = "", kind: str = "", name: str = "") -> list[Change]:
    """Route through Envoy Gateway, with a policy for the object of a kind and name."""
    api, controller = "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/gatewayclass-controller"
    rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
    found = [
        added(api, "GatewayClass", "eg", {"controllerName": controller}),
        added(api, "Gateway", "gw", {"gatewayClassName": "eg", "listeners": []}),
        added(api, "HTTPRoute", "web", {"parentRefs": [{"name": "gw"}], "rules": rules}),
    ]
    if timeout:
        target = {"group": "gateway.networking.k8s.io", "kind": kind, "name": name}
        fields = {"targetRefs": [target], "timeout": {"http": {"connectionIdleTimeout": timeout}}}
        found.append(added("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy", "web", fields))
    return found


def asked_by_grpc(port: int) -> Change:
    probe = {"grpc": {"port": port}, "periodSeconds": 2, "timeoutSeconds": 2}
    return of_container(readinessProbe=probe)


def only_metrics(objects: list[Object]) -> None:
    """Let the Service lead to metrics, at the port whose name does not show that."""
    of_container(ports=[{"containerPort": 8000}])(objects)
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        objects[0]["spec"]["template"]["spec"]["containers"][0][probe]["httpGet"]["port"] = 8000
    objects[1]["spec"]["ports"] = [{"name": "metrics", "port": 8000, "targetPort": 8000}]


ONE = {"minReplicas": 1, "maxReplicas": 1}

NEIGHBOURS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    # KEDA's interceptor holds requests until there is a pod.
    "HTTPScaledObject of the default": ([no_replicas, of_http()], set()),
    "HTTPScaledObject of none": ([no_replicas, of_http(min=0, max=9)], set()),
    "HTTPScaledObject of one": ([no_replicas, of_http(min=1, max=9)], {(RISKS, "replicas")}),
    "HTTPScaledObject of two": ([no_replicas, of_http(min=2, max=9)], set()),
    "HTTPScaledObject beside replicas": (
        [of_http(min=2, max=9)],
        {(RISKS, "replicas-and-autoscaler")},
    ),
    "HTTPScaledObject of one alone": ([no_replicas, of_http(min=1, max=1)], {(RISKS, "replicas")}),
    "autoscaler of one alone": (
        [no_replicas, added("autoscaling/v2", "HorizontalPodAutoscaler", "web", {**AUTOSCALER, **ONE})],
        {(RISKS, "replicas")},
    ),
    # KEDA holds a paused workload at the annotation's number, whatever its minimum is.
    "ScaledObject of two paused at one": (
        [no_replicas, paused("1", minReplicaCount=2, maxReplicaCount=9)],
        {(RISKS, "replicas")},
    ),
    "ScaledObject of none paused at three": ([no_replicas, paused("3", maxReplicaCount=9)], set()),
    "ScaledObject of two paused at none": ([no_replicas, paused("0", minReplicaCount=2)], set()),
    "budget with an eviction policy in small letters": (
        [budget(unhealthyPodEvictionPolicy="alwaysAllow")],
        {(LOSES, "refused")},
    ),
    "budget with the other eviction policy": ([budget(unhealthyPodEvictionPolicy="IfHealthyBudget")], set()),
    "controller of which a Service has the metrics": ([only_metrics, no_hook, spec(replicas=1)], set()),
    "JupyterHub's proxy, which keeps its routes in memory": (
        [
            command("configurable-http-proxy", "--port=8000"),
            no_hook,
            spec(replicas=1, strategy={"type": "Recreate"}),
        ],
        set(),
    ),
    "probe by gRPC at a port that is not declared": ([asked_by_grpc(9999)], {(RISKS, "probe-port")}),
    "probe by gRPC at the port": ([asked_by_grpc(8000)], set()),
    # Timeouts of idle connections that routes set.
    "ALB with an idle timeout of 120 s": (
        [UVICORN_75, load_balancer("idle_timeout.timeout_seconds=120")],
        {(RISKS, "keepalive")},
    ),
    "ALB with an idle timeout of 60 s": (
        [UVICORN_75, load_balancer("idle_timeout.timeout_seconds=60")],
        set(),
    ),
    "ALB with an idle timeout among others": (
        [UVICORN_75, load_balancer("routing.http2.enabled=true,idle_timeout.timeout_seconds=600")],
        {(RISKS, "keepalive")},
    ),
    "ALB with an idle timeout of 30 s": (
        [UVICORN_45, load_balancer("idle_timeout.timeout_seconds=30")],
        set(),
    ),
    "HTTPProxy with an idle timeout of 30 s": ([UVICORN_75, http_proxy({"idleConnection": "30s"})], set()),
    "HTTPProxy with an idle timeout of 100 s": (
        [UVICORN_75, http_proxy({"idleConnection": "100s"})],
        {(RISKS, "keepalive")},
    ),
    "HTTPProxy without an idle timeout": ([UVICORN_75, http_proxy({})], {(RISKS, "keepalive")}),
    "HTTPProxy with an infinite idle timeout": (
        [UVICORN_75, http_proxy({"idleConnection": "infinity"})],
        {(RISKS, "keepalive")},
    ),
    "HTTPProxy with an idle timeout in one of two routes": (
        [UVICORN_75, http_proxy({"idleConnection": "30s"}, {})],
        {(RISKS, "keepalive")},
    ),
    "Envoy Gateway without a policy": ([UVICORN_75, *envoy_gateway()], {(RISKS, "keepalive")}),
    "Envoy Gateway with a policy of the route": (
        [UVICORN_75, *envoy_gateway("30s", "HTTPRoute", "web")],
        set(),
    ),
    "Envoy Gateway with a policy of the Gateway": (
        [UVICORN_75, *envoy_gateway("30s", "Gateway", "gw")],
        set(),
    ),
    "Envoy Gateway with a policy of another route": (
        [UVICORN_75, *envoy_gateway("30s", "HTTPRoute", "other")],
        {(RISKS, "keepalive")},
    ),
}
