"""Programs and their settings in ConfigMaps and variables, with what counts in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    THREADS,
    Change,
    command,
    env,
    grace,
    hook,
    image,
    no_hook,
    no_probes,
    of_container,
    pod,
    script,
    spec,
    without_service,
)
from doctor.kinds_of_hooks import UVICORN
from kubectl_lossless.doctor.finding import Severity

SERVER = " ".join(THREADS)

SPRING_YAML = """
server:
  shutdown: graceful
spring:
  lifecycle:
    timeout-per-shutdown-phase: {}
"""

HEALTH = {"httpGet": {"path": "/healthz", "port": 8081}, "timeoutSeconds": 2}


def variable_from(name: str, **source: Any) -> Change:
    """Add a variable whose value is elsewhere."""
    return of_container(env=[{"name": name, "valueFrom": source}])


def config_map(name: str, data: dict[str, str]) -> Change:
    """Add a ConfigMap."""
    metadata = {"name": name, "namespace": "demo"}
    return lambda objects: objects.append(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )


def mounted(name: str, path: str, **fields: Any) -> Change:
    """Mount a ConfigMap into the container, as files that may be executed."""

    def change(objects: list[Object]) -> None:
        pod(objects)["volumes"] = [{"name": "conf", "configMap": {"name": name, "defaultMode": 0o755}}]
        container(objects)["volumeMounts"] = [{"name": "conf", "mountPath": path, **fields}]

    return change


PROGRAMS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "gunicorn file in ConfigMap": (
        [
            command("gunicorn", "-c", "/etc/g/gunicorn.conf.py", "a:b"),
            mounted("conf", "/etc/g"),
            config_map(
                "conf", {"gunicorn.conf.py": "worker_class='gthread'\nkeepalive=75\ngraceful_timeout=20\n"}
            ),
        ],
        set(),
    ),
    "gunicorn file in ConfigMap with subPath": (
        [
            command("gunicorn", "-c", "/app/gunicorn.conf.py", "a:b"),
            mounted("conf", "/app/gunicorn.conf.py", subPath="g.py"),
            config_map("conf", {"g.py": "worker_class='gthread'\nkeepalive=75\ngraceful_timeout=90\n"}),
        ],
        {(RISKS, "grace-period")},
    ),
    "gunicorn file in ConfigMap, short keepalive": (
        [
            command("gunicorn", "-c", "/etc/g/gunicorn.conf.py", "a:b"),
            mounted("conf", "/etc/g"),
            config_map(
                "conf", {"gunicorn.conf.py": "worker_class='gthread'\nkeepalive=2\ngraceful_timeout=20\n"}
            ),
        ],
        {(RISKS, "keepalive")},
    ),
    "gunicorn args in ConfigMap": (
        [
            command("gunicorn", "a:b"),
            config_map("env", {"GUNICORN_CMD_ARGS": "-k gthread --keep-alive 75 --graceful-timeout 100"}),
            of_container(envFrom=[{"configMapRef": {"name": "env"}}]),
        ],
        {(RISKS, "grace-period")},
    ),
    "supervisord with stopwaitsecs": (
        [
            command("supervisord", "-n", "-c", "/etc/s/supervisord.conf"),
            mounted("conf", "/etc/s"),
            config_map("conf", {"supervisord.conf": "[program:web]\ncommand=/srv/server\nstopwaitsecs=40\n"}),
        ],
        set(),
    ),
    "supervisord without stopwaitsecs": (
        [
            command("supervisord", "-n", "-c", "/etc/s/supervisord.conf"),
            mounted("conf", "/etc/s"),
            config_map("conf", {"supervisord.conf": "[program:web]\ncommand=/srv/server\n"}),
        ],
        {(RISKS, "wrapper")},
    ),
    "spring graceful by env": (
        [command("java", "-jar", "/app.jar"), env(SERVER_SHUTDOWN="graceful"), no_hook, grace(60)],
        {(LOSES, "drain")},
    ),
    "spring graceful and hook and grace 30": (
        [command("java", "-jar", "/app.jar"), env(SERVER_SHUTDOWN="graceful"), grace(30)],
        {(RISKS, "grace-period")},
    ),
    "spring graceful 10s in 30": (
        [
            command("java", "-jar", "/app.jar"),
            env(SERVER_SHUTDOWN="graceful", SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE="10s"),
            grace(30),
        ],
        set(),
    ),
    "spring graceful 10s in 30 by the variable without underscores": (
        [
            command("java", "-jar", "/app.jar"),
            env(SERVER_SHUTDOWN="graceful", SPRING_LIFECYCLE_TIMEOUTPERSHUTDOWNPHASE="10s"),
            grace(30),
        ],
        set(),
    ),
    "spring graceful 45s in 30 by a file": (
        [
            command("java", "-jar", "/app.jar"),
            mounted("conf", "/config"),
            config_map("conf", {"application.yaml": SPRING_YAML.format("45s")}),
            grace(30),
        ],
        {(RISKS, "grace-period")},
    ),
    "spring graceful 10s in 30 by a file": (
        [
            command("java", "-jar", "/app.jar"),
            mounted("conf", "/config"),
            config_map("conf", {"application.yaml": SPRING_YAML.format("10s")}),
            grace(30),
        ],
        set(),
    ),
    "spring immediate by a file of properties": (
        [
            command("java", "-jar", "/app.jar"),
            mounted("conf", "/config"),
            config_map("conf", {"application-prod.properties": "server.shutdown = immediate\n"}),
        ],
        {(RISKS, "in-flight")},
    ),
    "spring graceful 20s in 60": (
        [
            command(
                "java",
                "-Dserver.shutdown=graceful",
                "-Dspring.lifecycle.timeout-per-shutdown-phase=20s",
                "-jar",
                "/app.jar",
            ),
            grace(60),
        ],
        set(),
    ),
    "spring immediate": (
        [command("java", "-jar", "/app.jar", "--server.shutdown=immediate")],
        {(RISKS, "in-flight")},
    ),
    "traefik with a grace": (
        [
            image("traefik:v3.1"),
            command(),
            of_container(
                args=[
                    "--entrypoints.web.address=:8000",
                    "--entrypoints.web.transport.lifecycle.requestacceptgracetimeout=15",
                    "--ping",
                ]
            ),
            no_hook,
        ],
        set(),
    ),
    "traefik bare": (
        [image("traefik:v3.1"), command(), of_container(args=["--entrypoints.web.address=:8000"]), no_hook],
        {(LOSES, "drain")},
    ),
    "php -S": ([command("php", "-S", "0.0.0.0:8000", "-t", "public")], {(LOSES, "sigterm-ignored")}),
    "artisan serve": ([command("php", "artisan", "serve", "--host=0.0.0.0")], {(LOSES, "sigterm-ignored")}),
    "artisan queue": (
        [
            without_service,
            command("php", "artisan", "queue:work", "--tries=3"),
            of_container(ports=[]),
            no_hook,
        ],
        set(),
    ),
    "runserver_plus": (
        [command("python", "manage.py", "runserver_plus", "0.0.0.0:8000")],
        {(LOSES, "sigterm-ignored")},
    ),
    "litestar run": (
        [command("litestar", "run", "--host", "0.0.0.0"), no_hook],
        {(LOSES, "drain"), (RISKS, "keepalive")},
    ),
    "mvn spring-boot:run": ([command("mvn", "spring-boot:run")], {(LOSES, "wrapper")}),
    "gradlew bootRun": ([command("./gradlew", "bootRun")], {(LOSES, "wrapper")}),
    "uvicorn workers": ([command(*UVICORN, "--workers", "4")], set()),
    "uvicorn by python -m via dumb-init": ([command("dumb-init", "--", "python", "-m", *UVICORN)], set()),
    "granian workers without hook": (
        [command("granian", "--interface", "asgi", "a:b", "--workers", "4"), no_hook],
        {(LOSES, "drain")},
    ),
    "hypercorn with a file": ([command("hypercorn", "--config", "file:/app/h.py", "a:b")], set()),
    "hypercorn with a file and a short keep-alive": (
        [command("hypercorn", "-c", "h.toml", "--keep-alive", "5", "a:b")],
        {(RISKS, "keepalive")},
    ),
    "php-fpm and nginx in one script": (
        [script("php-fpm -D && nginx -g 'daemon off;'")],
        {(LOSES, "shell-entrypoint")},
    ),
    "php-fpm and nginx in one script with exec": (
        [script("php-fpm -D && exec nginx -g 'daemon off;'")],
        set(),
    ),
    "hypercorn graceful 40": (
        [command("hypercorn", "a:b", "--graceful-timeout", "50", "--keep-alive", "75")],
        {(RISKS, "grace-period")},
    ),
    "unicorn": (
        [command("bundle", "exec", "unicorn", "-c", "config/unicorn.rb"), no_hook],
        {(LOSES, "drain")},
    ),
    "unicorn with hook": ([command("bundle", "exec", "unicorn", "-c", "config/unicorn.rb")], set()),
    "php-fpm with hook": ([command("php-fpm", "-F")], set()),
    "sidekiq with health port": (
        [without_service, command("bundle", "exec", "sidekiq", "-C", "config/sidekiq.yml"), no_hook],
        set(),
    ),
    "good_job": (
        [
            without_service,
            command("bundle", "exec", "good_job", "start"),
            no_hook,
            of_container(ports=[]),
            no_probes,
        ],
        set(),
    ),
    "resque rake": ([without_service, command("bundle", "exec", "rake", "resque:work"), no_hook], set()),
    "delayed_job health": ([without_service, command("bundle", "exec", "rake", "jobs:work"), no_hook], set()),
    "celery flower": ([command("celery", "-A", "a", "flower"), no_hook], {(RISKS, "drain")}),
    "dramatiq": ([without_service, command("dramatiq", "a.tasks"), no_hook], set()),
    "next start by node": ([command("node_modules/.bin/next", "start")], set()),
    "bun run": ([command("bun", "run", "start")], set()),
    "deno": ([command("deno", "run", "--allow-net", "main.ts")], set()),
    "pm2-runtime": ([command("pm2-runtime", "start", "app.js")], {(RISKS, "wrapper")}),
    "caddy": ([command("caddy", "run", "--config", "/etc/caddy/Caddyfile")], set()),
    "envoy with hook": ([image("envoyproxy/envoy:v1.31"), command("envoy", "-c", "/etc/envoy.yaml")], set()),
    "haproxy image": ([image("haproxy:3.0"), command()], set()),
    "apache image": ([image("httpd:2.4"), command(), no_hook], {(RISKS, "drain")}),
    "catalina": ([image("tomcat:10"), command("catalina.sh", "run")], set()),
    "uwsgi ini in ConfigMap with die-on-term": (
        [
            command("uwsgi", "--ini", "/etc/u/uwsgi.ini"),
            mounted("conf", "/etc/u"),
            config_map("conf", {"uwsgi.ini": "[uwsgi]\nhttp=:8000\ndie-on-term=true\n"}),
        ],
        {(RISKS, "in-flight")},
    ),
    "uwsgi ini in ConfigMap without die-on-term": (
        [
            command("uwsgi", "--ini", "/etc/u/uwsgi.ini"),
            mounted("conf", "/etc/u"),
            config_map("conf", {"uwsgi.ini": "[uwsgi]\nhttp=:8000\n"}),
        ],
        {(LOSES, "sigterm-ignored"), (RISKS, "in-flight")},
    ),
    "script in ConfigMap without exec": (
        [
            command("/bin/sh", "/scripts/start.sh"),
            mounted("conf", "/scripts"),
            config_map(
                "conf",
                {"start.sh": f"#!/bin/sh\nset -e\n./migrate\n{SERVER}\n"},
            ),
        ],
        {(LOSES, "shell-entrypoint")},
    ),
    "script in ConfigMap with exec": (
        [
            command("/scripts/start.sh"),
            mounted("conf", "/scripts"),
            config_map(
                "conf",
                {"start.sh": f"#!/bin/sh\nset -e\n./migrate\nexec {SERVER}\n"},
            ),
        ],
        set(),
    ),
    "hook script in ConfigMap": (
        [
            hook("/bin/sh", "/scripts/stop.sh"),
            mounted("conf", "/scripts"),
            config_map("conf", {"stop.sh": "#!/bin/sh\nsleep 2\n"}),
        ],
        {(LOSES, "prestop")},
    ),
    "conda exec": (
        [command("conda", "run", "--no-capture-output", "-n", "x", *THREADS)],
        {(LOSES, "wrapper")},
    ),
    "gunicorn uvicorn worker of its own package": (
        [
            command(
                "gunicorn",
                "a:b",
                "-k",
                "uvicorn_worker.UvicornWorker",
                "--keep-alive",
                "75",
                "--graceful-timeout",
                "20",
            )
        ],
        set(),
    ),
    "waitress with args": (
        [command("waitress-serve", "--port=8000", "--call", "a:create")],
        {(LOSES, "sigterm-ignored")},
    ),
    "python -m flask": (
        [command("python", "-m", "flask", "run", "--host=0.0.0.0")],
        {(LOSES, "sigterm-ignored")},
    ),
    "java agent in sh exec": ([script("exec java $JAVA_OPTS -cp /app:/app/lib/* com.example.Main")], set()),
    "bash login script with env": (
        [
            command(
                "bash",
                "-c",
                f"source /venv/bin/activate && exec {SERVER}",
            )
        ],
        set(),
    ),
    "workers from a Secret": (
        [command(*THREADS, "-w", "$(W)"), variable_from("W", secretKeyRef={"name": "s", "key": "w"})],
        set(),
    ),
    "workers from a resource": (
        [command(*THREADS, "-w", "$(W)"), variable_from("W", resourceFieldRef={"resource": "limits.cpu"})],
        set(),
    ),
    "workers from a ConfigMap that is not there": (
        [command(*THREADS, "-w", "$(W)"), variable_from("W", configMapKeyRef={"name": "c", "key": "w"})],
        set(),
    ),
    "keep-alive from a variable of a variable": (
        [
            command("gunicorn", "shop.wsgi", "--threads", "4", "--graceful-timeout", "20"),
            env(SECONDS="2", GUNICORN_CMD_ARGS="--keep-alive $(SECONDS)"),
        ],
        {(RISKS, "keepalive")},
    ),
    "controller that elects a leader": (
        [
            command("/manager", "--leader-elect", "--metrics-bind-address=:8080"),
            without_service,
            no_hook,
            of_container(ports=[], startupProbe=None, readinessProbe=HEALTH, livenessProbe=HEALTH),
            spec(replicas=1),
        ],
        set(),
    ),
    "cargo watch": ([command("cargo", "watch", "-x", "run")], {(RISKS, "reload")}),
    "go run": ([command("go", "run", "./cmd/web")], {(LOSES, "wrapper")}),
    "mix phx.server": ([command("mix", "phx.server")], set()),
    "elixir release": ([command("/app/bin/shop", "start")], set()),
    "consul-template exec": ([command("consul-template", "-exec", "/srv/server")], set()),
    "chamber exec": ([command("chamber", "exec", "shop", "--", *THREADS), no_hook], {(LOSES, "drain")}),
    "op run": ([command("op", "run", "--env-file=/x", "--", *THREADS), no_hook], {(LOSES, "drain")}),
    "sops exec-env": ([script("exec sops exec-env /x 'gunicorn a:b'")], set()),
    "gunicorn print then heredoc": ([script(f"cat <<EOF\nstarting\nEOF\nexec {' '.join(THREADS)}")], set()),
    "s6 overlay": ([image("lscr.io/linuxserver/nginx:1"), command("/init")], set()),
    "tini sh exec": ([command("tini", "--", "sh", "-c", "exec " + " ".join(THREADS))], set()),
}
