"""More hooks and probes, also in images without a system, with the findings that count."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.helpers import LOSES, RISKS, container
from doctor.kinds import PROBES, Change, beside, grace, hook, image, of_container, script
from doctor.kinds_of_pods import FAST, READY, pre_stop, probe, readiness, without
from doctor.kinds_of_programs import config_map, mounted
from kubectl_lossless.doctor.finding import Severity

SLOW = {"periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 3}

HANDLERS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "hook that tests for a process and sleeps": ([hook("sh", "-c", "kill -0 1; sleep 10")], set()),
    "hook of a loop in bash": ([hook("bash", "-c", "for i in {1..15}; do sleep 1; done")], set()),
    "hook that asks for a drain and sleeps": (
        [hook("sh", "-c", "curl -sf -X POST localhost:8000/drain && sleep 15")],
        set(),
    ),
    "hook that leaves consul and sleeps": ([hook("sh", "-c", "consul leave; sleep 15")], set()),
    "hook sleep then true": ([hook("sh", "-c", "sleep 15; true")], set()),
    "hook sleep or exit": ([hook("/bin/sh", "-c", "sleep 15 || exit 0")], set()),
    "hook exec /bin/sleep seconds unit": ([hook("/bin/sleep", "15s")], set()),
    "hook sleep in milliseconds": ([hook("sleep", "15000")], {(LOSES, "grace-period")}),
    "hook sleep 15 s ms word": ([hook("sleep", "500ms")], {(LOSES, "prestop")}),
    "hook sleep action longer than grace": ([pre_stop(sleep={"seconds": 60})], {(LOSES, "grace-period")}),
    "hook prints and sleeps with quotes": (
        [hook("sh", "-c", "echo \"$(date) draining\" > /proc/1/fd/1; sleep '15'")],
        set(),
    ),
    "hook of a file in a ConfigMap that kills": (
        [
            config_map("hooks", {"stop.sh": "#!/bin/sh\nkill -TERM 1\n"}),
            mounted("hooks", "/hooks"),
            hook("/hooks/stop.sh"),
        ],
        {(LOSES, "prestop")},
    ),
    "hook of curl to the admin port with shutdown graceful": (
        [hook("curl", "-X", "POST", "http://localhost:9901/drain_listeners?graceful")],
        set(),
    ),
    "hook of nginx quit alone with a sleep before": (
        [
            image("nginx:1.27"),
            of_container(command=None),
            hook("sh", "-c", "sleep 15 && nginx -s quit && sleep 5"),
        ],
        set(),
    ),
    "hook of kill USR2": ([hook("sh", "-c", "kill -USR2 1; sleep 10")], set()),
    "hook of unicornctl": ([hook("sh", "-c", "kill -QUIT `cat /run/u.pid`")], {(LOSES, "prestop")}),
    "hook in two shells": ([hook("bash", "-c", "sh -c 'sleep 15'")], set()),
    "hook sleep by date": (
        [hook("sh", "-c", "end=$(($(date +%s)+15)); while [ $(date +%s) -lt $end ]; do sleep 1; done")],
        set(),
    ),
    "hook that reloads and sleeps": ([hook("sh", "-c", "kill -1 1; sleep 10")], set()),
    "hook pkill -HUP and sleep": ([hook("sh", "-c", "pkill -HUP nginx; sleep 10")], set()),
    "hook kill -SIGUSR2": ([hook("sh", "-c", "kill -SIGUSR2 1; sleep 10")], set()),
    "hook kill -9 1": ([hook("sh", "-c", "kill -9 1")], {(LOSES, "prestop")}),
    "hook kill 10 of another": ([hook("sh", "-c", "kill 15; sleep 10")], set()),
    "grpc readiness with a service": ([readiness(grpc={"port": 8000, "service": "ready"}, **FAST)], set()),
    "readiness by grpc_health_probe": (
        [readiness(exec={"command": ["/bin/grpc_health_probe", "-addr=:8000"]}, **FAST)],
        set(),
    ),
    "readiness by wget": (
        [readiness(exec={"command": ["wget", "-qO-", "http://127.0.0.1:8000/ready"]}, **FAST)],
        set(),
    ),
    "readiness by sh -c curl or exit": (
        [readiness(exec={"command": ["sh", "-c", "curl -f http://localhost:8000/ready || exit 1"]}, **FAST)],
        set(),
    ),
    "readiness on the metrics port": (
        [
            of_container(
                ports=[{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": 9090}]
            ),
            readiness(httpGet={"path": "/ready", "port": "metrics"}, **FAST),
        ],
        set(),
    ),
    "readiness at another container's named port": (
        [
            beside(name="exporter", ports=[{"name": "metrics", "containerPort": 9113}]),
            readiness(httpGet={"path": "/", "port": "metrics"}, **FAST),
        ],
        {(LOSES, "probe-port")},
    ),
    "readiness with three successes": ([readiness(httpGet=READY, successThreshold=3, **FAST)], set()),
    "readiness path without a slash": ([readiness(httpGet={"path": "ready", "port": "http"}, **FAST)], set()),
    "readiness with a Host header": (
        [readiness(httpGet={**READY, "httpHeaders": [{"name": "Host", "value": "shop.test"}]}, **FAST)],
        set(),
    ),
    "liveness by a file": (
        [probe("liveness", exec={"command": ["find", "/tmp/alive", "-mmin", "-1"]}, timeoutSeconds=5)],
        set(),
    ),
    "liveness of tcp on another port": (
        [probe("liveness", tcpSocket={"port": 9999}, timeoutSeconds=2)],
        {(RISKS, "probe-port")},
    ),
    "startup probe alone": ([without("readinessProbe", "livenessProbe")], {(RISKS, "readiness-probe")}),
    "startup probe with initial delay": (
        [probe("startup", httpGet=READY, initialDelaySeconds=30, timeoutSeconds=2, failureThreshold=3)],
        set(),
    ),
    "readiness that exits by itself": (
        [readiness(exec={"command": ["sh", "-c", "curl -f localhost:8000/ready || exit 1; exit 0"]}, **FAST)],
        set(),
    ),
    "readiness by sh -c curl or true": (
        [
            readiness(exec={"command": ["sh", "-c", "curl -f http://localhost:8000/ready || true"]}, **FAST),
            without("startupProbe"),
        ],
        {(LOSES, "readiness-probe")},
    ),
    "readiness by sh -c that ends with true": (
        [readiness(exec={"command": ["sh", "-c", "curl -f http://localhost:8000/ready; true"]}, **FAST)],
        {(RISKS, "readiness-probe")},
    ),
    "grpc probes of two services": (
        [
            of_container(
                **{
                    each: {"grpc": {"port": 8000, "service": each}, "timeoutSeconds": 2, "periodSeconds": 10}
                    for each in PROBES
                }
            )
        ],
        set(),
    ),
    "distroless image, hook sleep": (
        [image("gcr.io/distroless/java21-debian12"), of_container(command=None)],
        {(LOSES, "prestop")},
    ),
    "distroless image, hook of a shell": (
        [image("gcr.io/distroless/static:nonroot"), hook("sh", "-c", "sleep 15")],
        {(LOSES, "prestop")},
    ),
    "distroless debug image": ([image("gcr.io/distroless/base:debug"), hook("sh", "-c", "sleep 15")], set()),
    "distroless python image, hook of python": (
        [image("gcr.io/distroless/python3-debian12"), hook("python3", "-c", "import time; time.sleep(15)")],
        set(),
    ),
    "distroless image, native sleep": (
        [image("gcr.io/distroless/static"), pre_stop(sleep={"seconds": 15})],
        set(),
    ),
    "distroless image, probe by curl": (
        [
            image("gcr.io/distroless/static"),
            pre_stop(sleep={"seconds": 15}),
            readiness(exec={"command": ["curl", "-f", "http://localhost:8000/"]}, **FAST),
        ],
        {(LOSES, "probe-port")},
    ),
    "image with distroless in its tag": (
        [image("envoyproxy/envoy:distroless-v1.31.0"), hook("sleep", "15")],
        {(LOSES, "prestop")},
    ),
    "image by digest": ([image("registry.test/web@sha256:" + "0" * 64)], set()),
    "distroless image, liveness by wget": (
        [
            image("gcr.io/distroless/static"),
            pre_stop(sleep={"seconds": 15}),
            probe("liveness", exec={"command": ["wget", "-q", "localhost:8000"]}, timeoutSeconds=3),
        ],
        {(LOSES, "probe-port")},
    ),
    "distroless image, shell": (
        [image("gcr.io/distroless/static"), pre_stop(sleep={"seconds": 15}), script("exec /srv/server")],
        {(LOSES, "settings")},
    ),
    "liveness equal by the port's number": (
        [
            readiness(httpGet={"path": "/ready", "port": "http"}, **SLOW),
            probe("liveness", httpGet={"path": "/ready", "port": 8000}, **SLOW),
        ],
        {(RISKS, "liveness-equals-readiness")},
    ),
    "liveness equal by the default path": (
        [
            readiness(httpGet={"port": 8000}, **SLOW),
            probe("liveness", httpGet={"path": "/", "port": 8000, "scheme": "HTTP"}, **SLOW),
        ],
        {(RISKS, "liveness-equals-readiness")},
    ),
    "liveness at the same path of another port": (
        [
            of_container(
                ports=[{"name": "http", "containerPort": 8000}, {"name": "admin", "containerPort": 8001}]
            ),
            readiness(httpGet={"path": "/health", "port": "http"}, **SLOW),
            probe("liveness", httpGet={"path": "/health", "port": "admin"}, **SLOW),
        ],
        set(),
    ),
    "liveness equal and far more patient": (
        [
            readiness(httpGet={"path": "/ready", "port": "http"}, **FAST),
            probe(
                "liveness",
                httpGet={"path": "/ready", "port": "http"},
                periodSeconds=10,
                timeoutSeconds=5,
                failureThreshold=6,
            ),
        ],
        set(),
    ),
    "liveness with another header": (
        [
            readiness(
                httpGet={
                    "path": "/h",
                    "port": "http",
                    "httpHeaders": [{"name": "X-Probe", "value": "ready"}],
                },
                **SLOW,
            ),
            probe(
                "liveness",
                httpGet={"path": "/h", "port": "http", "httpHeaders": [{"name": "X-Probe", "value": "live"}]},
                **SLOW,
            ),
        ],
        set(),
    ),
    "liveness of a query": (
        [
            readiness(httpGet={"path": "/h?ready=1", "port": "http"}, **SLOW),
            probe("liveness", httpGet={"path": "/h", "port": "http"}, **SLOW),
        ],
        set(),
    ),
    "exec probes that are the same": (
        [
            readiness(exec={"command": ["/bin/check"]}, **SLOW),
            probe("liveness", exec={"command": ["/bin/check"]}, **SLOW),
        ],
        {(RISKS, "liveness-equals-readiness")},
    ),
    "hook of 10 s and 20 s of grace for a Go server": ([hook("sleep", "10"), grace(20)], set()),
    "hook of 15 s and 20 s of grace": ([hook("sleep", "15"), grace(20)], {(RISKS, "grace-period")}),
    "hook of a log shipper that outlasts the grace period": (
        [
            beside(
                name="fluent-bit",
                image="fluent/fluent-bit:3",
                lifecycle={"preStop": {"exec": {"command": ["sleep", "90"]}}},
            )
        ],
        set(),
    ),
    "postStart that sleeps": (
        [
            lambda objects: container(objects)["lifecycle"].update(
                postStart={"exec": {"command": ["sh", "-c", "sleep 5"]}}
            )
        ],
        set(),
    ),
    "hook of two branches that fit": (
        [hook("sh", "-c", "if [ -f /tmp/busy ]; then sleep 40; else sleep 30; fi")],
        set(),
    ),
    "hook of two branches of which one is too long": (
        [hook("sh", "-c", 'case "$MODE" in slow) sleep 70;; *) sleep 10;; esac')],
        {(LOSES, "grace-period")},
    ),
    "hook of two short branches": (
        [hook("sh", "-c", "if [ -f /tmp/busy ]; then sleep 3; else sleep 2; fi")],
        {(LOSES, "prestop")},
    ),
    "hook of a branch that stops the server": (
        [hook("sh", "-c", "if [ -f /tmp/busy ]; then kill -QUIT 1; else sleep 15; fi")],
        {(LOSES, "prestop")},
    ),
    "hook by eval": ([hook("sh", "-c", "eval sleep 15")], set()),
    "hook that reads a script": ([hook("sh", "-c", ". /hooks/stop.sh")], set()),
}
