"""More command lines: scripts, entry points, servers' options and workers, with the findings that count."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.helpers import LOSES, RISKS
from doctor.kinds import (
    GUNICORN,
    NGINX,
    THREADS,
    Change,
    before,
    command,
    env,
    grace,
    hook,
    image,
    no_hook,
    no_probes,
    of_container,
    script,
    target_port,
    without_service,
)
from doctor.kinds_of_pods import probe
from doctor.kinds_of_programs import config_map, mounted
from kubectl_lossless.doctor.finding import Severity


def run_script(text: str) -> Sequence[Change]:
    """Mount a script from a ConfigMap at /scripts/run.sh."""
    return [config_map("scripts", {"run.sh": text}), mounted("scripts", "/scripts")]


SCRIPTS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "entrypoint from ConfigMap execs its arguments": (
        [
            *run_script('#!/bin/sh\nset -e\nexec "$@"\n'),
            of_container(command=["/scripts/run.sh"], args=list(THREADS)),
        ],
        set(),
    ),
    "entrypoint from ConfigMap execs its arguments, no hook": (
        [
            *run_script('#!/bin/sh\nset -e\nexec "$@"\n'),
            of_container(command=["/scripts/run.sh"], args=list(THREADS)),
            no_hook,
        ],
        {(LOSES, "drain")},
    ),
    "entrypoint from ConfigMap runs its arguments": (
        [
            *run_script('#!/bin/sh\nset -e\n"$@"\n'),
            of_container(command=["/scripts/run.sh"], args=list(THREADS)),
        ],
        {(LOSES, "shell-entrypoint")},
    ),
    "entrypoint from ConfigMap by sh": (
        [*run_script("set -e\ncd /srv\n./server\n"), command("sh", "/scripts/run.sh")],
        {(LOSES, "shell-entrypoint")},
    ),
    "entrypoint from ConfigMap by bash -x": (
        [*run_script("set -e\ncd /srv\nexec ./server\n"), command("bash", "-x", "/scripts/run.sh")],
        set(),
    ),
    "node into a log formatter": ([script("node server.js | pino-pretty")], {(LOSES, "shell-entrypoint")}),
    "node in the background and wait": ([script("node server.js & wait")], {(LOSES, "shell-entrypoint")}),
    "exec java with variables": ([script("exec java $JAVA_OPTS -jar /app.jar")], set()),
    "java without a hook": ([command("java", "-jar", "/app.jar"), no_hook], {(RISKS, "drain")}),
    "bash trap that waits in the trap": (
        [
            script(
                "trap 'kill -TERM $pid; wait $pid' TERM\n"
                "gunicorn shop.wsgi --graceful-timeout 20 & pid=$!\nwait $pid\n",
                "bash",
                "-c",
            )
        ],
        set(),
    ),
    "tini -s": ([command("tini", "-s", "--", *THREADS), no_hook], {(LOSES, "drain")}),
    "env bash login exec uvicorn": (
        [command("/usr/bin/env", "bash", "-lc", "exec uvicorn a:b --timeout-keep-alive 75")],
        set(),
    ),
    "gunicorn options with equals": (
        [
            command(
                "gunicorn",
                "shop.wsgi",
                "--worker-class=gevent",
                "--keep-alive=75",
                "-t",
                "120",
                "--graceful-timeout=20",
            )
        ],
        set(),
    ),
    "gunicorn eventlet": ([command("gunicorn", "shop.wsgi", "-k", "eventlet")], {(RISKS, "keepalive")}),
    "gunicorn sync max-requests": (
        [
            command(
                "gunicorn",
                "shop.wsgi",
                "--max-requests",
                "1000",
                "--max-requests-jitter",
                "100",
                "--graceful-timeout",
                "20",
            )
        ],
        set(),
    ),
    "gunicorn preload": ([command(*THREADS, "--preload")], set()),
    "gunicorn -c": ([command("gunicorn", "-c", "/etc/gunicorn.conf.py", "shop.wsgi")], set()),
    "gunicorn option misspelt": ([command(*THREADS, "--max-requets", "1000")], {(LOSES, "settings")}),
    "gunicorn number of workers a word": (
        [command("gunicorn", "shop.wsgi", "--workers", "auto", "--graceful-timeout", "20")],
        {(LOSES, "settings")},
    ),
    "gunicorn keepalive 0 of threads": (
        [command("gunicorn", "shop.wsgi", "--threads", "4", "--keep-alive", "0", "--graceful-timeout", "20")],
        set(),
    ),
    "gunicorn tornado": (
        [command("gunicorn", "-k", "tornado", "shop:app", "--graceful-timeout", "20")],
        {(RISKS, "keepalive")},
    ),
    "gunicorn graceful equal to grace": ([command(*THREADS[:-1], "45")], {(RISKS, "grace-period")}),
    "hypercorn enough": (
        [command("hypercorn", "a:b", "--keep-alive", "75", "--graceful-timeout", "30")],
        set(),
    ),
    "uvicorn unlimited graceful": ([command("uvicorn", "a:b", "--timeout-keep-alive", "75")], set()),
    "runserver behind bash": (
        [script("python manage.py check && python manage.py runserver 0:8000", "bash", "-c")],
        {(LOSES, "sigterm-ignored")},
    ),
    "uvicorn module reload no hook": (
        [command("python", "-m", "uvicorn", "a:b", "--reload"), no_hook],
        {(LOSES, "drain"), (RISKS, "keepalive"), (RISKS, "reload")},
    ),
    "poetry run uvicorn": ([command("poetry", "run", "uvicorn", "a:b", "--timeout-keep-alive", "75")], set()),
    "pdm run": ([command("pdm", "run", "uvicorn", "a:b", "--timeout-keep-alive", "75")], set()),
    "next binary": ([command("node_modules/.bin/next", "start")], set()),
    "newrelic gunicorn no hook": (
        [command("newrelic-admin", "run-program", *THREADS), no_hook],
        {(LOSES, "drain")},
    ),
    "args alone for bash": ([of_container(command=["/bin/bash"], args=["-c", "exec /srv/server"])], set()),
    "php-fpm image alone": ([image("php:8.3-fpm"), of_container(command=None)], set()),
    "php-fpm image without a hook": (
        [image("php:8.3-fpm"), of_container(command=None), no_hook],
        {(RISKS, "drain")},
    ),
    "gunicorn unix socket behind nginx without hook": (
        [
            before(**NGINX),
            target_port("web"),
            command("gunicorn", "shop.wsgi", "--bind", "unix:/run/g.sock", "--graceful-timeout", "20"),
        ],
        {(LOSES, "plain-sidecar")},
    ),
    "arq": (
        [command("arq", "app.WorkerSettings"), without_service, of_container(ports=[]), no_probes, no_hook],
        set(),
    ),
    "celery by python -m": (
        [
            command("python", "-m", "celery", "-A", "shop", "worker"),
            without_service,
            of_container(ports=[]),
            no_probes,
            no_hook,
        ],
        set(),
    ),
    "rq in a shell": (
        [script("rq worker high default"), without_service, of_container(ports=[]), no_probes, no_hook],
        set(),
    ),
    "celery liveness exec": (
        [
            command("celery", "-A", "shop", "worker"),
            without_service,
            of_container(ports=[]),
            no_probes,
            no_hook,
            probe("liveness", exec={"command": ["celery", "inspect", "ping"]}, timeoutSeconds=10),
        ],
        set(),
    ),
    "kafka consumer with a metrics port": (
        [
            command("python", "-m", "shop.consumer"),
            without_service,
            no_probes,
            no_hook,
            of_container(ports=[{"name": "metrics", "containerPort": 9100}]),
        ],
        set(),
    ),
    "comment behind a continuation": (
        [script("exec gunicorn shop.wsgi \\\n  --graceful-timeout 20 \\\n  # the end\n")],
        set(),
    ),
    "folded script": ([script("set -eu; ./wait-for-db; exec /srv/server --listen :8000")], set()),
    "if with exec and a fallback that stays": (
        [script('if [ -n "$DEBUG" ]; then exec flask run; fi\n/srv/server\n')],
        {(LOSES, "shell-entrypoint")},
    ),
    "loop until the database and exec in a brace group": (
        [script("{ until nc -z db 5432; do sleep 1; done; } && exec /srv/server")],
        set(),
    ),
    "server with output into a file": ([script("exec /srv/server >> /var/log/app.log 2>&1")], set()),
    "ulimit and exec": ([script("ulimit -c 0 && exec /srv/server")], set()),
    "ulimit and server": ([script("ulimit -c 0 && /srv/server")], {(LOSES, "shell-entrypoint")}),
    "arithmetic then exec": (
        [script("W=$((2*$(nproc)+1)); exec gunicorn shop.wsgi -w $W --graceful-timeout 20")],
        set(),
    ),
    "bash double brackets": (
        [script("[[ -f /etc/x ]] && source /etc/x; exec /srv/server", "bash", "-c")],
        set(),
    ),
    "bash arrays then exec": (
        [script('args=(--port 8000); exec /srv/server "${args[@]}"', "bash", "-c")],
        set(),
    ),
    "process substitution with exec": ([script("exec /srv/server > >(tee /log)", "bash", "-c")], set()),
    "two servers joined by and": ([script("/srv/a & exec /srv/server")], set()),
    "sleep before the server": ([script("sleep 10; /srv/server")], {(LOSES, "shell-entrypoint")}),
    "nginx with envsubst and exec": (
        [
            image("nginx:1.27"),
            script("envsubst < /t > /etc/nginx/conf.d/default.conf && exec nginx -g 'daemon off;'"),
        ],
        set(),
    ),
    "java behind docker-java-home cat": ([script("cat /banner; exec java -jar app.jar")], set()),
    # Measured, runit 2.1.2: it exits at SIGTERM, and at SIGHUP without waiting for its services.
    "runit": ([command("runsvdir", "-P", "/etc/service")], {(LOSES, "wrapper")}),
    "runit in a script": ([script("exec runsvdir /etc/service")], {(LOSES, "wrapper")}),
    "hivemind": ([command("hivemind", "Procfile")], {(RISKS, "wrapper")}),
    "overmind": ([command("overmind", "start")], {(RISKS, "wrapper")}),
    "honcho as a module": ([command("python", "-m", "honcho", "start")], {(RISKS, "wrapper")}),
    "supervisor as a module": (
        [command("python", "-m", "supervisor.supervisord", "-n")],
        {(RISKS, "wrapper")},
    ),
    "circus": ([command("circusd", "/etc/circus.ini")], set()),
    "deno run": ([command("deno", "run", "-A", "server.ts")], set()),
    "nodemon through npx": ([command("npx", "nodemon", "server.js")], {(LOSES, "wrapper")}),
    "ts-node-dev": ([command("ts-node-dev", "server.ts")], {(RISKS, "reload")}),
    "python -m flask run": (
        [command("python", "-m", "flask", "--app", "shop", "run")],
        {(LOSES, "sigterm-ignored")},
    ),
    "gunicorn paster": ([command("gunicorn", "--paste", "/etc/prod.ini", "--graceful-timeout", "20")], set()),
    "python program before uvicorn": (
        [script("python wait_for_db.py && exec uvicorn a:b --timeout-keep-alive 75")],
        set(),
    ),
    "python program before an unknown server": ([script("python render.py; exec /srv/server")], set()),
    "python program before flask run": (
        [script("python wait.py; exec flask run")],
        {(LOSES, "sigterm-ignored")},
    ),
    "gunicorn --keepalive": (
        [command("gunicorn", "shop.wsgi", "--threads", "4", "--keepalive", "75")],
        {(LOSES, "settings")},
    ),
    "uvicorn that ends after requests": (
        [command("uvicorn", "a:b", "--timeout-keep-alive", "75", "--limit-max-requests", "1000")],
        {(LOSES, "max-requests")},
    ),
    "uvicorn workers that end after requests": (
        [
            command(
                "uvicorn", "a:b", "--timeout-keep-alive", "75", "--workers", "4", "--limit-max-requests=5000"
            )
        ],
        {(LOSES, "max-requests")},
    ),
    "uvicorn that ends after requests by variable": (
        [command("uvicorn", "a:b", "--timeout-keep-alive", "75"), env(UVICORN_LIMIT_MAX_REQUESTS="1000")],
        {(LOSES, "max-requests")},
    ),
    "python script by its name": ([command("/srv/app.py")], {(RISKS, "sigterm-ignored")}),
    "python script through uv": ([command("uv", "run", "python", "app.py")], {(RISKS, "in-flight")}),
    "next dev": ([command("next", "dev")], {(RISKS, "reload")}),
    "vite": ([command("npx", "vite", "--host")], {(LOSES, "wrapper")}),
    "gunicorn with many options": (
        [
            command(
                "gunicorn",
                "shop.wsgi:application",
                "-w",
                "4",
                "-b",
                ":8000",
                "--worker-tmp-dir",
                "/dev/shm",
                "--access-logfile",
                "-",
                "--error-logfile",
                "-",
                "--log-level",
                "info",
                "--forwarded-allow-ips",
                "*",
                "-k",
                "gthread",
                "--threads",
                "8",
                "--keep-alive",
                "75",
                "--graceful-timeout",
                "20",
                "--timeout",
                "60",
                "--limit-request-line",
                "8190",
                "--capture-output",
                "--name",
                "shop",
            )
        ],
        set(),
    ),
    "gunicorn with a factory": (
        [
            command(
                "gunicorn",
                "shop:create_app('prod')",
                "-k",
                "gthread",
                "--threads",
                "8",
                "--keep-alive",
                "75",
                "--graceful-timeout",
                "20",
            )
        ],
        set(),
    ),
    "gunicorn's default graceful timeout and 45 s": (
        [command("gunicorn", "shop.wsgi"), grace(45)],
        {(RISKS, "grace-period")},
    ),
    "gunicorn's bind by a variable": (
        [
            command("gunicorn", "shop.wsgi", "--bind=0.0.0.0:$(PORT)", "--graceful-timeout", "20"),
            of_container(
                env=[{"name": "PORT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['port']"}}}]
            ),
        ],
        set(),
    ),
    "artisan octane": ([command("php", "artisan", "octane:start", "--server=frankenphp")], set()),
    "python -m hypercorn": (
        [command("python", "-m", "hypercorn", "a:b", "--keep-alive", "75"), no_hook],
        {(LOSES, "drain")},
    ),
    "python -m granian": (
        [command("python3.13", "-m", "granian", "--interface", "asgi", "a:b"), no_hook],
        {(LOSES, "drain")},
    ),
    "bash activates a virtual environment": (
        [script("source /venv/bin/activate && gunicorn shop.wsgi --graceful-timeout 20", "bash", "-c")],
        set(),
    ),
    "sh activates a virtual environment": (
        [script(". /venv/bin/activate && exec gunicorn shop.wsgi --graceful-timeout 20")],
        set(),
    ),
    "server or a long sleep": ([script("/srv/server || sleep 3600")], {(LOSES, "shell-entrypoint")}),
    "server and a message": (
        [script("set -x; /srv/server; echo exited; sleep 60")],
        {(LOSES, "shell-entrypoint")},
    ),
    "loop with a counter and exec": (
        [
            script(
                "n=0\nuntil nc -z db 5432 || [ $n -ge 30 ]; do n=$((n+1)); sleep 1; done\nexec /srv/server\n"
            )
        ],
        set(),
    ),
    "exec with a variable as the program": ([script('exec "$SERVER" --port 8000')], set()),
    "exec of uvicorn with many workers in a heredoc'd script": (
        [script("cat > /tmp/x <<'EOF'\n[log]\nlevel=info\nEOF\nexec uvicorn a:b --timeout-keep-alive 75\n")],
        set(),
    ),
    "uwsgi by flags": (
        [
            command(
                "uwsgi",
                "--http",
                "0.0.0.0:8000",
                "--module",
                "shop.wsgi",
                "--master",
                "--die-on-term",
                "--processes",
                "4",
            )
        ],
        {(RISKS, "in-flight")},
    ),
    "uwsgi with hook and ini by flag": (
        [command("uwsgi", "--ini", "/etc/uwsgi.ini")],
        {(RISKS, "in-flight")},
    ),
    "waitress behind tini": (
        [command("tini", "--", "waitress-serve", "--call", "shop:create")],
        {(RISKS, "in-flight")},
    ),
    "server or exit": (
        [script("gunicorn shop.wsgi --graceful-timeout 20 || exit 1")],
        {(LOSES, "shell-entrypoint")},
    ),
    "server and its exit status": (
        [script("./migrate\ngunicorn shop.wsgi --graceful-timeout 20\nexit $?\n", "bash", "-c")],
        {(LOSES, "shell-entrypoint")},
    ),
    "branch that execs or prints": (
        [script("if [ -f /ready ]; then exec /srv/server; else echo missing >&2; exit 1; fi")],
        set(),
    ),
    "branch that execs the server or opens a shell": (
        [
            script(
                'if [ "$1" = web ]; then exec gunicorn shop.wsgi --graceful-timeout 20; '
                "else python manage.py shell; fi"
            )
        ],
        set(),
    ),
    "loop that execs once the database is there": (
        [script("while true; do if nc -z db 5432; then exec /srv/server; fi; sleep 1; done")],
        set(),
    ),
    "array of bash": (
        [
            script(
                'args=(--port 8000)\nif [[ -n "$DEBUG" ]]; then args+=(--debug); fi\n'
                'exec /srv/server "${args[@]}"\n',
                "bash",
                "-c",
            )
        ],
        set(),
    ),
    "log through a process substitution": (
        [script("exec /srv/server > >(tee /log) 2>&1", "bash", "-c")],
        set(),
    ),
    "function that starts the server in bash": (
        [script("serve() { /srv/server --port 8000; }; serve", "bash", "-c")],
        {(LOSES, "shell-entrypoint")},
    ),
    "server and a clean-up in bash": (
        [script("gunicorn shop.wsgi --graceful-timeout 20; rm -f /tmp/pid", "bash", "-c")],
        {(LOSES, "shell-entrypoint")},
    ),
    "trap that signals its own group": (
        [script("trap 'kill 0; wait' TERM; gunicorn shop.wsgi --graceful-timeout 20 & wait")],
        {(RISKS, "shell-entrypoint")},
    ),
    "time in front in bash": (
        [script("time gunicorn shop.wsgi --graceful-timeout 20", "bash", "-c")],
        {(LOSES, "shell-entrypoint")},
    ),
    "redirection of bash in dash": (
        [script(f"exec {GUNICORN} &> /log")],
        {(LOSES, "shell-entrypoint")},
    ),
    "redirection of bash in dash, without exec": (
        [script(f"./migrate; {GUNICORN} &>> /log")],
        {(LOSES, "shell-entrypoint")},
    ),
    "redirection of bash in bash": ([script(f"exec {GUNICORN} &> /log", "bash", "-c")], set()),
    "redirection of bash in busybox": (
        [script(f"exec {GUNICORN} &> /log"), image("python:3.13-alpine")],
        set(),
    ),
    "server in the background alone": ([script(f"{GUNICORN} &")], {(LOSES, "shell-entrypoint")}),
    "hook behind exit": ([hook("sh", "-c", "exit 0; sleep 15")], {(LOSES, "prestop")}),
    "hook behind a constant": ([hook("sh", "-c", "false && sleep 15")], {(LOSES, "prestop")}),
    # The sh of an image.
    "one command in the sh of UBI": (
        [script(GUNICORN), image("registry.access.redhat.com/ubi9/python-311:1")],
        set(),
    ),
    "one command in the sh of Amazon Linux": ([script("java -jar a.jar"), image("amazoncorretto:21")], set()),
    "one command in the sh of UBI minimal": ([script(GUNICORN), image("x/temurin:21-ubi9-minimal")], set()),
    "pipefail in the sh of Debian": (
        [script(f"set -euo pipefail; exec {GUNICORN}"), image("python:3.12-slim")],
        {(LOSES, "settings")},
    ),
    "source in the sh of Debian": (
        [script(f"source venv/bin/activate && exec {GUNICORN}"), image("x/web:1-bookworm")],
        {(LOSES, "settings")},
    ),
    "source in the sh of an image that nobody knows": (
        [script(f"source venv/bin/activate && exec {GUNICORN}")],
        set(),
    ),
    "source in bash": (
        [script(f"source venv/bin/activate && exec {GUNICORN}", "bash", "-c"), image("python:3.12")],
        set(),
    ),
    "source or else in the sh of Debian": (
        [script(f"source .env || true; exec {GUNICORN}"), image("python:3.12")],
        set(),
    ),
    "pipefail in the sh of Alpine": (
        [script(f"set -eo pipefail; exec {GUNICORN}"), image("python:3.12-alpine")],
        set(),
    ),
    "exec of a shell that stays": ([script(f"exec sh -c '{GUNICORN}'")], {(LOSES, "shell-entrypoint")}),
    "exec of a shell that stays behind a command": (
        [script(f"./migrate && exec sh -c '{GUNICORN}'")],
        {(LOSES, "shell-entrypoint")},
    ),
    "exec of a shell that execs": ([script(f"exec sh -c 'exec {GUNICORN}'")], set()),
    "exec of a shell that gives its place": ([script(f"exec bash -c '{GUNICORN}'")], set()),
    "exec of a shell that stays, without a hook": (
        [script("exec bash -c 'exec gunicorn shop.wsgi --threads 4 --keep-alive 75'"), no_hook, grace(60)],
        {(LOSES, "drain")},
    ),
    "exec of a shell with a script that only it knows": ([script('exec sh -c "$START"')], set()),
    "runuser": ([command("runuser", "-u", "app", "--", *THREADS)], {(RISKS, "wrapper")}),
    "hook that reads with a timeout": ([hook("bash", "-c", "read -t 15 <> <(:)")], set()),
    "xvfb-run": ([command("xvfb-run", *THREADS)], {(LOSES, "wrapper")}),
    "watchfiles": ([command("watchfiles", "gunicorn a:b", "src")], {(RISKS, "reload")}),
    "database by its port": (
        [
            of_container(image="registry.test/ledger-db:1", ports=[{"name": "http", "containerPort": 5432}]),
            no_hook,
            no_probes,
        ],
        set(),
    ),
}
