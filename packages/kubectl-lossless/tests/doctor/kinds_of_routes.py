"""Routes, Services, probes and autoscalers, with what counts in them for the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import AUTOSCALER, Change, added, command, ingress, kind, of_container, of_pod, spec
from doctor.kinds_of_hooks import UVICORN
from doctor.kinds_of_pods import readiness, without_budget
from kubectl_lossless.doctor.finding import Severity

DAEMON_SET = (kind("DaemonSet", "strategy", "replicas"), without_budget)


def anti_affinity(app: str, **fields: Any) -> Object:
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": app}},
        **fields,
    }
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


ANTI_OTHER = anti_affinity("db")
ANTI_HASH = anti_affinity("web", matchLabelKeys=["pod-template-hash"])


def ingress_route(
    services: list[Object], kind: str = "IngressRoute", api: str = "traefik.io/v1alpha1"
) -> Change:
    rule = {"match": "Host(`a.test`)", "kind": "Rule", "services": services}
    return added(api, kind, "web", {"entryPoints": ["web"], "routes": [rule]})


def http_proxy(services: list[Object]) -> Change:
    rule = {"conditions": [{"prefix": "/"}], "services": services}
    fields = {"virtualhost": {"fqdn": "a.test"}, "routes": [rule]}
    return added("projectcontour.io/v1", "HTTPProxy", "web", fields)


def virtual_service(*destinations: Object, api: str = "networking.istio.io/v1beta1") -> Change:
    rule = {"route": [{"destination": each} for each in destinations]}
    return added(api, "VirtualService", "web", {"hosts": ["a.test"], "gateways": ["edge"], "http": [rule]})


def destination_rule(**fields: Any) -> Change:
    return added("networking.istio.io/v1", "DestinationRule", "web", {"host": "web", **fields})


ROUTES: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "ingressroute": ([ingress_route([{"name": "web", "port": 80}])], set()),
    "ingressroute wrong port": (
        [ingress_route([{"name": "web", "port": 8080}])],
        {(LOSES, "ingress-backend")},
    ),
    "ingressroute missing Service": (
        [ingress_route([{"name": "wbe", "port": 80}])],
        {(RISKS, "ingress-backend")},
    ),
    "ingressroute old group": (
        [ingress_route([{"name": "web", "port": 8080}], api="traefik.containo.us/v1alpha1")],
        {(LOSES, "ingress-backend")},
    ),
    "ingressroute TraefikService": ([ingress_route([{"name": "weighted", "kind": "TraefikService"}])], set()),
    "ingressroute other namespace": (
        [ingress_route([{"name": "else", "namespace": "other", "port": 1}])],
        set(),
    ),
    "ingressroute port by unknown name": (
        [ingress_route([{"name": "web", "port": "http"}])],
        {(LOSES, "ingress-backend")},
    ),
    "ingressroutetcp wrong port": (
        [ingress_route([{"name": "web", "port": 5432}], kind="IngressRouteTCP")],
        {(LOSES, "ingress-backend")},
    ),
    "ingressroute keepalive 75": (
        [command(*UVICORN), ingress_route([{"name": "web", "port": 80}])],
        {(RISKS, "keepalive")},
    ),
    "httpproxy": ([http_proxy([{"name": "web", "port": 80}])], set()),
    "httpproxy wrong port": ([http_proxy([{"name": "web", "port": 8000}])], {(LOSES, "ingress-backend")}),
    "httpproxy missing Service": (
        [http_proxy([{"name": "webapp", "port": 80}])],
        {(RISKS, "ingress-backend")},
    ),
    "httpproxy includes only": (
        [
            added(
                "projectcontour.io/v1",
                "HTTPProxy",
                "root",
                {"virtualhost": {"fqdn": "a.test"}, "includes": [{"name": "web", "namespace": "x"}]},
            )
        ],
        set(),
    ),
    "httpproxy tcpproxy wrong port": (
        [
            added(
                "projectcontour.io/v1",
                "HTTPProxy",
                "t",
                {"virtualhost": {"fqdn": "a.test"}, "tcpproxy": {"services": [{"name": "web", "port": 443}]}},
            )
        ],
        {(LOSES, "ingress-backend")},
    ),
    "virtualservice": ([virtual_service({"host": "web", "port": {"number": 80}})], set()),
    "virtualservice fqdn": ([virtual_service({"host": "web.demo.svc.cluster.local"})], set()),
    "virtualservice wrong port": (
        [virtual_service({"host": "web", "port": {"number": 8000}})],
        {(LOSES, "ingress-backend")},
    ),
    "virtualservice fqdn wrong port": (
        [virtual_service({"host": "web.demo.svc.cluster.local", "port": {"number": 8000}})],
        {(LOSES, "ingress-backend")},
    ),
    "virtualservice missing Service": ([virtual_service({"host": "wbe"})], {(RISKS, "ingress-backend")}),
    "virtualservice external host": ([virtual_service({"host": "api.example.com"})], set()),
    "virtualservice other namespace": ([virtual_service({"host": "x.other.svc.cluster.local"})], set()),
    "virtualservice subset": (
        [
            virtual_service({"host": "web", "subset": "v1"}),
            destination_rule(subsets=[{"name": "v1", "labels": {"app": "web"}}]),
        ],
        set(),
    ),
    "virtualservice subset that is not there": (
        [
            virtual_service({"host": "web", "subset": "v2"}),
            destination_rule(subsets=[{"name": "v1", "labels": {"app": "web"}}]),
        ],
        {(LOSES, "ingress-backend")},
    ),
    "virtualservice of old api": (
        [virtual_service({"host": "web", "port": {"number": 81}}, api="networking.istio.io/v1alpha3")],
        {(LOSES, "ingress-backend")},
    ),
    "virtualservice keepalive with a rule": (
        [
            command(*UVICORN),
            virtual_service({"host": "web"}),
            destination_rule(trafficPolicy={"connectionPool": {"http": {"idleTimeout": "60s"}}}),
        ],
        set(),
    ),
    "openshift route": (
        [
            added(
                "route.openshift.io/v1",
                "Route",
                "web",
                {"to": {"kind": "Service", "name": "web"}, "port": {"targetPort": 8000}},
            )
        ],
        set(),
    ),
    "openshift route missing Service": (
        [added("route.openshift.io/v1", "Route", "web", {"to": {"kind": "Service", "name": "wbe"}})],
        {(RISKS, "ingress-backend")},
    ),
    "tlsroute wrong port": (
        [
            added(
                "gateway.networking.k8s.io/v1alpha2",
                "TLSRoute",
                "web",
                {
                    "parentRefs": [{"name": "edge"}],
                    "rules": [{"backendRefs": [{"name": "web", "port": 443}]}],
                },
            )
        ],
        {(LOSES, "ingress-backend")},
    ),
    "ingress port by name": ([ingress("web", {"name": "http"})], {(LOSES, "ingress-backend")}),
    "ingress default backend": (
        [
            added(
                "networking.k8s.io/v1",
                "Ingress",
                "web",
                {
                    "ingressClassName": "nginx",
                    "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
                },
            )
        ],
        set(),
    ),
    "ingress resource backend": (
        [
            added(
                "networking.k8s.io/v1",
                "Ingress",
                "web",
                {
                    "ingressClassName": "nginx",
                    "defaultBackend": {
                        "resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "b"}
                    },
                },
            )
        ],
        set(),
    ),
    "ingress canary of nginx": (
        [
            ingress(
                "web",
                {"number": 80},
                {
                    "nginx.ingress.kubernetes.io/canary": "true",
                    "nginx.ingress.kubernetes.io/canary-weight": "10",
                },
            )
        ],
        set(),
    ),
    "ingress haproxy class": (
        [
            ingress("web", {"number": 80}),
            lambda objects: objects[-1]["spec"].update(ingressClassName="haproxy"),
        ],
        set(),
    ),
    "ingress nginx use-annotation": (
        [
            ingress(
                "ssl-redirect",
                {"name": "use-annotation"},
                {"alb.ingress.kubernetes.io/actions.ssl-redirect": "{}"},
            )
        ],
        set(),
    ),
    "service two ports without names": (
        [
            lambda objects: objects[1]["spec"].update(
                ports=[{"port": 80, "targetPort": "http"}, {"port": 443, "targetPort": "http"}]
            )
        ],
        {(LOSES, "refused")},
    ),
    "service port twice": (
        [
            lambda objects: objects[1]["spec"].update(
                ports=[
                    {"name": "a", "port": 80, "targetPort": "http"},
                    {"name": "b", "port": 80, "targetPort": "http"},
                ]
            )
        ],
        {(LOSES, "refused")},
    ),
    "service external name with selector": (
        [
            added(
                "v1",
                "Service",
                "ext",
                {"type": "ExternalName", "externalName": "a.b", "selector": {"app": "web"}},
            )
        ],
        set(),
    ),
    "gossip ring unready beside a Service": (
        [
            added(
                "v1",
                "Service",
                "web-gossip",
                {
                    "clusterIP": "None",
                    "publishNotReadyAddresses": True,
                    "selector": {"app": "web"},
                    "ports": [{"name": "gossip", "port": 7946}],
                },
            )
        ],
        set(),
    ),
    "probe at an undeclared port beside two declared": (
        [
            of_container(
                ports=[{"name": "http", "containerPort": 8000}, {"name": "https", "containerPort": 8443}]
            ),
            readiness(httpGet={"path": "/ready", "port": 10254}, periodSeconds=2, timeoutSeconds=2),
        ],
        set(),
    ),
    "probe at a port of the command line": (
        [
            command("/srv/server", "--health-probe-bind-address=:8081"),
            readiness(httpGet={"path": "/ready", "port": 8081}, periodSeconds=2, timeoutSeconds=2),
        ],
        set(),
    ),
    "httproute to a Service that is not there": (
        [
            added(
                "gateway.networking.k8s.io/v1",
                "HTTPRoute",
                "web",
                {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "wbe", "port": 80}]}]},
            )
        ],
        {(RISKS, "ingress-backend")},
    ),
    "probe host is the node": (
        [
            readiness(
                httpGet={"path": "/ready", "port": 8000, "host": "127.0.0.1"},
                periodSeconds=2,
                timeoutSeconds=2,
            )
        ],
        {(LOSES, "probe-port")},
    ),
    "probe host with hostNetwork": (
        [
            *DAEMON_SET,
            of_pod(hostNetwork=True),
            readiness(
                httpGet={"path": "/ready", "port": 8000, "host": "127.0.0.1"},
                periodSeconds=2,
                timeoutSeconds=2,
            ),
        ],
        set(),
    ),
    "probe https": (
        [
            readiness(
                httpGet={"path": "/ready", "port": 8000, "scheme": "HTTPS"}, periodSeconds=2, timeoutSeconds=2
            )
        ],
        set(),
    ),
    "probe https small": (
        [
            readiness(
                httpGet={"path": "/ready", "port": 8000, "scheme": "https"}, periodSeconds=2, timeoutSeconds=2
            )
        ],
        {(LOSES, "refused")},
    ),
    "liveness grpc other service": (
        [
            of_container(
                readinessProbe={
                    "grpc": {"port": 8000, "service": "r"},
                    "periodSeconds": 2,
                    "timeoutSeconds": 2,
                },
                livenessProbe={"grpc": {"port": 8000, "service": "l"}, "timeoutSeconds": 2},
            )
        ],
        set(),
    ),
    "anti-affinity to another app": ([of_pod(affinity=ANTI_OTHER)], set()),
    "anti-affinity by template hash": ([of_pod(affinity=ANTI_HASH)], set()),
    "spread with DoNotSchedule": (
        [
            of_pod(
                topologySpreadConstraints=[
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "web"}},
                    }
                ]
            )
        ],
        set(),
    ),
    "keda idle zero": (
        [
            spec(replicas=None),
            added(
                "keda.sh/v1alpha1",
                "ScaledObject",
                "web",
                {
                    "scaleTargetRef": {"name": "web"},
                    "minReplicaCount": 3,
                    "idleReplicaCount": 0,
                    "triggers": [{"type": "cron", "metadata": {}}],
                },
            ),
        ],
        {(RISKS, "scale-to-zero")},
    ),
    "keda min 2": (
        [
            spec(replicas=None),
            added(
                "keda.sh/v1alpha1",
                "ScaledObject",
                "web",
                {
                    "scaleTargetRef": {"name": "web"},
                    "minReplicaCount": 2,
                    "triggers": [{"type": "cpu", "metadata": {}}],
                },
            ),
        ],
        set(),
    ),
    "hpa behaviour": (
        [
            spec(replicas=None),
            added(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                "web",
                {**AUTOSCALER, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}},
            ),
        ],
        set(),
    ),
    "vpa initial": (
        [
            spec(replicas=1),
            added(
                "autoscaling.k8s.io/v1",
                "VerticalPodAutoscaler",
                "web",
                {
                    "targetRef": {"kind": "Deployment", "name": "web"},
                    "updatePolicy": {"updateMode": "Initial"},
                },
            ),
        ],
        {(RISKS, "replicas")},
    ),
    "pdb all of the namespace": ([lambda objects: objects[2]["spec"].update(selector={})], set()),
    "pdb 1 of 1 unhealthy policy": (
        [lambda objects: objects[2]["spec"].update(unhealthyPodEvictionPolicy="AlwaysAllow")],
        set(),
    ),
    "targetPort by the name of a port for another protocol": (
        [lambda objects: container(objects)["ports"][0].update(protocol="UDP")],
        {(LOSES, "target-port")},
    ),
    "mirrored VirtualService without port": (
        [
            virtual_service({"host": "web"}),
            lambda objects: objects[-1]["spec"]["http"][0].update(mirror={"host": "shadow"}),
        ],
        {(RISKS, "ingress-backend")},
    ),
    "service session affinity and two protocols": (
        [
            lambda objects: objects[1]["spec"].update(
                ports=[
                    {"name": "http", "port": 80, "targetPort": "http"},
                    {"name": "h3", "port": 80, "protocol": "UDP", "targetPort": 8000},
                ]
            )
        ],
        set(),
    ),
    "scaled to zero with the strategy of the default": (
        [
            lambda objects: objects[0]["spec"].pop("strategy"),
            lambda objects: objects[0]["spec"].pop("replicas"),
            added("keda.sh/v1alpha1", "ScaledObject", "web", {"scaleTargetRef": {"name": "web"}}),
        ],
        {(RISKS, "scale-to-zero")},
    ),
}
