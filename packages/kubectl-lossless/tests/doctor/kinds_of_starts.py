"""Command lines: shells, inits, supervisors, wrappers and servers, with the findings that count."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.helpers import LOSES, RISKS
from doctor.kinds import (
    GUNICORN,
    THREADS,
    Change,
    command,
    env,
    image,
    no_hook,
    no_probes,
    of_container,
    script,
    without_service,
)
from kubectl_lossless.doctor.finding import Severity

STARTS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "sh -e -c one command": ([script(GUNICORN, "sh", "-e", "-c")], {(LOSES, "shell-entrypoint")}),
    "sh -ec": ([script(GUNICORN, "/bin/sh", "-ec")], {(LOSES, "shell-entrypoint")}),
    "sh -c exec after set -e": ([script(f"set -e\n./migrate\nexec {GUNICORN}\n")], set()),
    "bash -c a && b": ([script(f"./migrate && {GUNICORN}", "bash", "-c")], set()),
    "bash -lc a; b": ([script(f"./migrate; {GUNICORN}", "bash", "-lc")], set()),
    "bash -o pipefail -c": ([script(f"exec {GUNICORN}", "bash", "-o", "pipefail", "-c")], set()),
    "bash -euxo pipefail -c one": ([script(f"{GUNICORN}", "bash", "-euxo", "pipefail", "-c")], set()),
    "bash a && b redirect": (
        [script(f"./migrate && {GUNICORN} 2>&1", "bash", "-c")],
        {(LOSES, "shell-entrypoint")},
    ),
    "bash background wait no trap": (
        [script(f"{GUNICORN} &\nwait\n", "bash", "-c")],
        {(LOSES, "shell-entrypoint")},
    ),
    "bash trap kills wait": (
        [script(f"trap 'kill -TERM $PID' TERM\n{GUNICORN} &\nPID=$!\nwait $PID\nwait $PID\n", "bash", "-c")],
        set(),
    ),
    "sh trap exit": ([script(f"trap exit TERM\n{GUNICORN} &\nwait\n")], {(RISKS, "shell-entrypoint")}),
    "sh trap '' TERM": ([script(f"trap '' TERM\n{GUNICORN}\n")], {(LOSES, "shell-entrypoint")}),
    "sh cd && exec": ([script(f"cd /app && exec {GUNICORN}")], set()),
    "sh . env && exec": ([script(f". ./settings && exec {GUNICORN}")], set()),
    "sh source without exec": (
        [script(f". ./settings && {GUNICORN}")],
        {(LOSES, "shell-entrypoint")},
    ),
    "sh exec with env": ([script(f"exec env PORT=80 {GUNICORN}")], set()),
    "sh exec su-exec": ([script(f"exec su-exec app {GUNICORN}")], set()),
    "sh exec gosu": ([script(f"exec gosu app {GUNICORN}")], set()),
    "sh exec sudo": ([script(f"exec sudo -u app {GUNICORN}")], set()),
    "sh su -c": ([script(f"su app -c '{GUNICORN}'")], {(LOSES, "shell-entrypoint")}),
    "sh exec tini": ([script(f"exec tini -- {GUNICORN}")], set()),
    "sh exec dumb-init": ([script(f"exec dumb-init {GUNICORN}")], set()),
    "tini -g sh": ([command("tini", "-g", "--", "sh", "-c", GUNICORN)], {(LOSES, "shell-entrypoint")}),
    "dumb-init sh": ([command("dumb-init", "--", "sh", "-c", GUNICORN)], {(LOSES, "shell-entrypoint")}),
    "dumb-init single-child sh": (
        [command("dumb-init", "--single-child", "sh", "-c", GUNICORN)],
        {(LOSES, "shell-entrypoint")},
    ),
    "tini server": ([command("/sbin/tini", "--", *THREADS)], set()),
    "dumb-init server": ([command("/usr/bin/dumb-init", *THREADS)], set()),
    "catatonit sh": ([command("catatonit", "--", "sh", "-c", GUNICORN)], {(LOSES, "shell-entrypoint")}),
    "s6 init": ([command("/init")], set()),
    "supervisord": ([command("supervisord", "-n", "-c", "/etc/supervisord.conf")], {(RISKS, "wrapper")}),
    "sh supervisord exec": ([script("exec supervisord -n")], {(RISKS, "wrapper")}),
    "sh supervisord": ([script("supervisord -n")], {(LOSES, "shell-entrypoint")}),
    "nohup background tail": (
        [script(f"nohup {GUNICORN} & tail -f /dev/null")],
        {(LOSES, "shell-entrypoint")},
    ),
    "sleep infinity behind": ([script(f"{GUNICORN} & sleep infinity")], {(LOSES, "shell-entrypoint")}),
    "args only for image entrypoint": (
        [
            of_container(
                command=None,
                args=[*THREADS],
            )
        ],
        set(),
    ),
    "script file": ([command("/entrypoint.sh")], set()),
    "sh script file": ([command("sh", "/entrypoint.sh")], set()),
    "ash -c": ([script(GUNICORN, "ash", "-c")], set()),
    "busybox sh -c": ([command("busybox", "sh", "-c", GUNICORN)], set()),
    "zsh -c": ([script(GUNICORN, "zsh", "-c")], set()),
    "sh -c with args placeholder": (
        [command("sh", "-c", 'exec "$@"', "--", *THREADS)],
        set(),
    ),
    "sh subshell": ([script(f"({GUNICORN})")], {(LOSES, "shell-entrypoint")}),
    "sh subshell exec": ([script(f"(exec {GUNICORN})")], {(LOSES, "shell-entrypoint")}),
    "sh exec and fallback": ([script(f"exec {GUNICORN} || sleep 100")], set()),
    "sh heredoc then exec": ([script(f"cat >/tmp/x <<E\na\nE\nexec {GUNICORN}\n")], set()),
    "sh heredoc without exec": (
        [script(f"cat >/tmp/x <<E\nexec nothing\nE\n{GUNICORN}\n")],
        {(LOSES, "shell-entrypoint")},
    ),
    "sh until loop then exec": ([script(f"until nc -z db 5432; do sleep 1; done; exec {GUNICORN}")], set()),
    "sh until loop without exec": (
        [script(f"until nc -z db 5432; do sleep 1; done; {GUNICORN}")],
        {(LOSES, "shell-entrypoint")},
    ),
    "sh [ -f ] && . ; exec": ([script(f"[ -f /x ] && . /x; exec {GUNICORN}")], set()),
    "sh exec in && chain w/o last": ([script(f"./a && ./b && exec {GUNICORN}")], set()),
    "sh eval exec": ([script(f"eval exec {GUNICORN}")], set()),
    "sh export then exec": ([script(f"export A=1; export B=$(cat /x); exec {GUNICORN}")], set()),
    "bash export then server": ([script(f"export A=1; {GUNICORN}", "bash", "-c")], set()),
    "env -S sh": ([command("/usr/bin/env", "-S", "sh", "-c", GUNICORN)], {(LOSES, "shell-entrypoint")}),
    "env bash -c and": ([command("/usr/bin/env", "bash", "-c", f"./m && {GUNICORN}")], set()),
    "doppler run": ([command("doppler", "run", "--", *THREADS)], set()),
    "pipenv run": ([command("pipenv", "run", *THREADS)], set()),
    "npm start": ([command("npm", "start")], {(LOSES, "wrapper")}),
    "npm run prod": ([command("npm", "run", "start:prod")], {(LOSES, "wrapper")}),
    "yarn start": ([command("yarn", "start")], {(LOSES, "wrapper")}),
    "npx": ([command("npx", "serve", "-l", "8000")], {(LOSES, "wrapper")}),
    "sh -c npm": ([script("npm run migrate && npm start")], {(LOSES, "shell-entrypoint")}),
    "sh exec npm": ([script("exec npm start")], {(LOSES, "wrapper")}),
    "uv run": ([command("uv", "run", *THREADS)], set()),
    "nodemon": ([command("nodemon", "server.js")], {(RISKS, "reload")}),
    "uvicorn timeouts": (
        [command("uvicorn", "app:app", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "20")],
        set(),
    ),
    "uvicorn default with hook": (
        [command("uvicorn", "app:app", "--host", "0.0.0.0")],
        {(RISKS, "keepalive")},
    ),
    "uvicorn reload": (
        [command("uvicorn", "app:app", "--reload", "--timeout-keep-alive", "75")],
        {(RISKS, "reload")},
    ),
    "uvicorn module": (
        [command("python", "-m", "uvicorn", "app:app"), no_hook],
        {(LOSES, "drain"), (RISKS, "keepalive")},
    ),
    "gunicorn uvicorn worker": (
        [command("gunicorn", "app:app", "-k", "uvicorn.workers.UvicornWorker", "--graceful-timeout", "20")],
        {(RISKS, "keepalive")},
    ),
    "gunicorn uvicorn worker keepalive": (
        [
            command(
                "gunicorn",
                "app:app",
                "-k",
                "uvicorn.workers.UvicornWorker",
                "--graceful-timeout",
                "20",
                "--keep-alive",
                "75",
            )
        ],
        set(),
    ),
    "gunicorn eq options": (
        [command("gunicorn", "app:app", "--worker-class=gevent", "--keep-alive=75", "--graceful-timeout=20")],
        set(),
    ),
    "gunicorn env args": (
        [
            command("gunicorn", "app:app"),
            env(GUNICORN_CMD_ARGS="-k gthread --keep-alive 75 --graceful-timeout 20"),
        ],
        set(),
    ),
    "gunicorn bad class": ([command("gunicorn", "app:app", "-w", "many")], {(LOSES, "settings")}),
    "gunicorn default": ([command("gunicorn", "app:app"), no_hook], {(LOSES, "drain")}),
    "fastapi run": ([command("fastapi", "run", "main.py")], {(RISKS, "keepalive")}),
    "fastapi dev": ([command("fastapi", "dev", "main.py")], {(RISKS, "keepalive"), (RISKS, "reload")}),
    "hypercorn keepalive": ([command("hypercorn", "app:app", "--keep-alive", "75")], set()),
    "nginx fg with hook": ([command("nginx", "-g", "daemon off;")], set()),
    "nginx no hook": ([command("nginx", "-g", "daemon off;"), no_hook], {(LOSES, "drain")}),
    "nginx image no command": ([image("nginx:1.27"), of_container(command=[]), no_hook], {(LOSES, "drain")}),
    "java jar": ([command("java", "-jar", "/app.jar")], set()),
    "java jar no hook": ([command("java", "-jar", "/app.jar"), no_hook], {(RISKS, "drain")}),
    "sh -c java": ([script("java $JAVA_OPTS -jar /app.jar")], {(LOSES, "shell-entrypoint")}),
    "sh exec java": ([script("exec java $JAVA_OPTS -jar /app.jar")], set()),
    "node server": ([command("node", "server.js")], set()),
    "node server no hook": ([command("node", "server.js"), no_hook], {(RISKS, "drain")}),
    "catalina run": ([command("catalina.sh", "run")], set()),
    "httpd fg": ([command("httpd-foreground"), no_hook], {(RISKS, "drain")}),
    "puma": ([command("bundle", "exec", "puma", "-C", "config/puma.rb"), no_hook], {(RISKS, "drain")}),
    "rails s": ([command("bin/rails", "server", "-b", "0.0.0.0"), no_hook], {(RISKS, "drain")}),
    "php-fpm": ([command("php-fpm"), no_hook], {(RISKS, "drain")}),
    "dotnet": ([command("dotnet", "Shop.dll"), no_hook], {(RISKS, "drain")}),
    "envoy": ([command("envoy", "-c", "/e.yaml"), no_hook], {(RISKS, "drain")}),
    "manage runserver": (
        [command("python", "manage.py", "runserver", "0.0.0.0:8000")],
        {(LOSES, "sigterm-ignored")},
    ),
    "python -u app": ([command("python", "-u", "app.py")], {(RISKS, "sigterm-ignored")}),
    "tini python app": ([command("tini", "--", "python", "app.py")], {(RISKS, "in-flight")}),
    "streamlit": ([command("streamlit", "run", "app.py")], set()),
    "flask via tini": (
        [command("tini", "--", "flask", "run"), no_hook],
        {(LOSES, "drain"), (RISKS, "in-flight")},
    ),
    "celery worker served": (
        [
            command("celery", "-A", "shop", "worker"),
            without_service,
            of_container(ports=[]),
            no_probes,
            no_hook,
        ],
        set(),
    ),
    "go binary no hook": ([no_hook], {(RISKS, "drain")}),
    # Python programs of the user's own.
    "module of the user's own": ([command("python", "-m", "shop")], {(RISKS, "sigterm-ignored")}),
    "module of the user's own, unbuffered": (
        [command("python3.12", "-um", "shop.server")],
        {(RISKS, "sigterm-ignored")},
    ),
    "module of the user's own behind tini": (
        [command("tini", "--", "python", "-m", "shop")],
        {(RISKS, "in-flight")},
    ),
    "module of the user's own behind uv": (
        [command("uv", "run", "python", "-m", "shop")],
        {(RISKS, "in-flight")},
    ),
    "module of the user's own in a script": (
        [script("python -m shop migrate && exec python -m shop")],
        {(RISKS, "sigterm-ignored")},
    ),
    "module of the user's own before Gunicorn": (
        [script("python -m shop migrate && exec gunicorn a:b --graceful-timeout 20")],
        set(),
    ),
    "module gunicorn joined": (
        [command("python", "-mgunicorn", *THREADS[1:]), no_hook],
        {(LOSES, "drain")},
    ),
    "module uvicorn behind debugpy": (
        [command("python", "-m", "debugpy", "--listen", "0:5678", "-m", "uvicorn", "a:b")],
        {(RISKS, "keepalive")},
    ),
    "file behind coverage": (
        [command("python", "-m", "coverage", "run", "app.py")],
        {(RISKS, "sigterm-ignored")},
    ),
    "module aiohttp.web": ([command("python", "-m", "aiohttp.web", "a:b")], set()),
    "module of vLLM": ([command("python3", "-m", "vllm.entrypoints.openai.api_server")], set()),
    "module celery": (
        [command("python", "-m", "celery", "-A", "shop", "worker"), without_service],
        set(),
    ),
}
