"""Files from ConfigMaps that a container executes or reads, and images, with the findings that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from doctor.helpers import LOSES, RISKS, Object, container
from doctor.kinds import Change, beside, command, hook, image, of_container, of_pod, pod, spec
from doctor.kinds import kind as of_kind
from kubectl_lossless.doctor.finding import Severity

EXECS = "#!/bin/sh\nexec /srv/server\n"
SLEEPS = "#!/bin/sh\nsleep 15\n"
START = "/scripts/start.sh"
DIGEST = "sha256:" + "a" * 64


def file(path: str, text: str, mode: int | None = None, **mount: Any) -> Change:
    """Mount a file from a ConfigMap, with its volume's defaultMode."""
    folder, _, name = path.rpartition("/")

    def change(objects: list[Object]) -> None:
        source: Object = {"name": "files"} if mode is None else {"name": "files", "defaultMode": mode}
        pod(objects)["volumes"] = [{"name": "files", "configMap": source}]
        container(objects)["volumeMounts"] = [{"name": "files", "mountPath": folder, **mount}]
        metadata = {"name": "files", "namespace": "demo"}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {name: text}})

    return change


def arguments(*words: str) -> Change:
    return of_container(command=None, args=list(words))


def exec_probe(*words: str) -> Change:
    probe = {"exec": {"command": list(words)}, "periodSeconds": 2, "timeoutSeconds": 2}
    return of_container(readinessProbe=probe)


MOUNT = {"name": "files", "mountPath": "/scripts"}


def init_container(**fields: Any) -> list[Change]:
    return [of_pod(initContainers=[{"name": "prepare", "image": "registry.test/x:1", **fields}])]


def deployment_config(objects: list[Object]) -> None:
    of_kind("DeploymentConfig")(objects)
    objects[0]["apiVersion"] = "apps.openshift.io/v1"
    pace = {"maxUnavailable": 0, "maxSurge": 1}
    spec(selector={"app": "web"}, strategy={"type": "Rolling", "rollingParams": pace})(objects)


