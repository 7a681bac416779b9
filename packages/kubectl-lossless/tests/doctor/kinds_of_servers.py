"""Pods with several servers, and with programs beside a server that are none, with what counts in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    NGINX,
    PROBES,
    THREADS,
    WAITS_25,
    Change,
    added,
    beside,
    command,
    hook,
    no_hook,
    pod,
    script,
    target_port,
    without_service,
)
from doctor.kinds_of_pods import without
from kubectl_lossless.doctor.finding import Severity

ADMIN = 9000
"""Port of the second server."""


def second(**fields: Any) -> Change:
    """Add a well-kept server; `fields` replace its own, and None removes one."""

    def change(objects: list[Object]) -> None:
        first = container(objects)
        probes = {each: {**first[each], "httpGet": {"path": "/", "port": ADMIN}} for each in PROBES}
        well = {
            "name": "admin",
            "image": "registry.test/admin:1",
            "command": ["/srv/admin"],
            "ports": [{"name": "admin", "containerPort": ADMIN}],
            "lifecycle": WAITS_25,
            **probes,
            **fields,
        }
        pod(objects)["containers"].append({key: each for key, each in well.items() if each is not None})

    return change


def second_service(port: Any = "admin", name: str = "admin", **fields: Any) -> Change:
    """Add a Service that leads to a port of the same pods."""
    ports = [{"port": 80, "targetPort": port, **fields}]
    return added("v1", "Service", name, {"selector": {"app": "web"}, "ports": ports})


def second_port(port: Any = "admin", name: str = "admin") -> Change:
    """Add a port to the Service."""

    def change(objects: list[Object]) -> None:
        (only,) = objects[1]["spec"]["ports"]
        only["name"] = "http"
        objects[1]["spec"]["ports"].append({"name": name, "port": 81, "targetPort": port})

    return change


NO_PROBES = dict.fromkeys(PROBES)
ENVOY = {
    "name": "edge",
    "image": "envoyproxy/envoy:v1.39.0",
    "ports": [{"name": "edge", "containerPort": 10000}],
}
REDIS = {"name": "redis", "image": "redis:8", "ports": [{"name": "redis", "containerPort": 6379}]}

SERVERS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "two servers": ([second(), second_service()], set()),
    "two servers of one Service": ([second(), second_port()], set()),
    "second server without a hook": ([second(lifecycle=None), second_service()], {(RISKS, "drain")}),
    "second server of one Service without a hook": (
        [second(lifecycle=None), second_port()],
        {(RISKS, "drain")},
    ),
    "first server without a hook": ([second(), second_service(), no_hook], {(RISKS, "drain")}),
    "second Gunicorn without a hook": (
        [command(*THREADS), second(command=[*THREADS], lifecycle=None), second_service()],
        {(LOSES, "drain")},
    ),
    "second server with a hook of 1 s": (
        [second(lifecycle={"preStop": {"sleep": {"seconds": 1}}}), second_service()],
        {(LOSES, "prestop")},
    ),
    "second server behind a shell": (
        [second(command=["sh", "-c", "gunicorn admin:app --threads 4 --keep-alive 75"]), second_port()],
        {(LOSES, "shell-entrypoint")},
    ),
    "second server that ignores SIGTERM": (
        [second(command=["flask", "run"]), second_service()],
        {(LOSES, "sigterm-ignored")},
    ),
    "second server without a readiness probe": (
        [second(readinessProbe=None, startupProbe=None), second_service()],
        {(LOSES, "readiness-probe")},
    ),
    "second server that needs a longer grace period": (
        [second(command=[*THREADS[:-1], "40"]), second_service()],
        {(RISKS, "grace-period")},
    ),
    "second server that closes idle connections after 5 s": (
        [second(command=["uvicorn", "admin:app", "--timeout-graceful-shutdown", "9"]), second_service()],
        {(RISKS, "keepalive")},
    ),
    "second server with few requests per worker": (
        [second(command=[*THREADS, "--max-requests", "50"]), second_service()],
        {(LOSES, "max-requests")},
    ),
    "second server with --reload": (
        [second(command=[*THREADS, "--reload"]), second_service()],
        {(RISKS, "reload")},
    ),
    "second server with a wrong option": (
        [second(command=[*THREADS, "--workers", "many"]), second_service()],
        {(LOSES, "settings")},
    ),
    "second server with little processor time": (
        [second(resources={"limits": {"cpu": "50m"}}), second_service()],
        {(RISKS, "cpu-limit")},
    ),
    "two servers that both need a longer grace period": (
        [
            command(*THREADS[:-1], "50"),
            no_hook,
            second(command=[*THREADS[:-1], "80"], lifecycle=None),
            second_service(),
        ],
        {(LOSES, "drain"), (RISKS, "grace-period")},
    ),
    "second server at a port of its probes": (
        [second(ports=None, lifecycle=None), second_service(ADMIN)],
        {(RISKS, "drain")},
    ),
    "second server at a port of its command line": (
        [
            second(
                ports=None, lifecycle=None, command=["/srv/admin", f"--listen=0.0.0.0:{ADMIN}"], **NO_PROBES
            ),
            second_service(ADMIN),
        ],
        {(RISKS, "drain"), (LOSES, "readiness-probe")},
    ),
    "second server at a port that nobody declares": (
        [second(ports=None, lifecycle=None, **NO_PROBES), second_service(ADMIN)],
        set(),  # target-port says that it is not checked
    ),
    "second known server at a port that nobody declares": (
        [
            second(
                ports=None,
                lifecycle=None,
                command=["gunicorn", "admin:app", "--graceful-timeout", "9"],
                **NO_PROBES,
            ),
            second_service(8001),
        ],
        {(LOSES, "drain"), (LOSES, "readiness-probe")},
    ),
    "second server without a Service": (
        [without_service, second(command=[*THREADS], lifecycle=None)],
        {(LOSES, "drain")},
    ),
    "second program without a Service": ([second(lifecycle=None), without_service], set()),
    "second program that no Service leads to": ([second(command=[*THREADS], lifecycle=None)], set()),
    "metrics of a second program": (
        [second(name="stats", lifecycle=None), second_port("admin", "metrics")],
        set(),
    ),
    "metrics port of a second program first": (
        [
            second(name="stats", lifecycle=None, ports=[{"name": "http-metrics", "containerPort": ADMIN}]),
            second_service(ADMIN),
            lambda objects: objects.insert(1, objects.pop(-1)),
        ],
        set(),
    ),
    "Service for the metrics of a second program": (
        [second(name="stats", lifecycle=None), second_service("admin", "web-metrics")],
        set(),
    ),
    "exporter with a Service": (
        [second(name="exporter", lifecycle=None), second_service("admin", "stats")],
        set(),
    ),
    "readiness of an exporter alone": (
        [
            second(name="exporter", image="registry.test/exporter:1"),
            without("readinessProbe", "startupProbe"),
        ],
        {(LOSES, "readiness-probe")},
    ),
    "names by UDP beside a server": (
        [
            second(
                ports=[{"name": "dns", "containerPort": 53, "protocol": "UDP"}], lifecycle=None, **NO_PROBES
            ),
            second_service("dns", "names", protocol="UDP"),
        ],
        set(),
    ),
    "Envoy in front of two servers": (
        [beside(**ENVOY, lifecycle=WAITS_25), target_port("edge"), second()],
        set(),
    ),
    "Envoy without a hook in front of two servers": (
        [beside(**ENVOY), target_port("edge"), second()],
        {(LOSES, "plain-sidecar")},
    ),
    "Envoy in front of a server that stops at once": (
        [
            beside(**ENVOY, lifecycle=WAITS_25),
            target_port("edge"),
            second(command=[*THREADS], lifecycle=None),
        ],
        {(LOSES, "drain")},
    ),
    "nginx at a Service of its own": ([beside(**NGINX, lifecycle=WAITS_25), second_service("web")], set()),
    "nginx without a hook at a Service of its own": (
        [beside(**NGINX), second_service("web")],
        {(LOSES, "plain-sidecar")},
    ),
    "istio-proxy written out": (
        [
            beside(
                name="istio-proxy",
                image="istio/proxyv2:1.29.0",
                lifecycle=WAITS_25,
                ports=[{"name": "http-envoy-prom", "containerPort": 15090}],
            )
        ],
        set(),
    ),
    "proxy by its name alone": (
        [
            beside(name="auth-proxy", ports=[{"name": "auth", "containerPort": 4180}], lifecycle=WAITS_25),
            second_service("auth"),
        ],
        set(),
    ),
    "cache beside a server": ([beside(**REDIS), second_service("redis", "cache")], set()),
    "cache beside a server without a hook": (
        [beside(**REDIS), command(*THREADS), no_hook],
        {(LOSES, "drain")},
    ),
    "second Service for a script": (
        [script("exec gunicorn shop.wsgi --graceful-timeout 20"), second(), second_service()],
        set(),
    ),
    "hooks in both of two Gunicorns": (
        [command(*THREADS), hook("sleep", "15"), second(command=[*THREADS]), second_service()],
        set(),
    ),
}
