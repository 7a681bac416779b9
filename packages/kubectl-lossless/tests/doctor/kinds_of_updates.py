"""More manifests: refused ones, updates, probes, routes and starts, with what counts in them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    THREADS,
    Change,
    command,
    image,
    no_hook,
    of_pod,
    pod,
    script,
    spec,
)
from doctor.kinds_of_pods import pre_stop, readiness
from kubectl_lossless.doctor.finding import Severity

META = {"name": "web", "namespace": "demo"}

GUNICORN = command(*THREADS)


def added(found: Object) -> Change:
    """Return the change that adds an object."""
    return lambda objects: objects.append(copy.deepcopy(found))


def init(**fields: Any) -> Change:
    """Return the change that adds an init container."""
    entry = {"name": "setup", "image": "registry.test/setup:1", **fields}
    return lambda objects: pod(objects).setdefault("initContainers", []).append(entry)


def no_budget(objects: list[Object]) -> None:
    del objects[2]


def no_replicas(objects: list[Object]) -> None:
    del objects[0]["spec"]["replicas"]


def daemonset(objects: list[Object]) -> None:
    objects[0]["kind"] = "DaemonSet"
    no_budget(objects)
    no_replicas(objects)
    del objects[0]["spec"]["strategy"]


def statefulset(objects: list[Object]) -> None:
    objects[0]["kind"] = "StatefulSet"
    del objects[0]["spec"]["strategy"]


def ingress(annotations: dict[str, str], port: int = 80) -> Change:
    """Return the change that adds an Ingress of ingress-nginx."""
    backend = {"service": {"name": "web", "port": {"number": port}}}
    rule = {"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return added(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {**META, "annotations": annotations},
            "spec": {"ingressClassName": "nginx", "rules": [rule]},
        }
    )


UPDATES: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "no selector": ([lambda objects: objects[0]["spec"].pop("selector")], {(LOSES, "refused")}),
    "probe port 0": ([readiness(tcpSocket={"port": 0})], {(LOSES, "refused"), (RISKS, "probe-port")}),
    "two containers one name": (
        [lambda objects: pod(objects)["containers"].append(copy.deepcopy(container(objects)))],
        {(LOSES, "refused")},
    ),
    "sleep > grace": (
        [pre_stop(sleep={"seconds": 90})],
        {(LOSES, "grace-period"), (LOSES, "refused")},
    ),
    "probe exec empty": ([readiness(exec={})], {(LOSES, "refused")}),
    "probe no handler": ([readiness(periodSeconds=2)], {(LOSES, "refused")}),
    "restartPolicy Never": ([of_pod(restartPolicy="Never")], {(LOSES, "refused")}),
    "strategy typo": ([spec(strategy={"type": "RollingUpdates"})], {(LOSES, "refused")}),
    "strategy OnDelete deployment": ([spec(strategy={"type": "OnDelete"})], {(LOSES, "refused")}),
    "native sidecar probe": ([init(name="log", restartPolicy="Always", image="fluent/fluent-bit:3")], set()),
    "init no restart": ([init(command=["sh", "-c", "until nc -z db 5432; do sleep 1; done"])], set()),
    "init restartPolicy typo": ([init(restartPolicy="always")], {(LOSES, "refused")}),
    "init readiness": ([init(readinessProbe={"httpGet": {"port": 80}})], {(LOSES, "refused")}),
    "hostNetwork surge": ([of_pod(hostNetwork=True)], {(RISKS, "host-port")}),
    "hostNetwork ds": ([daemonset, of_pod(hostNetwork=True)], set()),
    "ds surge hostPort": (
        [
            daemonset,
            spec(updateStrategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
            lambda objects: container(objects)["ports"][0].update(hostPort=8000),
        ],
        {(RISKS, "host-port")},
    ),
    "ds surge both": (
        [daemonset, spec(updateStrategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}})],
        {(LOSES, "refused")},
    ),
    "ds OnDelete": ([daemonset, spec(updateStrategy={"type": "OnDelete"})], set()),
    "ds no surge": ([daemonset], set()),
    "sts partition": (
        [statefulset, spec(serviceName="web", updateStrategy={"rollingUpdate": {"partition": 2}})],
        set(),
    ),
    "sts OnDelete1": (
        [statefulset, spec(serviceName="web", replicas=1, updateStrategy={"type": "OnDelete"})],
        {(RISKS, "replicas")},
    ),
    "sts partition all": (
        [statefulset, spec(serviceName="web", updateStrategy={"rollingUpdate": {"partition": 3}})],
        set(),
    ),
    "sts maxUnavailable all": (
        [statefulset, spec(serviceName="web", updateStrategy={"rollingUpdate": {"maxUnavailable": 3}})],
        {(LOSES, "strategy")},
    ),
    "sts parallel": ([statefulset, spec(serviceName="web", podManagementPolicy="Parallel")], set()),
    "surge 0 unavailable 3 of 3": (
        [spec(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 3}})],
        {(LOSES, "strategy")},
    ),
    "surge 100 unavailable 0": (
        [spec(strategy={"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "0%"}})],
        set(),
    ),
    "unavailable 150%": (
        [spec(strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "150%"}})],
        {(LOSES, "refused"), (LOSES, "strategy")},
    ),
    "unavailable 99% of 1": (
        [spec(replicas=1, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "99%"}}), no_budget],
        {(LOSES, "strategy"), (RISKS, "replicas")},
    ),
    "pdb max 100%": (
        [lambda objects: objects[2]["spec"].update(maxUnavailable="100%")],
        {(RISKS, "disruption-budget")},
    ),
    "pdb empty selector": ([lambda objects: objects[2]["spec"].update(selector={})], set()),
    "hpa min 3": (
        [
            added(
                {
                    "apiVersion": "autoscaling/v2",
                    "kind": "HorizontalPodAutoscaler",
                    "metadata": META,
                    "spec": {
                        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                        "minReplicas": 3,
                        "maxReplicas": 9,
                    },
                }
            ),
            no_replicas,
        ],
        set(),
    ),
    "hpa max<min": (
        [
            added(
                {
                    "apiVersion": "autoscaling/v2",
                    "kind": "HorizontalPodAutoscaler",
                    "metadata": META,
                    "spec": {
                        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                        "minReplicas": 3,
                        "maxReplicas": 2,
                    },
                }
            ),
            no_replicas,
        ],
        {(LOSES, "refused")},
    ),
    "sh -c env assignment exec": ([script("PORT=8000 exec /srv/server")], set()),
    "sh -c exec quoted": ([script('exec "/srv/server" "--name" "a b"')], set()),
    "tini sh -c two": (
        [command("tini", "--", "sh", "-c", "./migrate; gunicorn app:app --graceful-timeout 20")],
        {(LOSES, "shell-entrypoint")},
    ),
    "tini -g sh -c two": (
        [
            command(
                "tini",
                "-g",
                "--",
                "sh",
                "-c",
                "./migrate; gunicorn app:app -k gthread --keep-alive 75 --graceful-timeout 20",
            )
        ],
        {(LOSES, "shell-entrypoint")},
    ),
    "s6 /init args": (
        [command("/init", *THREADS)],
        set(),
    ),
    "supervisord nodaemon": ([command("/usr/bin/supervisord", "--nodaemon")], {(RISKS, "wrapper")}),
    "pnpm start": ([command("pnpm", "start")], {(LOSES, "wrapper")}),
    "corepack yarn": ([command("corepack", "yarn", "start")], {(LOSES, "wrapper")}),
    "tini npm": ([command("tini", "--", "npm", "start")], {(LOSES, "wrapper")}),
    "node flags": ([command("node", "--max-old-space-size=512", "dist/main.js")], set()),
    "java sh exec": ([command("/bin/bash", "-c", "exec java -XX:+UseG1GC $JAVA_OPTS -jar app.jar")], set()),
    "bash java": ([command("/bin/bash", "-c", "java $JAVA_OPTS -jar app.jar")], set()),
    "java && bash": (
        [command("/bin/sh", "-c", "cp /c/* /app && java -jar app.jar")],
        {(LOSES, "shell-entrypoint")},
    ),
    "dotnet watch": ([command("dotnet", "watch", "run")], {(RISKS, "reload")}),
    "dotnet sh": ([script("dotnet Shop.dll")], {(LOSES, "shell-entrypoint")}),
    "puma sh": (
        [script("bin/migrate && bundle exec puma -C config/puma.rb")],
        {(LOSES, "shell-entrypoint")},
    ),
    "puma rm pid": ([script("rm -f tmp/pids/server.pid && exec bundle exec rails s -b 0.0.0.0")], set()),
    "php-fpm nginx sh": ([script("php-fpm -D && nginx -g 'daemon off;'")], {(LOSES, "shell-entrypoint")}),
    "php-fpm nginx exec": ([script("php-fpm -D && exec nginx -g 'daemon off;'")], set()),
    "apache2-foreground": ([command("apache2-foreground")], set()),
    "nginx envsubst sh": (
        [script("envsubst '$PORT' </dev/null >/dev/null && nginx -g 'daemon off;'")],
        {(LOSES, "shell-entrypoint")},
    ),
    "nginx envsubst exec": (
        [script("envsubst '$PORT' </dev/null >/dev/null && exec nginx -g 'daemon off;'")],
        set(),
    ),
    "nginx daemonized tail": (
        [script("nginx && tail -f /var/log/nginx/access.log")],
        {(LOSES, "shell-entrypoint")},
    ),
    "nginx entrypoint": ([command("/docker-entrypoint.sh", "nginx", "-g", "daemon off;")], set()),
    "gunicorn entrypoint": (
        [command("/app/entrypoint.sh", *THREADS)],
        set(),
    ),
    "gunicorn entrypoint nohook": (
        [
            command("/app/entrypoint.sh", *THREADS),
            no_hook,
        ],
        {(LOSES, "drain")},
    ),
    "bash entrypoint args": ([command("bash", "/app/start.sh")], set()),
    "bash -lc": (
        [command("bash", "-lc", "gunicorn app:app -k gthread --keep-alive 75 --graceful-timeout 20")],
        set(),
    ),
    "sh -ec alone": (
        [command("sh", "-ec", "gunicorn app:app -k gthread --keep-alive 75 --graceful-timeout 20\n")],
        {(LOSES, "shell-entrypoint")},
    ),
    "sh -c -- ": (
        [command("sh", "-c", "--", "exec gunicorn app:app -k gthread --keep-alive 75 --graceful-timeout 20")],
        set(),
    ),
    "bash pipefail": (
        [
            command(
                "bash",
                "-euo",
                "pipefail",
                "-c",
                "./m\nexec gunicorn app:app -k gthread --keep-alive 75 --graceful-timeout 20\n",
            )
        ],
        set(),
    ),
    "sh set -e exec multi": (
        [
            script(
                "set -e\npython manage.py collectstatic --noinput\nexec gunicorn app:app \\\n"
                "  -k gthread --keep-alive 75 \\\n  --graceful-timeout 20\n"
            )
        ],
        set(),
    ),
    "sh tee": ([script("exec gunicorn app:app 2>&1 | tee /log")], {(LOSES, "shell-entrypoint")}),
    "bash procsub": (
        [
            script(
                "exec gunicorn app:app -k gthread --keep-alive 75 --graceful-timeout 20 > >(tee /log)",
                "bash",
                "-c",
            )
        ],
        set(),
    ),
    "while true restart": ([script("while true; do gunicorn app:app; done")], {(LOSES, "shell-entrypoint")}),
    "timeout wrapper": (
        [command("timeout", "3600", *THREADS)],
        set(),
    ),
    "node shell form cmd": ([command("/bin/sh", "-c", "node server.js")], {(LOSES, "shell-entrypoint")}),
    "go air": ([command("air", "-c", ".air.toml")], {(RISKS, "reload")}),
    "ts-node": ([command("npx", "ts-node", "src/main.ts")], {(LOSES, "wrapper")}),
    "vite dev": ([command("npm", "run", "dev")], {(LOSES, "wrapper")}),
    "docker-php exec": ([script("exec docker-php-entrypoint apache2-foreground")], set()),
    "uvicorn entrypoint sh": (
        [
            script(
                "alembic upgrade head && "
                "exec uvicorn app:app --timeout-keep-alive 75 --timeout-graceful-shutdown 20"
            )
        ],
        set(),
    ),
    "gunicorn sync long": (
        [script("exec gunicorn app:app --bind :$PORT --graceful-timeout 20 --workers ${WORKERS:-3}")],
        set(),
    ),
    "xargs": ([script("cat /args | xargs gunicorn app:app")], {(LOSES, "shell-entrypoint")}),
    "ingress short timeouts": (
        [GUNICORN, ingress({"nginx.ingress.kubernetes.io/proxy-read-timeout": "10"})],
        set(),
    ),
    "ingress wrong port": ([ingress({}, 81)], {(LOSES, "ingress-backend")}),
    "httproute timeout": (
        [
            GUNICORN,
            added(
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "HTTPRoute",
                    "metadata": META,
                    "spec": {
                        "parentRefs": [{"name": "edge"}],
                        "rules": [
                            {"timeouts": {"request": "5s"}, "backendRefs": [{"name": "web", "port": 80}]}
                        ],
                    },
                }
            ),
        ],
        set(),
    ),
    "httproute wrong port": (
        [
            GUNICORN,
            added(
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "HTTPRoute",
                    "metadata": META,
                    "spec": {
                        "parentRefs": [{"name": "edge"}],
                        "rules": [{"backendRefs": [{"name": "web", "port": 8080}]}],
                    },
                }
            ),
        ],
        {(LOSES, "ingress-backend")},
    ),
    "httproute other ns": (
        [
            GUNICORN,
            added(
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "HTTPRoute",
                    "metadata": META,
                    "spec": {
                        "parentRefs": [{"name": "edge"}],
                        "rules": [{"backendRefs": [{"name": "web", "port": 80, "namespace": "other"}]}],
                    },
                }
            ),
        ],
        set(),
    ),
    "httproute weight 0": (
        [
            GUNICORN,
            added(
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "HTTPRoute",
                    "metadata": META,
                    "spec": {
                        "parentRefs": [{"name": "edge"}],
                        "rules": [{"backendRefs": [{"name": "web", "port": 80, "weight": 0}]}],
                    },
                }
            ),
        ],
        set(),
    ),
    "no apiVersion": ([lambda objects: objects[0].pop("apiVersion")], {(LOSES, "refused")}),
    "no apiVersion of a Service": ([lambda objects: objects[1].pop("apiVersion")], {(LOSES, "refused")}),
    "apiVersion v1 of a Deployment": (
        [lambda objects: objects[0].update(apiVersion="v1")],
        {(LOSES, "refused")},
    ),
    "apiVersion empty": ([lambda objects: objects[0].update(apiVersion="")], {(LOSES, "refused")}),
    "apiVersion apps/v2": ([lambda objects: objects[0].update(apiVersion="apps/v2")], {(LOSES, "refused")}),
    "name in capitals": ([lambda objects: objects[0]["metadata"].update(name="Web")], {(LOSES, "refused")}),
    "name for envsubst": ([lambda objects: objects[0]["metadata"].update(name="${APP}")], set()),
    "daemonset with surge and the default": (
        [daemonset, spec(updateStrategy={"rollingUpdate": {"maxSurge": 1}})],
        {(LOSES, "refused")},
    ),
    "daemonset with neither": (
        [daemonset, spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 0}})],
        {(LOSES, "refused")},
    ),
    "su as PID 1": ([command("su", "app", "-c", "gunicorn app:app")], {(RISKS, "wrapper")}),
    "su of BusyBox": ([command("su", "app", "-c", "gunicorn app:app"), image("python:3-alpine")], set()),
}