FILES: dict[str, tuple[Sequence[Change], set[tuple[Severity, str]]]] = {
    # Files from a ConfigMap have mode 0644, with which nobody may execute them, root included.
    "script that nobody may execute": ([command(START), file(START, EXECS)], {(LOSES, "settings")}),
    "script of mode 0755": ([command(START), file(START, EXECS, 0o755)], set()),
    "script of mode 0444": ([command(START), file(START, EXECS, 0o444)], {(LOSES, "settings")}),
    "script that nobody may execute, by sh": ([command("sh", START), file(START, EXECS)], set()),
    "script that nobody may execute, behind tini": (
        [command("tini", "--", START), file(START, EXECS)],
        {(LOSES, "settings")},
    ),
    "script at its own path that nobody may execute": (
        [command("/start.sh"), file("/start.sh", EXECS, mountPath="/start.sh", subPath="start.sh")],
        {(LOSES, "settings")},
    ),
    # The kernel executes a script by its first line; tini and env give one without it to sh.
    "script without its first line": (
        [command(START), file(START, "exec /srv/server\n", 0o755)],
        {(LOSES, "settings")},
    ),
    "script without its first line, behind tini": (
        [command("tini", "--", START), file(START, "exec /srv/server\n", 0o755)],
        set(),
    ),
    "script whose first line ends with a carriage return": (
        [command(START), file(START, EXECS.replace("\n", "\r\n"), 0o755)],
        {(LOSES, "settings")},
    ),
    # No shell gives its place to the last command of a file.
    "script of bash without exec": (
        [command(START), file(START, "#!/bin/bash\nset -e\n/srv/server\n", 0o755)],
        {(LOSES, "shell-entrypoint")},
    ),
    "script that bash is given, without exec": (
        [command("bash", START), file(START, "/srv/server")],
        {(LOSES, "shell-entrypoint")},
    ),
    "script that busybox is given, without exec": (
        [command("sh", START), file(START, "/srv/server"), image("python:3.13-alpine")],
        {(LOSES, "shell-entrypoint")},
    ),
    "script of bash with exec": (
        [command(START), file(START, "#!/bin/bash\nset -e\nexec /srv/server\n", 0o755)],
        set(),
    ),
    "configuration as the argument of the image's entrypoint": (
        [arguments("/etc/proxy/config.yaml"), file("/etc/proxy/config.yaml", "port: 1\n")],
        set(),
    ),
    "configuration of another form as that argument": (
        [arguments("/etc/store/store.conf"), file("/etc/store/store.conf", "appendonly yes\n")],
        set(),
    ),
    "hook that nobody may execute": ([hook(START), file(START, SLEEPS)], {(LOSES, "prestop")}),
    "hook of mode 0755": ([hook(START), file(START, SLEEPS, 0o755)], set()),
    "hook that nobody may execute, by sh": ([hook("sh", START), file(START, SLEEPS)], set()),
    "hook that nobody may execute, within a script": (
        [hook("sh", "-c", START), file(START, SLEEPS)],
        {(LOSES, "prestop")},
    ),
    "hook that nobody may execute before a sleep": (
        [hook("sh", "-c", f"{START}; sleep 15"), file(START, SLEEPS)],
        set(),
    ),
    "probe that nobody may execute": ([exec_probe(START), file(START, SLEEPS)], {(LOSES, "probe-port")}),
    "probe that nobody may execute, within a script": (
        [exec_probe("sh", "-c", START), file(START, SLEEPS)],
        {(LOSES, "probe-port")},
    ),
    "probe that a script replaces itself with": (
        [exec_probe("bash", "-ec", f"exec {START} --quick"), file(START, SLEEPS)],
        {(LOSES, "probe-port")},
    ),
    "probe that a script need not execute": (
        [exec_probe("sh", "-c", f"test ! -e /tmp/x || {START}"), file(START, SLEEPS)],
        set(),
    ),
    "probe without its first line, within a script": (
        [exec_probe("sh", "-c", START), file(START, "curl -f localhost:8000/health\n", 0o755)],
        set(),
    ),
    "server that nobody may execute, within a script": (
        [command("sh", "-c", f"exec {START}"), file(START, EXECS)],
        {(LOSES, "settings")},
    ),
    "probe of mode 0755": ([exec_probe(START), file(START, SLEEPS, 0o755)], set()),
    "mode 0755 in decimal": ([file(START, EXECS, 755)], {(LOSES, "refused")}),
    "mode 0777 in decimal": ([file(START, EXECS, 777)], {(LOSES, "refused")}),
    "mode 0644 as 420": ([file(START, EXECS, 420)], set()),
    "Python file of a ConfigMap": (
        [command("python", "/scripts/serve.py"), file("/scripts/serve.py", "print()\n")],
        {(RISKS, "sigterm-ignored")},
    ),
    "init container whose script nobody may execute": (
        [file(START, EXECS), *init_container(command=[START], volumeMounts=[MOUNT])],
        {(LOSES, "settings")},
    ),
    "init container of one word": (
        [*init_container(command=["chown -R 1000 /data"])],
        {(LOSES, "settings")},
    ),
    "init container with an image in capitals": ([*init_container(image="Tools:1")], {(LOSES, "settings")}),
    "helper whose script nobody may execute": (
        [file(START, EXECS), beside(name="log-shipper", command=[START], volumeMounts=[MOUNT])],
        {(LOSES, "settings")},
    ),
    # Images that the kubelet cannot pull: InvalidImageName.
    "image in capitals": ([image("registry.test/Web:1")], {(LOSES, "settings")}),
    "image with a space": ([image("registry.test/web: 1")], {(LOSES, "settings")}),
    "image as a URL": ([image("https://registry.test/web:1")], {(LOSES, "settings")}),
    "image with two tags": ([image("registry.test/web:1:2")], {(LOSES, "settings")}),
    "image with an empty tag": ([image("registry.test/web:")], {(LOSES, "settings")}),
    "image with a short digest": ([image("registry.test/web@sha256:abc")], {(LOSES, "settings")}),
    "image with a tag and a digest": ([image(f"registry.test:5000/a/b:v1.2-x_y@{DIGEST}")], set()),
    "image of a host in capitals": ([image("Registry.Test/web:1")], set()),
    "image with all separators": ([image("a.b/c__d--e/f.g_h:1")], set()),
    "image of localhost": ([image("localhost:5001/web:1")], set()),
    "image for envsubst": ([image("${REGISTRY}/web:${TAG}")], set()),
    "image for a person to fill in": ([image("<your-registry>/web:1")], set()),
    "image that ko builds": ([image("ko://shop.test/cmd/web")], set()),
    "image of a word in capitals": ([image("IMAGE_URL")], set()),
    "image with a word in capitals": ([image("registry.test/PROJECT_ID/web:1")], set()),
    "image that a trigger of OpenShift fills in": ([deployment_config, image(" ")], set()),
}
