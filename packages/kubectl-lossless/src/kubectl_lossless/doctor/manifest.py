"""The object of a workload, with its pod template and the containers in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kubectl_lossless.doctor import configuration
from kubectl_lossless.doctor.config_maps import ConfigMaps, expanded
from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.documents import Document, Object
from kubectl_lossless.doctor.finding import Path as FieldPath
from kubectl_lossless.doctor.neighbours import Neighbours
from kubectl_lossless.doctor.server.gunicorn import configuration_file
from kubectl_lossless.doctor.server.images import sh_of
from kubectl_lossless.doctor.server.start import Start

POD: FieldPath = ("spec", "template", "spec")


KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Rollout", "DeploymentConfig")
"""Kinds of workloads that are checked."""

ROLLING_UPDATE = {"Rollout": "canary", "DeploymentConfig": "rollingParams"}
"""Names of the field that other kinds call rollingUpdate."""

DEFAULT_GRACE = 30.0
"""Seconds, Kubernetes' default for terminationGracePeriodSeconds."""


@dataclass(frozen=True)
class Image:
    """Configuration of an image, as docker has it."""

    command: Sequence[str] = ()
    """Its entry point."""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """Observation of one container in a running pod; empty where nothing was seen."""

    process: Sequence[str] = ()
    """PID 1's command line."""
    configuration: str = ""
    """Text of Gunicorn's configuration file."""
    readiness: str = ""
    """Body of the response to its readiness probe."""


@dataclass(frozen=True)
class Manifest:
    """The object of a workload: the strategy of its updates, its pod template and the containers in it."""

    document: Document
    others: Neighbours = field(default_factory=lambda: Neighbours(()))
    """All other objects, its neighbours of the same kind included."""
    images: Mapping[str, Image] = field(default_factory=dict)
    observed: Mapping[str, Observed] = field(default_factory=dict)
    """Observations in a running pod, by the container's name."""

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.document.kind

    @property
    def data(self) -> Object:
        """The object."""
        return self.document.data

    @property
    def name(self) -> str:
        """Kind and name."""
        return self.document.name

    @property
    def metadata_name(self) -> str:
        """Its name alone."""
        return self.document.metadata_name

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.document.namespace

    @property
    def spec(self) -> Object:
        """Its spec."""
        found: Object = self.data["spec"]
        return found

    @property
    def strategy_path(self) -> tuple[str, str]:
        """Path of the strategy of its updates."""
        return ("spec", "updateStrategy" if self.kind in ("StatefulSet", "DaemonSet") else "strategy")

    @property
    def strategy(self) -> Object:
        """Strategy of its updates; empty if the default applies."""
        return self.spec.get(self.strategy_path[-1]) or {}

    @property
    def rolling_update_path(self) -> tuple[str, str, str]:
        """Path of the object with maxSurge, maxUnavailable and partition."""
        return (*self.strategy_path, ROLLING_UPDATE.get(self.kind, "rollingUpdate"))

    @property
    def rolling_update(self) -> Object:
        """The object with maxSurge, maxUnavailable and partition; empty if the defaults apply."""
        return self.strategy.get(self.rolling_update_path[-1]) or {}

    @property
    def template(self) -> Object:
        """Its pod template."""
        found: Object = self.spec["template"]
        return found

    @property
    def pod(self) -> Object:
        """The spec of its pods."""
        found: Object = self.template["spec"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return (self.template.get("metadata") or {}).get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of its pods."""
        return (self.template.get("metadata") or {}).get("annotations") or {}

    @property
    def grace(self) -> float:
        """Seconds that a pod has to stop."""
        return float(self.pod.get("terminationGracePeriodSeconds", DEFAULT_GRACE))

    # ---- containers ------------------------------------------------------------------------------

    @cached_property
    def containers(self) -> list[Container]:
        """The containers that run at the same time, native sidecars last."""
        plain = list(self._containers("containers"))
        return plain + [each for each in self._containers("initContainers") if each.sidecar]

    @cached_property
    def plain(self) -> list[Container]:
        """The containers that get SIGTERM at the same time."""
        return [each for each in self.containers if not each.sidecar]

    @cached_property
    def init_containers(self) -> list[Container]:
        """The containers that run to their end before the others."""
        return [each for each in self._containers("initContainers") if not each.sidecar]

    def _containers(self, key: str) -> Iterator[Container]:
        for number, spec in enumerate(self.pod.get(key) or ()):
            image = self.images.get(spec.get("image", ""), Image())
            environment = {**image.environment, **self.config_maps.environment(spec)}
            if spec.get("command"):
                command = [*spec["command"], *(spec.get("args") or ())]
            elif image.command:
                command = [*image.command, *(spec.get("args") or image.arguments)]
            else:
                command = list(spec.get("args") or image.arguments)
            shared = bool(self.pod.get("shareProcessNamespace") or self.pod.get("hostPID"))
            sh = sh_of(str(spec.get("image", "")))
            seen = self.observed.get(spec["name"], Observed())
            volumes = self.pod.get("volumes") or ()
            files = self.config_maps.files(spec, volumes)
            not_executable = self.config_maps.not_executable(spec, volumes)
            words = tuple(expanded(word, environment) for word in command)
            start = Start(words, sh, shared, files, not_executable)
            settings = seen.configuration or _settings(start, environment, str(spec.get("workingDir", "")))
            yield Container(
                spec=spec,
                path=(*POD, key, number),
                sidecar=key == "initContainers" and spec.get("restartPolicy") == "Always",
                environment=environment,
                start=start,
                observed=Start(tuple(seen.process), sh, shared) if seen.process else None,
                configuration=configuration.read(settings) if settings else None,
                readiness=seen.readiness,
                on_node=bool(self.pod.get("hostNetwork")),
            )

    def of_kind(self, *kinds: str, group: str | None = None) -> list[Document]:
        """Return the objects of these kinds in its namespace, or in none."""
        found = [each for kind in kinds for each in self.others.in_namespace(kind, self.namespace)]
        return found if group is None else [each for each in found if each.group == group]

    @cached_property
    def config_maps(self) -> ConfigMaps:
        """The ConfigMaps in its namespace."""
        return ConfigMaps(self.of_kind("ConfigMap"))


def _settings(start: Start, environment: Mapping[str, str], folder: str) -> str:
    """Return the text of Gunicorn's configuration file, "" where no known file is it."""
    if not start.files or not (path := configuration_file(start, environment)):
        return ""
    relative = path.removeprefix("/proc/1/cwd/")
    if relative == path:
        return start.files.get(path, "")
    if folder:
        return start.files.get(f"{folder.rstrip('/')}/{relative}", "")
    return next((text for each, text in start.files.items() if each.endswith(f"/{relative}")), "")
