"""Misspelt and misplaced fields, settings elsewhere, scripts with a role, with what counts in them."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import GUNICORN, Change, added, command, env, hook, kind, no_hook, of_pod, pod, script, spec
from doctor.kinds_of_forms import wrapped
from doctor.kinds_of_pods import readiness, without
from kubectl_lossless.doctor.finding import Severity

REFUSED: set[tuple[Severity, str]] = {(LOSES, "refused")}
PROBE_PACE = {"periodSeconds": 2, "timeoutSeconds": 2}


def moved(name: str, source: str, target: str, new_name: str = "") -> Change:
    """Move a field between the places of a workload, or rename it."""

    def change(objects: list[Object]) -> None:
        places = {
            "spec": objects[0]["spec"],
            "template": objects[0]["spec"]["template"],
            "pod": pod(objects),
            "container": container(objects),
            "lifecycle": container(objects)["lifecycle"],
        }
        places[target][new_name or name] = places[source].pop(name)

    return change


def grpc_route(port: int) -> Change:
    rules = [{"backendRefs": [{"name": "web", "port": port}]}]
    fields = {"parentRefs": [{"name": "edge"}], "rules": rules}
    return added("gateway.networking.k8s.io/v1", "GRPCRoute", "web", fields)


def asks(*words: str) -> Change:
    return readiness(exec={"command": list(words)}, **PROBE_PACE)


def uwsgi(*words: str, **variables: str) -> Sequence[Change]:
    return [command("uwsgi", *words), env(**variables)]


GRACE = "terminationGracePeriodSeconds"
IN_FLIGHT: set[tuple[Severity, str]] = {(RISKS, "in-flight")}

FIELDS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "preStop beside lifecycle": (
        [moved("preStop", "lifecycle", "container")],
        {*REFUSED, (RISKS, "drain")},
    ),
    "lifecycle in the pod": ([moved("lifecycle", "container", "pod")], {*REFUSED, (RISKS, "drain")}),
    "readinessProbe in the pod": (
        [moved("readinessProbe", "container", "pod")],
        {*REFUSED, (RISKS, "readiness-probe")},
    ),
    "grace period in the container": ([moved(GRACE, "pod", "container")], REFUSED),
    "grace period in the template": ([moved(GRACE, "pod", "template")], REFUSED),
    "grace period in the Deployment": ([moved(GRACE, "pod", "spec")], REFUSED),
    "grace period of a liveness probe": (
        [lambda objects: container(objects)["livenessProbe"].update({GRACE: 60})],
        set(),
    ),
    "grace period of a readiness probe": (
        [lambda objects: container(objects)["readinessProbe"].update({GRACE: 60})],
        REFUSED,
    ),
    "minReadySeconds in the pod": ([moved("minReadySeconds", "spec", "pod")], REFUSED),
    "maxSurge beside rollingUpdate": (
        [spec(strategy={"type": "RollingUpdate", "maxSurge": 1, "maxUnavailable": 0})],
        REFUSED,
    ),
    "strategy of a StatefulSet": ([kind("StatefulSet", "progressDeadlineSeconds")], REFUSED),
    "updateStrategy of a Deployment": ([moved("strategy", "spec", "spec", "updateStrategy")], REFUSED),
    "misspelt readiness probe": (
        [moved("readinessProbe", "container", "container", "readynessProbe")],
        {*REFUSED, (RISKS, "readiness-probe")},
    ),
    "misspelt grace period": ([moved(GRACE, "pod", "pod", "terminationGracePeriod")], REFUSED),
    "hook in small letters": (
        [moved("preStop", "lifecycle", "lifecycle", "prestop")],
        {*REFUSED, (RISKS, "drain")},
    ),
    "misspelt period of a probe": (
        [readiness(httpGet={"path": "/ready", "port": "http"}, periodSecond=2, timeoutSeconds=2)],
        REFUSED,
    ),
    "field that the doctor does not know": ([of_pod(hostnameOverride="x", tolerations=[])], set()),
    "deadline of a pod": ([of_pod(activeDeadlineSeconds=600)], REFUSED),
    # Settings that stand elsewhere.
    "Uvicorn's timeout in a variable": (
        [command("uvicorn", "a:b"), env(UVICORN_TIMEOUT_KEEP_ALIVE="75")],
        set(),
    ),
    "Uvicorn's timeout in a variable and on its command line": (
        [command("uvicorn", "a:b", "--timeout-keep-alive", "5"), env(UVICORN_TIMEOUT_KEEP_ALIVE="75")],
        {(RISKS, "keepalive")},
    ),
    "Uvicorn's graceful timeout in a variable": (
        [
            command("uvicorn", "a:b", "--timeout-keep-alive", "75"),
            env(UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN="60"),
        ],
        {(RISKS, "grace-period")},
    ),
    "Uvicorn's reload in a variable": (
        [command("uvicorn", "a:b", "--timeout-keep-alive", "75"), env(UVICORN_RELOAD="true")],
        {(RISKS, "reload")},
    ),
    "variables of Uvicorn for fastapi run": (
        [command("fastapi", "run", "a.py"), env(UVICORN_TIMEOUT_KEEP_ALIVE="75")],
        {(RISKS, "keepalive")},
    ),
    "uWSGI with a file": (uwsgi("--ini", "/etc/uwsgi.ini"), IN_FLIGHT),
    "uWSGI with a file alone": (uwsgi("uwsgi.yaml"), IN_FLIGHT),
    "uWSGI with a file in a variable": (uwsgi(UWSGI_INI="/etc/x.ini"), IN_FLIGHT),
    "uWSGI with die-on-term in a variable": (uwsgi("--http", ":8000", UWSGI_DIE_ON_TERM="1"), IN_FLIGHT),
    "uWSGI without any": (uwsgi("--http", ":8000"), {(LOSES, "sigterm-ignored"), *IN_FLIGHT}),
    # Scripts.
    "script that reads another": ([script(". /start.sh")], set()),
    "case of roles whose worker stays": (
        [script(f"case $ROLE in web) exec {GUNICORN};; *) celery -A shop worker;; esac")],
        set(),
    ),
    "if of roles whose worker stays": (
        [script(f"if $WORKER; then python manage.py qcluster; else exec {GUNICORN}; fi")],
        set(),
    ),
    "if of roles whose server stays": (
        [script(f"if $WORKER; then exec celery -A shop worker; else {GUNICORN}; fi")],
        {(LOSES, "shell-entrypoint")},
    ),
    "env with the output of a command": (
        [script(f"exec env $(cat .env | xargs) {GUNICORN}"), no_hook],
        {(LOSES, "drain")},
    ),
    "doppler in front": wrapped("doppler", "run", "--"),
    "wait-for-it in front": wrapped("/wait-for-it.sh", "db:5432", "-t", "30", "--"),
    # Hooks and probes.
    "hook that asks for a shutdown": (
        [hook("curl", "-XPOST", "http://localhost:8000/shutdown")],
        {(LOSES, "prestop")},
    ),
    "hook that asks for a shutdown after 10 s": (
        [hook("sh", "-c", "sleep 10; wget -qO- localhost:15020/quitquitquit")],
        set(),
    ),
    "hook that asks for a drain": ([hook("curl", "-XPOST", "http://localhost:8000/drain")], set()),
    "probe in one word": ([asks("curl -f http://localhost:8000/")], {(LOSES, "probe-port")}),
    "probe that always succeeds": ([asks("/bin/true")], {(RISKS, "readiness-probe")}),
    "probe that always succeeds, without a startup probe": (
        [asks("sh", "-c", "exit 0"), without("startupProbe")],
        {(LOSES, "readiness-probe")},
    ),
    "probe that prints and asks": ([asks("sh", "-c", "echo x && curl -f localhost:8000")], set()),
    # Routes.
    "GRPCRoute": ([grpc_route(80)], set()),
    "GRPCRoute to a port that is not there": ([grpc_route(81)], {(LOSES, "ingress-backend")}),
}
