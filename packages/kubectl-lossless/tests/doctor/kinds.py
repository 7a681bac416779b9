"""More manifests that misled doctors, each the base with a change, with what counts in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from kubectl_lossless.doctor.finding import Severity

Change = Callable[[list[Object]], None]

GUNICORN = "gunicorn shop.wsgi --graceful-timeout 20"
THREADS = ("gunicorn", "shop.wsgi", "-k", "gthread", "--keep-alive", "75", "--graceful-timeout", "20")
PROBES = ("readinessProbe", "livenessProbe", "startupProbe")


def pod(objects: Sequence[Object]) -> Object:
    found: Object = objects[0]["spec"]["template"]["spec"]
    return found


def script(text: str, *shell: str) -> Change:
    def change(objects: list[Object]) -> None:
        container(objects).update(command=list(shell or ("/bin/sh", "-c")), args=[text])

    return change


def command(*words: str) -> Change:
    return lambda objects: container(objects).update(command=list(words))


def hook(*words: str) -> Change:
    return lambda objects: container(objects).update(
        lifecycle={"preStop": {"exec": {"command": list(words)}}}
    )


def no_hook(objects: list[Object]) -> None:
    del container(objects)["lifecycle"]


def no_probes(objects: list[Object]) -> None:
    for each in PROBES:
        del container(objects)[each]


def grace(seconds: int) -> Change:
    return lambda objects: pod(objects).update(terminationGracePeriodSeconds=seconds)


def spec(**fields: Any) -> Change:
    return lambda objects: objects[0]["spec"].update(fields)


def image(name: str) -> Change:
    return lambda objects: container(objects).update(image=name)


def of_container(**fields: Any) -> Change:
    return lambda objects: container(objects).update(fields)


def of_pod(**fields: Any) -> Change:
    return lambda objects: pod(objects).update(fields)


def annotated(annotations: dict[str, str]) -> Change:
    return lambda objects: objects[0]["spec"]["template"]["metadata"].update(annotations=annotations)


def env(**variables: str) -> Change:
    entries = [{"name": name, "value": value} for name, value in variables.items()]
    return lambda objects: container(objects).update(env=entries)


def beside(**fields: Any) -> Change:
    return lambda objects: pod(objects)["containers"].append({"image": "registry.test/x:1", **fields})


def before(**fields: Any) -> Change:
    return lambda objects: pod(objects)["containers"].insert(0, {"image": "registry.test/x:1", **fields})


def target_port(value: Any) -> Change:
    return lambda objects: objects[1]["spec"]["ports"][0].update(targetPort=value)


def added(api: str, kind: str, name: str, fields: Object, annotations: Object | None = None) -> Change:
    metadata = {"name": name, "namespace": "demo", "annotations": annotations or {}}
    found = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": fields}
    return lambda objects: objects.append(found)


def claim(name: str) -> Object:
    """Return an entry of volumeClaimTemplates."""
    resources = {"requests": {"storage": "1Gi"}}
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}


def kind(name: str, *without: str) -> Change:
    def change(objects: list[Object]) -> None:
        objects[0]["kind"] = name
        for each in without:
            objects[0]["spec"].pop(each, None)

    return change


def without_service(objects: list[Object]) -> None:
    del objects[1]


def ingress(service: str, port: Object, annotations: Object | None = None) -> Change:
    backend = {"service": {"name": service, "port": port}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    fields = {"ingressClassName": "nginx", "rules": rules}
    return added("networking.k8s.io/v1", "Ingress", "web", fields, annotations)


ANTI_AFFINITY = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
        ]
    }
}
AUTOSCALER = {
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
    "minReplicas": 3,
    "maxReplicas": 9,
}
NGINX = {"name": "nginx", "image": "nginx:1.27", "ports": [{"name": "web", "containerPort": 80}]}
WAITS_25 = {"preStop": {"exec": {"command": ["sleep", "25"]}}}
UNNAMED_PORT = {
    each: {"tcpSocket": {"port": 8000}, "timeoutSeconds": 2, "periodSeconds": 7} for each in PROBES
}

# The changes, and what counts for the exit status.
KINDS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    # Shells: exec that is easily overlooked.
    "exec and a continuation": ([script("exec gunicorn shop.wsgi \\\n  --graceful-timeout 20\n")], set()),
    "exec and a quoted pipe": ([script(f"exec {GUNICORN} --access-logformat '%(h)s|%(r)s;'")], set()),
    "exec or exit": ([script(f"./migrate && exec {GUNICORN} || exit 1")], set()),
    "assignment and exec": ([script(f"PORT=80 exec {GUNICORN}")], set()),
    "exec and a comment": ([script(f"exec {GUNICORN} # the server")], set()),
    "exec in a function": ([script(f"main() {{ exec {GUNICORN}; }}; main")], set()),
    "exec in each case": ([script(f"case $X in a) exec flask run;; *) exec {GUNICORN};; esac")], set()),
    # Shells that stay.
    "one command in dash": ([script(GUNICORN)], {(LOSES, "shell-entrypoint")}),
    "one command in bash": ([script(GUNICORN, "bash", "-c")], set()),
    "one command in busybox": ([script(GUNICORN), image("python:3.13-alpine")], set()),
    "assignment in dash": ([script(f"PORT=80 {GUNICORN}")], {(LOSES, "shell-entrypoint")}),
    "quoted semicolon": ([script("nginx -g 'daemon off;'")], {(LOSES, "shell-entrypoint")}),
    "loop before": ([script(f"for i in 1 2; do ./wait; done\n{GUNICORN}\n")], {(LOSES, "shell-entrypoint")}),
    "server in a loop": ([script(f"while true; do {GUNICORN}; done")], {(LOSES, "shell-entrypoint")}),
    "server in both branches": (
        [script(f"if $X; then {GUNICORN}; else {GUNICORN}; fi")],
        {(LOSES, "shell-entrypoint")},
    ),
    "pipe behind": ([script(f"{GUNICORN} | cat", "bash", "-c")], {(LOSES, "shell-entrypoint")}),
    "env in front of a shell": (
        [command("/usr/bin/env", "sh", "-c", GUNICORN)],
        {(LOSES, "shell-entrypoint")},
    ),
    "init in front of a shell": (
        [command("tini", "--", "sh", "-c", GUNICORN)],
        {(LOSES, "shell-entrypoint")},
    ),
    "tail in a helper": ([beside(name="logs", command=["sh", "-c", "tail -F /log/a | grep x"])], set()),
    # Gunicorn's arguments.
    "workers by default": (
        [script("exec gunicorn shop.wsgi --workers ${W:-3} --graceful-timeout 20")],
        set(),
    ),
    "workers by Kubernetes": (
        [command("gunicorn", "shop.wsgi", "-w", "$(W)", "--graceful-timeout", "20"), env(W="4")],
        set(),
    ),
    "workers from elsewhere": (
        [command("gunicorn", "shop.wsgi", "-w", "$(W)", "--graceful-timeout", "20")],
        set(),
    ),
    "gunicorn as a module": (
        [command("python", "-m", "gunicorn.app.wsgiapp", *THREADS[1:]), no_hook],
        {(LOSES, "drain")},
    ),
    "max-requests": (
        [command(*THREADS, "--max-requests", "1000")],
        {(LOSES, "max-requests")},
    ),
    "keep-alive of 2 s": (
        [command("gunicorn", "shop.wsgi", "--threads", "4", "--graceful-timeout", "20")],
        {(RISKS, "keepalive")},
    ),
    "threads without a hook": ([command(*THREADS), no_hook], {(LOSES, "drain")}),
    "threads with a hook of 5 s": ([command(*THREADS), hook("sleep", "5")], set()),
    "a variable DRAIN of somebody else's": ([env(DRAIN="yes please")], set()),
    "a variable DRAIN of somebody else's Gunicorn": ([command(*THREADS), env(DRAIN="true")], set()),
    # Hooks.
    "hook true": ([hook("/bin/true")], {(LOSES, "prestop")}),
    "hook that quits nginx": ([command("nginx"), hook("nginx", "-s", "quit")], {(LOSES, "prestop")}),
    "hook that waits and quits nginx": (
        [command("nginx"), hook("sh", "-c", "sleep 10; nginx -s quit")],
        set(),
    ),
    "hook in one word": ([hook("sleep 15")], {(LOSES, "prestop")}),
    "hook of a minute": ([hook("sleep", "1m"), grace(50)], {(LOSES, "grace-period")}),
    "hook of a minute with time": ([hook("sleep", "1m"), grace(100)], set()),
    "grace of 0": ([grace(0)], {(LOSES, "grace-period")}),
    "grace of 5 s": (
        [command("gunicorn", "shop.wsgi"), no_hook, grace(5)],
        {(LOSES, "drain"), (RISKS, "grace-period")},
    ),
    "grace of 30 s": (
        [command(*THREADS[:6]), no_hook, grace(30)],
        {(LOSES, "drain"), (RISKS, "grace-period")},
    ),
    # Servers.
    "hypercorn": (
        [command("hypercorn", "shop:app"), no_hook],
        {(LOSES, "drain"), (RISKS, "keepalive")},
    ),
    "granian": ([command("granian", "--interface", "asgi", "shop:app"), no_hook], {(LOSES, "drain")}),
    "daphne": (
        [command("daphne", "shop.asgi:application"), no_hook],
        {(LOSES, "drain"), (RISKS, "in-flight")},
    ),
    "waitress": ([command("waitress-serve", "--call", "shop:create")], {(LOSES, "sigterm-ignored")}),
    "uwsgi with die-on-term": (
        [command("uwsgi", "--http", ":8000", "--die-on-term"), no_hook],
        {(LOSES, "drain"), (RISKS, "in-flight")},
    ),
    "flask run": ([command("flask", "run"), no_hook], {(LOSES, "sigterm-ignored")}),
    "http.server": ([command("python3", "-m", "http.server")], {(LOSES, "sigterm-ignored")}),
    "python script": ([command("python", "app.py")], {(RISKS, "sigterm-ignored")}),
    "conda run": ([command("conda", "run", "-n", "x", *THREADS)], {(LOSES, "wrapper")}),
    # The containers of the pod.
    "the same hook in both containers": (
        [before(**NGINX, lifecycle=WAITS_25), target_port("web"), of_container()],
        set(),
    ),
    "a proxy without a hook": (
        [before(**NGINX), target_port("web")],
        {(LOSES, "plain-sidecar")},
    ),
    "an exporter": ([beside(name="exporter", image="nginx/nginx-prometheus-exporter:1")], set()),
    "a load generator first": ([before(name="loadgen")], set()),
    "linkerd": (
        [annotated({"linkerd.io/inject": "enabled"})],
        {(RISKS, "injected-proxy")},
    ),
    "istio as a native sidecar": (
        [annotated({"sidecar.istio.io/inject": "true", "sidecar.istio.io/nativeSidecar": "true"})],
        set(),
    ),
    # The route to the pods.
    "probe at a port's unknown name": (
        [
            of_container(
                readinessProbe={
                    "httpGet": {"path": "/", "port": "web"},
                    "timeoutSeconds": 2,
                    "periodSeconds": 2,
                }
            )
        ],
        {(LOSES, "probe-port")},
    ),
    "ingress to a port that is not there": (
        [ingress("web", {"number": 8080})],
        {(LOSES, "ingress-backend")},
    ),
    "a Service for one pod of a StatefulSet": (
        [
            added(
                "v1",
                "Service",
                "web-0",
                {
                    "selector": {"app": "web", "statefulset.kubernetes.io/pod-name": "web-0"},
                    "ports": [{"port": 80}],
                },
            )
        ],
        set(),
    ),
    "target port without names": (
        [target_port("web"), of_container(ports=[{"containerPort": 8000}], **UNNAMED_PORT)],
        {(LOSES, "target-port")},
    ),
    "load balancer that sends to pods": (
        [ingress("web", {"number": 80}, {"alb.ingress.kubernetes.io/target-type": "ip"}), hook("sleep", "6")],
        {(RISKS, "pod-targets")},
    ),
    "externalTrafficPolicy Local": (
        [lambda objects: objects[1]["spec"].update(type="NodePort", externalTrafficPolicy="Local")],
        {(RISKS, "external-traffic-policy")},
    ),
    # How pods are replaced.
    "autoscaler": (
        [added("autoscaling/v2", "HorizontalPodAutoscaler", "web", AUTOSCALER)],
        {(RISKS, "replicas-and-autoscaler")},
    ),
    "selector of other pods": (
        [spec(selector={"matchLabels": {"app": "other"}})],
        {(LOSES, "selector")},
    ),
    "required anti-affinity": ([of_pod(affinity=ANTI_AFFINITY)], {(RISKS, "anti-affinity")}),
    "migrations": (
        [of_pod(initContainers=[{"name": "m", "image": "x", "command": ["python", "manage.py", "migrate"]}])],
        set(),
    ),
    "minReadySeconds above the deadline": ([spec(minReadySeconds=700)], {(LOSES, "progress-deadline")}),
    "maxUnavailable 1 of 1": (
        [spec(replicas=1, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})],
        {(LOSES, "strategy"), (RISKS, "replicas")},
    ),
    "Recreate": ([spec(strategy={"type": "Recreate"})], {(LOSES, "strategy")}),
    "Recreate with a volume": (
        [
            spec(replicas=1, strategy={"type": "Recreate"}),
            of_pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]),
        ],
        set(),
    ),
    "redis": ([image("redis:7"), spec(replicas=1), of_container(command=[])], set()),
    "statefulset": ([kind("StatefulSet", "strategy", "progressDeadlineSeconds")], set()),
    "daemonset": ([kind("DaemonSet", "strategy", "replicas", "progressDeadlineSeconds")], set()),
    # No server.
    "beat": (
        [command("celery", "-A", "shop", "beat"), without_service, of_container(ports=[]), no_probes],
        set(),
    ),
    "placeholder": ([command("/pause"), without_service, of_container(ports=[]), no_probes, no_hook], set()),
}
