"""Readers of k8s/ for the tests."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from app.settings import Settings

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
RUNGS = sorted(path.stem.removeprefix("flask-deployment-") for path in K8S.glob("flask-deployment-v*.yaml"))
RECOMMENDED = "v5"
SERVICE_TARGET = "http"


class StrictLoader(yaml.CSafeLoader):
    """Loader that refuses duplicate keys, as kubectl does; PyYAML alone would take the last one."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise yaml.constructor.ConstructorError(None, None, f"given twice: {twice}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse(text: str) -> list[Object]:
    """Return every document of a YAML stream."""
    return list(yaml.load_all(text, StrictLoader))


def text(rung: str) -> str:
    return (K8S / f"flask-deployment-{rung}.yaml").read_text()


def objects(name: str) -> list[Object]:
    """Return the objects of one file of k8s/, whose name is given without .yaml."""
    return parse((K8S / f"{name}.yaml").read_text())


def one(name: str, kind: str) -> Object:
    """Return the only object of a kind in a file."""
    (found,) = (each for each in objects(name) if each["kind"] == kind)
    return found


def deployment(rung: str) -> Object:
    return one(f"flask-deployment-{rung}", "Deployment")


def pod_spec(rung: str) -> Object:
    spec: Object = deployment(rung)["spec"]["template"]["spec"]
    return spec


def containers(pod: Object) -> Iterator[Object]:
    """Yield every container of a pod's spec, including sidecars."""
    yield from pod["containers"]
    yield from pod.get("initContainers", ())


def container(rung: str, name: str = "flask") -> Object:
    (found,) = (each for each in containers(pod_spec(rung)) if each["name"] == name)
    return found


def settings(rung: str) -> Settings:
    """Return the service's settings in a rung. Raises SettingsError for an unknown name or a wrong value."""
    return Settings.from_environment({each["name"]: each["value"] for each in container(rung)["env"]})


def envoy() -> Object:
    (found,) = parse((K8S / "envoy" / "envoy.yaml").read_text())
    return found
