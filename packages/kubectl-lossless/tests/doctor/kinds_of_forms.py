"""Unusual forms of commands, hooks, probes and strategies, with what counts in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import (
    GUNICORN,
    PROBES,
    Change,
    command,
    hook,
    kind,
    no_hook,
    of_container,
    of_pod,
    script,
    spec,
)
from doctor.kinds_of_pods import of_service, pre_stop
from kubectl_lossless.doctor.finding import Severity

SERVER = tuple(GUNICORN.split())
SURGE = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
Kind = tuple[Sequence[Change], set[tuple[Severity, str]]]


def port_named(name: str) -> Change:
    """Name the port, which the probes and the Service then ask by its number."""

    def change(objects: list[Object]) -> None:
        container(objects)["ports"][0]["name"] = name
        for each in PROBES:
            container(objects)[each]["httpGet"]["port"] = 8000
        objects[1]["spec"]["ports"][0]["targetPort"] = 8000

    return change


def wrapped(*words: str) -> Kind:
    """Return a Gunicorn without a hook behind a program that execs it: it is recognized."""
    return [command(*words, *SERVER), no_hook], {(LOSES, "drain")}


def local(kind_of_policy: str, *more: Change) -> Sequence[Change]:
    """Return a DaemonSet behind a Service with a traffic policy Local."""
    policy: dict[str, Any] = {kind_of_policy: "Local", "type": "NodePort"}
    return [kind("DaemonSet", "strategy", "replicas"), of_service(**policy), *more]


TRAFFIC: set[tuple[Severity, str]] = {(RISKS, "external-traffic-policy")}

FORMS: dict[str, Kind] = {
    # What the API server refuses.
    "port named 80": ([port_named("80")], {(LOSES, "refused")}),
    "port named web-": ([port_named("web-")], {(LOSES, "refused")}),
    "port named web--1": ([port_named("web--1")], {(LOSES, "refused")}),
    "port named w3": ([port_named("w3")], set()),
    "port name for envsubst": ([port_named("${PORT}")], set()),
    "preStop without a handler": ([pre_stop()], {(LOSES, "refused"), (RISKS, "drain")}),
    "preStop of an empty exec": ([pre_stop(exec={})], {(LOSES, "refused"), (LOSES, "prestop")}),
    "preStop of httpGet without a port": ([pre_stop(httpGet={"path": "/drain"})], {(LOSES, "refused")}),
    "lifecycle without a hook": ([of_container(lifecycle={})], {(RISKS, "drain")}),
    "lifecycle null": ([of_container(lifecycle=None)], {(RISKS, "drain")}),
    "readiness probe without a handler": (
        [of_container(readinessProbe={})],
        {(LOSES, "refused"), (RISKS, "readiness-probe")},
    ),
    "postStart without a handler": (
        [of_container(lifecycle={"postStart": {}, "preStop": {"sleep": {"seconds": 15}}})],
        {(LOSES, "refused")},
    ),
    # Hooks.
    "hook sleeps in the background and waits": ([hook("sh", "-c", "sleep 15 & wait")], set()),
    "hook execs sleep": ([hook("sh", "-c", "exec sleep 15")], set()),
    "hook execs a short sleep": ([hook("sh", "-c", "exec sleep 2")], {(LOSES, "prestop")}),
    "hook execs true": ([hook("sh", "-c", "exec true")], {(LOSES, "prestop")}),
    "hook is busybox sleep": ([hook("busybox", "sleep", "3")], {(LOSES, "prestop")}),
    "hook is a script for busybox": ([hook("/bin/busybox", "sh", "-c", "sleep 3")], {(LOSES, "prestop")}),
    "hook is env sleep": ([hook("/usr/bin/env", "sleep", "3")], {(LOSES, "prestop")}),
    "hook is nice sleep": ([hook("nice", "sleep", "90")], {(LOSES, "grace-period")}),
    "hook is command sleep": ([hook("sh", "-c", "command sleep 2")], {(LOSES, "prestop")}),
    "hook is a timeout shorter than its sleep": (
        [hook("timeout", "-k", "1", "2", "sleep", "20")],
        {(LOSES, "prestop")},
    ),
    "hook kills what pgrep lists": (
        [hook("sh", "-c", "pgrep gunicorn | xargs -r kill -TERM")],
        {(LOSES, "prestop")},
    ),
    # Command lines that do not start.
    "command in one word": ([command(GUNICORN)], {(LOSES, "settings")}),
    "shell and its option in one word": ([command("sh -c", f"exec {GUNICORN}")], {(LOSES, "settings")}),
    "commands joined without a shell": ([command("cd", "/app", "&&", *SERVER)], {(LOSES, "settings")}),
    "command for an entrypoint that evaluates it": ([command("/entrypoint.sh", "a", "&&", "b")], set()),
    "program of Windows": ([command(r"C:\Program Files\web\web.exe")], set()),
    "Gunicorn in the background": ([command(*SERVER, "--daemon")], {(LOSES, "settings")}),
    # Programs in front of the server.
    "nice with a value": wrapped("nice", "-n", "10"),
    "stdbuf with a value": wrapped("stdbuf", "-o", "L"),
    "env without a variable": wrapped("env", "-u", "HOME", "A=1"),
    "tini with a value": wrapped("tini", "-p", "SIGTERM", "--"),
    "dumb-init with a rewritten signal": wrapped("dumb-init", "--rewrite", "1:15", "--"),
    "OpenTelemetry with an exporter": wrapped("opentelemetry-instrument", "--traces_exporter", "otlp"),
    "uv run with a package": wrapped("uv", "run", "--with", "gevent"),
    "uv run with an option without a value": wrapped("uv", "run", "--no-dev"),
    "setpriv with values": wrapped("setpriv", "--reuid", "1000", "--regid=1000", "--clear-groups"),
    "s6-setuidgid": wrapped("s6-setuidgid", "app"),
    "exec of the script's arguments": wrapped("sh", "-c", 'exec "$@"', "--"),
    "exec of $0 and the script's arguments": wrapped("sh", "-c", "exec $0 $@"),
    "exec under another name": (
        [script(f"exec -a web {GUNICORN}", "bash", "-c"), no_hook],
        {(LOSES, "drain")},
    ),
    "command exec": ([script(f"command exec {GUNICORN}")], set()),
    "node that watches files": ([command("node", "--watch", "server.js")], {(RISKS, "reload")}),
    # What is left of a request at SIGTERM.
    "Gunicorn with a graceful timeout of 0": (
        [command(*SERVER[:-1], "0")],
        {(RISKS, "in-flight")},
    ),
    "Uvicorn with a graceful timeout of 0": (
        [command("uvicorn", "a:b", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "0")],
        {(RISKS, "in-flight")},
    ),
    "flask run in a shared process namespace": (
        [command("flask", "run"), of_pod(shareProcessNamespace=True)],
        {(RISKS, "in-flight")},
    ),
    "Python program in the node's process namespace": (
        [command("python", "app.py"), of_pod(hostPID=True)],
        {(RISKS, "in-flight")},
    ),
    # Probes and strategies.
    "startup probe of 3 s": (
        [
            of_container(
                startupProbe={
                    "httpGet": {"path": "/alive", "port": "http"},
                    "periodSeconds": 1,
                    "timeoutSeconds": 2,
                }
            )
        ],
        {(RISKS, "slow-start")},
    ),
    "DaemonSet with internalTrafficPolicy Local": (local("internalTrafficPolicy"), TRAFFIC),
    "DaemonSet with internalTrafficPolicy Local and a surge": (
        local("internalTrafficPolicy", spec(updateStrategy=SURGE)),
        set(),
    ),
    "DaemonSet with externalTrafficPolicy Local": (
        local("externalTrafficPolicy", hook("sleep", "6")),
        TRAFFIC,
    ),
    "DaemonSet with externalTrafficPolicy Local and a long hook": (local("externalTrafficPolicy"), set()),
    "DaemonSet with a port of the node and internalTrafficPolicy Local": (
        local("internalTrafficPolicy", of_pod(hostNetwork=True)),
        TRAFFIC,
    ),
}
