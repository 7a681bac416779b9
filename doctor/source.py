"""Where the objects come from: kubectl's cluster, files, and docker for what an image starts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import yaml

from doctor.subject import Image, Object, Subject, Told
from kubectl_lossless.kubectl import Kubectl, KubectlError

NEAR = (
    *(
        "services",
        "poddisruptionbudgets",
        "horizontalpodautoscalers",
        "ingresses",
        "httproutes",
        "configmaps",
    ),
    *("deployments", "statefulsets", "daemonsets"),
)
"""What is looked at in the Deployment's namespace."""

WIDER = ("gateways", "ingressclasses", "gatewayclasses")
"""What is looked at in the whole cluster."""


class SourceError(Exception):
    """What was to be examined cannot be had. The message is a sentence for people."""


def from_files(paths: Sequence[str], stdin: TextIO, told: Told) -> list[Subject]:
    """Every Deployment in these files, `-` for standard input. Raises SourceError."""
    objects: list[Object] = []
    for path in paths:
        try:
            text = stdin.read() if path == "-" else Path(path).read_text()
            documents = [each for each in yaml.safe_load_all(text) if each is not None]
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{path} cannot be read: {error}") from None
        except yaml.YAMLError as error:
            raise SourceError(f"{path} is not YAML: {error}") from None
        for document in documents:
            if not isinstance(document, dict) or "kind" not in document:
                raise SourceError(f"{path} holds something that is no Kubernetes object.")
            objects += document["items"] if document["kind"] == "List" else [document]
    return _subjects(
        objects, [each for each in objects if each["kind"] == "Deployment"], ", ".join(paths), told
    )


def from_cluster(kubectl: Kubectl, name: str | None, namespace: str, told: Told) -> list[Subject]:
    """The Deployment of that name, or all of the namespace. Raises SourceError."""
    try:
        kubectl.check()
        chosen = [name] if name else []
        found = kubectl.objects("get", "deployments.apps", *chosen, "-n", namespace)
    except KubectlError as error:
        raise SourceError(str(error)) from None
    around: list[Object] = []
    unseen: list[str] = []
    for kind in (*NEAR, *WIDER):
        try:
            around += kubectl.objects(
                "get", kind, *(["-n", namespace] if kind in NEAR else ["--all-namespaces"])
            )
        except KubectlError as error:
            # A cluster without the Gateway API has none of its objects; what one may not see there may be.
            if "the server doesn't have a resource type" not in error.said:
                unseen.append(kind)
    subjects = _subjects(around, found, f"the namespace {namespace}", told)
    return [
        replace(each, unseen=tuple(unseen), processes=_first_processes(kubectl, each)) for each in subjects
    ]


def _subjects(objects: list[Object], deployments: Iterable[Object], where: str, told: Told) -> list[Subject]:
    found = [Subject(each, objects, told) for each in deployments]
    if not found:
        raise SourceError(f"There is no Deployment in {where}.")
    for each in found:
        if not each.deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers"):
            raise SourceError(f"{each.name} has no spec.template.spec.containers: is it a patch?")
    return found


def _first_processes(kubectl: Kubectl, subject: Subject) -> dict[str, list[str]]:
    """What PID 1 is in each container of one running pod, where the cluster lets us look."""
    selector = ",".join(f"{name}={value}" for name, value in subject.labels.items())
    seen: dict[str, list[str]] = {}
    try:
        pods = kubectl.objects("get", "pods", "-n", subject.namespace, "-l", selector)
        running = next(pod for pod in pods if pod.get("status", {}).get("phase") == "Running")
        for each in subject.containers:
            said = kubectl(
                *("exec", running["metadata"]["name"], "-n", subject.namespace, "-c", each.name),
                *("--", "cat", "/proc/1/cmdline"),
                timeout=10,
            )
            seen[each.name] = said.rstrip("\0").split("\0")
    except (KubectlError, StopIteration):
        pass  # no cat in the image, no right to exec, no pod: the manifest has to do
    return seen


def with_images(subject: Subject) -> Subject:
    """The same, with what docker knows of its images. Raises SourceError."""
    images: dict[str, Image] = {}
    for each in subject.containers:
        name = str(each.spec.get("image"))
        command = ["docker", "image", "inspect", "--format", "{{json .Config}}", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - no shell
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceError(f"docker cannot be asked about {name}: {error}") from None
        if done.returncode:
            raise SourceError(
                f"docker does not have {name} (`docker pull` it). It said: {done.stderr.strip()}"
            )
        config = json.loads(done.stdout)
        variables = dict(entry.split("=", 1) for entry in config.get("Env") or ())
        images[name] = Image(config.get("Entrypoint") or (), config.get("Cmd") or (), variables)
    return replace(subject, images=images)
