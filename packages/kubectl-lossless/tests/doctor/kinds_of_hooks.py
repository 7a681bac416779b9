"""preStop hooks in every dialect, and stopSignal, with what counts in them for the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import THREADS, Change, beside, command, env, grace, hook, image, pod
from doctor.kinds_of_pods import pre_stop
from kubectl_lossless.doctor.finding import Severity

UVICORN = ("uvicorn", "a:b", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "20")


def lifecycle(**fields: Any) -> Change:
    return lambda objects: container(objects)["lifecycle"].update(fields)


def os_linux(objects: list[Object]) -> None:
    pod(objects)["os"] = {"name": "linux"}


HOOKS: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    "stopSignal QUIT of nginx": (
        [command("nginx", "-g", "daemon off;"), lifecycle(stopSignal="SIGQUIT"), os_linux],
        set(),
    ),
    "stopSignal TERM of nginx": (
        [command("nginx", "-g", "daemon off;"), lifecycle(stopSignal="SIGTERM"), os_linux],
        {(RISKS, "in-flight")},
    ),
    "stopSignal without os": ([lifecycle(stopSignal="SIGUSR1")], {(LOSES, "refused")}),
    "stopSignal unknown": ([lifecycle(stopSignal="SIGSTOPP"), os_linux], {(LOSES, "refused")}),
    "stopSignal without SIG": ([lifecycle(stopSignal="TERM"), os_linux], {(LOSES, "refused")}),
    "stopSignal KILL": ([lifecycle(stopSignal="SIGKILL"), os_linux], {(RISKS, "in-flight")}),
    "stopSignal QUIT of Gunicorn": (
        [command(*THREADS), lifecycle(stopSignal="SIGQUIT"), os_linux],
        {(RISKS, "in-flight")},
    ),
    "stopSignal TERM of Gunicorn": ([command(*THREADS), lifecycle(stopSignal="SIGTERM"), os_linux], set()),
    "stopSignal INT of Uvicorn": ([command(*UVICORN), lifecycle(stopSignal="SIGINT"), os_linux], set()),
    "stopSignal INT of a Python program": (
        [command("python", "app.py"), lifecycle(stopSignal="SIGINT"), os_linux],
        {(RISKS, "in-flight")},
    ),
    "stopSignal alone": (
        [lambda objects: container(objects).update(lifecycle={"stopSignal": "SIGTERM"}), os_linux],
        {(RISKS, "drain")},
    ),
    "stopSignal USR1 of the server's own": ([lifecycle(stopSignal="SIGUSR1"), os_linux], set()),
    "stopSignal in container": (
        [lambda objects: container(objects).update(stopSignal="SIGQUIT")],
        {(LOSES, "refused")},
    ),
    "perl select": ([hook("perl", "-e", "select(undef,undef,undef,15)")], set()),
    "node setTimeout": ([hook("node", "-e", "setTimeout(()=>{}, 15000)")], set()),
    "node setTimeout short": (
        [hook("node", "-e", "setTimeout(()=>process.exit(0), 2000)")],
        {(LOSES, "prestop")},
    ),
    "php sleep short": ([hook("php", "-r", "sleep(2);")], {(LOSES, "prestop")}),
    "python product": ([hook("python", "-c", "import time; time.sleep(60*2)")], {(LOSES, "grace-period")}),
    "nginx quit with file": (
        [command("nginx"), hook("/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf", "-s", "quit")],
        {(LOSES, "prestop")},
    ),
    "nginx quit and wait loop": (
        [
            command("nginx"),
            hook(
                "sh",
                "-c",
                "sleep 10; nginx -c /etc/nginx.conf -s quit; while pgrep -x nginx; do sleep 1; done",
            ),
        ],
        set(),
    ),
    "kill -WINCH 1": ([command("httpd-foreground"), hook("sh", "-c", "kill -WINCH 1")], {(LOSES, "prestop")}),
    "kill -USR1 1 haproxy": (
        [command("haproxy", "-f", "/h.cfg"), hook("sh", "-c", "kill -USR1 1")],
        {(LOSES, "prestop")},
    ),
    "kill -SIGTERM 1": ([hook("/bin/sh", "-c", "kill -SIGTERM 1")], {(LOSES, "prestop")}),
    "kill -15 1": ([hook("/bin/kill", "-15", "1")], {(LOSES, "prestop")}),
    "kill of pid file": ([hook("/bin/sh", "-c", 'kill -QUIT "$(cat /run/nginx.pid)"')], {(LOSES, "prestop")}),
    "kill of pid file by read": (
        [hook("/bin/sh", "-c", "kill -s QUIT $(cat /run/nginx.pid)")],
        {(LOSES, "prestop")},
    ),
    "supervisorctl stop": ([hook("supervisorctl", "stop", "all")], {(LOSES, "prestop")}),
    "service stop": ([hook("sh", "-c", "service nginx stop")], {(LOSES, "prestop")}),
    "catalina stop": ([command("catalina.sh", "run"), hook("catalina.sh", "stop")], {(LOSES, "prestop")}),
    "pumactl stop": ([command("puma"), hook("bundle", "exec", "pumactl", "stop")], {(LOSES, "prestop")}),
    "sleep then supervisorctl": ([hook("sh", "-c", "sleep 10; supervisorctl stop web")], set()),
    "shell and option in one word": ([hook("/bin/sh -c", "sleep 15")], {(LOSES, "prestop")}),
    "sh -e -c": ([hook("sh", "-e", "-c", "sleep 2")], {(LOSES, "prestop")}),
    "tail forever": ([hook("tail", "-f", "/dev/null")], {(LOSES, "grace-period")}),
    "loop for ever": ([hook("sh", "-c", "while true; do sleep 1; done")], {(LOSES, "grace-period")}),
    "sleep infinity": ([hook("sleep", "infinity")], {(LOSES, "grace-period")}),
    "sleep 0.5": ([hook("sleep", "0.5")], {(LOSES, "prestop")}),
    "sleep 5s": ([hook("sleep", "5s")], set()),
    "sleep without shell and &&": ([hook("sleep", "15", "&&", "echo", "done")], {(LOSES, "prestop")}),
    "usleep": ([hook("usleep", "2000000")], {(LOSES, "prestop")}),
    "powershell": ([hook("powershell", "-Command", "Start-Sleep -Seconds 15")], set()),
    "powershell short": ([hook("powershell.exe", "-Command", "Start-Sleep -s 2")], {(LOSES, "prestop")}),
    "httpGet shutdown of another container": (
        [
            beside(
                name="shutdown-manager",
                command=["/bin/contour", "envoy", "shutdown-manager"],
                ports=[{"name": "manager", "containerPort": 8090}],
            ),
            pre_stop(httpGet={"path": "/shutdown", "port": 8090, "scheme": "HTTP"}),
        ],
        set(),
    ),
    "httpGet shutdown own port": (
        [pre_stop(httpGet={"path": "/actuator/shutdown", "port": "http"})],
        {(LOSES, "prestop")},
    ),
    "httpGet at the node": (
        [pre_stop(httpGet={"path": "/drain", "port": 8000, "host": "localhost"})],
        {(LOSES, "prestop")},
    ),
    "sleep in a subshell": ([hook("sh", "-c", "(sleep 15)")], set()),
    "sleep in braces after echo to fd": (
        [hook("bash", "-c", "{ echo draining > /proc/1/fd/1; sleep 15; }")],
        set(),
    ),
    "sleep or true": ([hook("sh", "-c", "sleep 15 || true")], set()),
    "for loop of sleeps": ([hook("sh", "-c", "for i in $(seq 15); do sleep 1; done")], set()),
    "hook of an empty word": ([hook("")], {(LOSES, "prestop")}),
    "sleep of forty digits": ([hook("sleep", "9" * 40)], {(LOSES, "grace-period")}),
    "sleep in exponents": ([hook("sleep", "2e1")], set()),
    "sleep with a point and no digits behind it": ([hook("sleep", "15.")], set()),
    "kill -USR1 1 in the image of haproxy": (
        [image("haproxy:3.2"), command(), hook("sh", "-c", "kill -USR1 1")],
        {(LOSES, "prestop")},
    ),
    "until loop": ([hook("sh", "-c", "until [ $(cat /tmp/active) = 0 ]; do sleep 1; done")], set()),
    "envoy healthcheck fail then sleep": (
        [hook("sh", "-c", "curl -X POST localhost:9901/healthcheck/fail; sleep 20")],
        set(),
    ),
    "touch then sleep short": ([hook("sh", "-c", "touch /tmp/down && sleep 1")], {(LOSES, "prestop")}),
    "grace 90 sleep 40": ([hook("sleep", "40"), grace(90)], set()),
    "wait-shutdown": ([hook("/wait-shutdown"), grace(300)], set()),
    "nginx image sleep": ([image("nginx:1.27"), command(), hook("sleep", "15")], set()),
    "sleep of a variable of the container": (
        [hook("sh", "-c", "sleep $DELAY"), env(DELAY="2")],
        {(LOSES, "prestop")},
    ),
    "sleep of a variable with a default that is not used": (
        [hook("sh", "-c", "sleep ${DELAY:-2}"), env(DELAY="20")],
        set(),
    ),
    "sleep of a variable without a number": ([hook("sh", "-c", "sleep $DELAY"), env(DELAY="x")], set()),
    "sleep variable default": ([hook("/bin/sh", "-c", "sleep ${PRESTOP:-20}")], set()),
}
