"""Manifests as nobody should write them: fields that are missing, null, huge or of a wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

HUGE = [2**31, 2**63, 10**40, -1, 0, 1.5, 1e308, float("inf"), float("nan")]
TEXTS = [
    "",
    "$",
    "${X:-3}",
    "{{ .Values.x }}",
    "25%",
    "-5%",
    "1e9999%",
    "\x00",
    "\ud7ff",
    "é" * 300,
    "None",
    "http",
    "80",
]

junk: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(HUGE),
    st.integers(),
    st.sampled_from(TEXTS),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.lists(st.none() | st.integers(0, 9), max_size=2),
    st.dictionaries(st.sampled_from(["name", "port", "x"]), st.none() | st.text(max_size=3), max_size=2),
)


def field(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return mostly the value, sometimes something else."""
    return st.integers(0, 199).flatmap(lambda roll: junk if roll == 137 else value)


Fields = Mapping[str, st.SearchStrategy[Any]]


def mapping(always: Fields | None = None, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a mapping: fields that are always there, and others that may be."""
    required = {each: field(value) for each, value in (always or {}).items()}
    return field(
        st.fixed_dictionaries(required, optional={each: field(value) for each, value in fields.items()})
    )


def listed(item: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[Any]:
    return field(st.lists(field(item), max_size=most))


number = st.integers(1, 100) | st.sampled_from([1, 10, 600])
name = st.sampled_from(["web", "http", "nginx", "app", "metrics"])
port = st.sampled_from([80, 8000, 5432, "http", "80", "web"])
amount = st.sampled_from([0, 1, 3, "25%", "0%", "100%"])
labels = field(st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["web", "api"]), max_size=2))
operator = st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"])
selector = mapping(
    matchLabels=labels,
    matchExpressions=listed(mapping({"key": name, "operator": operator}, values=listed(name))),
)
SCRIPTS = [
    *("gunicorn app", "exec gunicorn app 2>&1", "a && gunicorn app | cat", "if x; then exec a; else b; fi"),
    *(
        "'",
        "$(",
        "cat <<E\nx\nE\ngunicorn app",
        "f() { exec gunicorn; }; f",
        "while :; do :; done",
        "(a; b) & wait",
    ),
    *(
        "trap 'kill $p' TERM; gunicorn & p=$!; wait",
        "case $1 in a) exec b;; esac",
        "sleep 1.2.3",
        "",
        "&&",
        "exec",
    ),
    *("gunicorn -w $(nproc) --keep-alive x", "((((((", "for i in", "a;;b", "{ a; }", "! a", "> x", "\\"),
]
WORDS = [
    *(
        "gunicorn",
        "app:app",
        "-k",
        "gthread",
        "--keep-alive",
        "5",
        "--max-requests=10",
        "-c",
        "x.py",
        "--reload",
    ),
    *(
        "uvicorn",
        "--timeout-keep-alive",
        "uwsgi",
        "python",
        "-m",
        "manage.py",
        "runserver",
        "celery",
        "worker",
    ),
    *(
        "npm",
        "start",
        "tini",
        "--",
        "env",
        "A=1",
        "sh",
        "-c",
        "bash",
        "-lc",
        "sleep",
        "15",
        "1m",
        "kill",
        "nginx",
    ),
    *("$(WORKERS)", "poetry", "run", "exec", "gosu", "dumb-init", "conda"),
    *SCRIPTS,
]
command = listed(st.sampled_from(WORDS), 6)
handler: dict[str, st.SearchStrategy[Any]] = {
    "exec": mapping(command=command),
    "httpGet": mapping(path=st.sampled_from(["/", "/shutdown"]), port=port),
    "tcpSocket": mapping(port=port),
    "grpc": mapping(port=number),
}
probe = mapping(
    None,
    **handler,
    initialDelaySeconds=number,
    periodSeconds=number,
    timeoutSeconds=number,
    failureThreshold=number,
)
image = st.sampled_from(["nginx:1", "x/web:1", "mysql:8", "python:3-alpine", "istio/proxyv2", ""])
container = mapping(
    {"name": name, "image": image},
    command=command,
    args=command,
    ports=listed(mapping({"containerPort": number}, name=name, hostPort=number)),
    env=listed(
        mapping(
            {"name": st.sampled_from(["DRAIN", "DRAIN_MAX", "GUNICORN_CMD_ARGS", "WORKERS"])},
            value=st.sampled_from(["on", "off", "5", "soon", "--bind '", "--keep-alive 75"]),
            valueFrom=mapping(configMapKeyRef=mapping(name=name, key=name)),
        )
    ),
    envFrom=listed(mapping(prefix=name, configMapRef=mapping(name=name))),
    readinessProbe=probe,
    livenessProbe=probe,
    startupProbe=probe,
    lifecycle=mapping(
        preStop=mapping(None, **handler, sleep=mapping(seconds=number)),
        postStart=mapping(None, **handler),
        stopSignal=st.sampled_from(["SIGTERM", "SIGQUIT", "SIGKILL", "SIGUSR1", "TERM"]),
    ),
    workingDir=name,
    volumeMounts=listed(mapping(name=name, mountPath=name, subPath=name)),
    restartPolicy=st.just("Always"),
    resources=mapping(limits=mapping(cpu=st.sampled_from(["50m", "1", 0.5]))),
)
config_map = mapping(
    {"name": name}, items=listed(mapping(key=name, path=name, mode=number)), defaultMode=number
)
pod = mapping(
    {"containers": field(st.lists(field(container), min_size=1, max_size=3))},
    initContainers=listed(container),
    terminationGracePeriodSeconds=number,
    hostNetwork=st.booleans(),
    enableServiceLinks=st.booleans(),
    affinity=mapping(
        podAntiAffinity=mapping(
            requiredDuringSchedulingIgnoredDuringExecution=listed(
                mapping(topologyKey=name, labelSelector=selector, matchLabelKeys=listed(name))
            )
        )
    ),
    topologySpreadConstraints=listed(mapping(maxSkew=number)),
    volumes=listed(
        mapping(
            {"name": name},
            persistentVolumeClaim=mapping(claimName=name),
            configMap=config_map,
            projected=mapping(sources=listed(mapping(configMap=config_map))),
        )
    ),
    os=mapping(name=name),
)
metadata = mapping(
    {"name": name},
    namespace=st.sampled_from(["default", "shop"]),
    labels=labels,
    annotations=field(
        st.dictionaries(
            st.sampled_from(["lossless.dev/ignore", "sidecar.istio.io/inject", "linkerd.io/inject"]),
            st.sampled_from(["drain: known", "true", "enabled", ":", "x"]),
            max_size=2,
        )
    ),
)
pace = mapping(maxSurge=amount, maxUnavailable=amount)
strategy = mapping(
    type=st.sampled_from(["Recreate", "RollingUpdate"]),
    rollingUpdate=pace,
    canary=pace,
    rollingParams=pace,
    blueGreen=mapping(activeService=name),
)
target = mapping({"name": name}, kind=st.sampled_from(["Deployment", "StatefulSet"]))
backend = mapping(
    service=mapping(name=name, port=mapping(number=number, name=name)), serviceName=name, servicePort=port
)
named_port = mapping({"name": name}, port=port, namespace=name)
SPECS: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    **{
        each: mapping(
            {"template": mapping({"metadata": metadata, "spec": pod})},
            replicas=number,
            minReadySeconds=number,
            progressDeadlineSeconds=number,
            selector=selector,
            strategy=strategy,
            updateStrategy=strategy,
            workloadRef=target,
        )
        for each in (
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("argoproj.io/v1alpha1", "Rollout"),
            ("apps.openshift.io/v1", "DeploymentConfig"),
        )
    },
    ("v1", "Service"): mapping(
        selector=labels,
        type=name,
        clusterIP=name,
        externalTrafficPolicy=st.just("Local"),
        internalTrafficPolicy=st.just("Local"),
        publishNotReadyAddresses=st.booleans(),
        ports=listed(mapping(name=name, port=number, targetPort=port)),
    ),
    ("policy/v1", "PodDisruptionBudget"): mapping(
        selector=selector, maxUnavailable=amount, minAvailable=amount
    ),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): mapping({"scaleTargetRef": target}, minReplicas=number),
    ("keda.sh/v1alpha1", "ScaledObject"): mapping(
        scaleTargetRef=target, minReplicaCount=number, idleReplicaCount=st.just(0)
    ),
    ("http.keda.sh/v1alpha1", "HTTPScaledObject"): mapping(
        scaleTargetRef=target, replicas=mapping(min=number, max=number)
    ),
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"): mapping(
        targetRef=target,
        targetRefs=listed(target),
        timeout=mapping(http=mapping(connectionIdleTimeout=name)),
    ),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"): mapping(
        targetRef=target, updatePolicy=mapping(updateMode=name)
    ),
    ("networking.k8s.io/v1", "Ingress"): mapping(
        ingressClassName=name,
        defaultBackend=backend,
        backend=backend,
        rules=listed(mapping(http=mapping(paths=listed(mapping(backend=backend))))),
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): mapping(
        parentRefs=listed(mapping(name=name)), rules=listed(mapping(backendRefs=listed(mapping(name=name))))
    ),
    ("traefik.io/v1alpha1", "IngressRoute"): mapping(routes=listed(mapping(services=listed(named_port)))),
    ("projectcontour.io/v1", "HTTPProxy"): mapping(
        routes=listed(mapping(services=listed(named_port), timeoutPolicy=mapping(idleConnection=name))),
        tcpproxy=mapping(services=listed(named_port)),
    ),
    ("networking.istio.io/v1", "VirtualService"): mapping(
        http=listed(
            mapping(
                route=listed(
                    mapping(destination=mapping(host=name, port=mapping(number=number), subset=name))
                )
            )
        )
    ),
    ("networking.istio.io/v1", "DestinationRule"): mapping(
        host=name,
        subsets=listed(mapping(name=name)),
        trafficPolicy=mapping(connectionPool=mapping(http=mapping(idleTimeout=name))),
    ),
    ("networking.istio.io/v1", "ServiceEntry"): mapping(hosts=listed(name)),
    ("route.openshift.io/v1", "Route"): mapping(
        to=mapping(kind=st.just("Service"), name=name), port=mapping(targetPort=port)
    ),
    ("gateway.networking.k8s.io/v1", "Gateway"): mapping(gatewayClassName=name),
    ("networking.istio.io/v1", "Gateway"): mapping(selector=labels),
    ("networking.k8s.io/v1", "IngressClass"): mapping(controller=name),
    ("batch/v1", "CronJob"): mapping(jobTemplate=mapping(spec=mapping(template=mapping(metadata=metadata)))),
    ("v1", "ConfigMap"): junk,
    ("v1", "Namespace"): junk,
}


def _object(kind: tuple[str, str]) -> st.SearchStrategy[Any]:
    named = {"apiVersion": field(st.just(kind[0])), "kind": field(st.just(kind[1]))}
    fields = {**named, "metadata": metadata, "spec": SPECS[kind]}
    more = {"data": mapping(http=name), "items": junk}
    return st.fixed_dictionaries(fields, optional=more)


workload = st.sampled_from(list(SPECS)[:5]).flatmap(_object)
anything = st.sampled_from(list(SPECS)).flatmap(_object)

manifests = st.tuples(workload, st.lists(anything, max_size=4)).map(lambda found: [found[0], *found[1]])
"""A workload and the objects around it."""
