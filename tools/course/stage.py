"""Part of the cluster that an experiment uses, restored at its end."""

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object, documents, to_list
from kubectl_lossless.measure.load.connection import Connection
from kubectl_lossless.measure.load.job import NAME as LOAD_JOB
from kubectl_lossless.measure.load.lost import Lost
from kubectl_lossless.measure.rollout import wait_for_rollout
from kubectl_lossless.measure.watch import Watch
from kubectl_lossless.measure.workload import RolloutError
from tools.course.load import target_of
from tools.course.namespace import MADE_BY, Journal, foreign, get_namespace, is_made, listed, mark_made

MANIFESTS = Path(__file__).parents[2] / "k8s"
RECREATE = "Recreate"
REACHABLE = 10.0
"""Timeout for a response of ready pods, in seconds. Pods without probes are ready before they listen, and
kube-proxy adds a ready pod late: 1.3 s on a quiet cluster of two nodes."""


class StageError(RolloutError):
    """The cluster does not meet the needs of the experiment; the message names the remedy."""


def rungs(manifests: Path) -> list[str]:
    """Return the names of the course's rungs, in order: v1, v2, ..., without variants such as v6-plain."""
    return sorted(
        file.stem.removeprefix("flask-deployment-") for file in manifests.glob("flask-deployment-v[0-9].yaml")
    )


@dataclass(frozen=True)
class Rung:
    """A Deployment to roll out: a manifest and its changes.

    `name` is a rung of the course (v1 ... v7) or the path of a manifest. `image` replaces the image of the
    container `flask`, `envoy_image` that of a sidecar `envoy`, `min_ready_seconds` and `replicas` the
    Deployment's, `version` its APP_VERSION, `settings` others of the service's settings. `strategy` is
    "Recreate", or maxSurge/maxUnavailable of a RollingUpdate: "1/0".
    """

    name: str
    image: str | None = None
    min_ready_seconds: int | None = None
    version: str | None = None
    strategy: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    replicas: int | None = None
    envoy_image: str | None = None

    def path(self, manifests: Path) -> Path:
        """Return the path of the manifest.

        Raises StageError if there is none.
        """
        named = Path(self.name)
        path = named if named.suffix else manifests / f"flask-deployment-{self.name}.yaml"
        if not path.is_file():
            raise StageError(
                f"There is no manifest {path}. Rungs in {manifests}/: "
                f"{', '.join(rungs(manifests)) or 'none'}; or give the path of a manifest."
            )
        return path

    def changed(self, objects: list[Object]) -> list[Object]:
        """Return the manifest's objects with this rung's changes.

        Raises StageError if there is nothing to change.
        """
        found = deployment_of(objects, self.name)
        if self.min_ready_seconds is not None:
            found["spec"]["minReadySeconds"] = self.min_ready_seconds
        if self.replicas is not None:
            found["spec"]["replicas"] = self.replicas
        if self.strategy == RECREATE:
            found["spec"]["strategy"] = {"type": RECREATE}
        elif self.strategy:
            surge, unavailable = (int(number) for number in self.strategy.split("/"))
            numbers = {"maxSurge": surge, "maxUnavailable": unavailable}
            found["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": numbers}
        if self.envoy_image:
            pod = found["spec"]["template"]["spec"]
            for container in (*pod.get("initContainers", ()), *pod["containers"]):
                if container["name"] == "envoy":
                    container["image"] = self.envoy_image
        changes = dict(self.settings) | ({"APP_VERSION": self.version} if self.version else {})
        if self.image or changes:
            containers = found["spec"]["template"]["spec"]["containers"]
            flask = next((container for container in containers if container["name"] == "flask"), None)
            if flask is None:
                raise StageError(
                    f"{self.name} has no container named flask to change the image or settings of."
                )
            if self.image:
                flask["image"] = self.image
            others = [entry for entry in flask.get("env", []) if entry["name"] not in changes]
            flask["env"] = [*others, *({"name": name, "value": value} for name, value in changes.items())]
        return objects


def deployment_of(objects: list[Object], name: str) -> Object:
    """Return the one Deployment among the objects.

    Raises StageError.
    """
    found = [item for item in objects if item["kind"] == "Deployment"]
    if len(found) != 1:
        raise StageError(f"{name} must hold one Deployment, it holds {len(found)}.")
    return found[0]


class Stage:
    """Cluster to which rungs are applied, and which is restored at the end of the `with` block.

    A namespace that did not exist is deleted. Otherwise each object of the applied manifests is restored, or
    deleted if it did not exist. `keep` leaves everything unchanged instead.

    `ask` is for clusters that may belong to others. It gets a sentence and returns whether to continue,
    before anything changes in a namespace with objects that no experiment has created. The found objects are
    then kept in the cluster too, so that the next such stage restores them if this process is killed.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        manifests: Path = MANIFESTS,
        *,
        keep: bool = False,
        ask: Callable[[str], bool] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.kubectl = kubectl
        self.server_version = ""
        self.namespace = ""
        self.deployment = ""
        self._manifests = manifests
        self._keep = keep
        self._applied: Rung | None = None
        self._brought: set[tuple[str, str]] = set()
        self._say = say
        self._ask = ask
        self._namespace_found: bool | None = None
        self._found: dict[tuple[str, str], Object | None] = {}

    def __enter__(self) -> "Stage":
        """Check that the cluster can be used.

        Raises KubectlError.
        """
        self.server_version = self.kubectl.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the cluster."""
        if self._namespace_found is None:
            return
        if self._keep:
            self._forget()
        else:
            self.restore()

    def objects(self, path: Path) -> list[Object]:
        """Return the objects in a manifest.

        Raises also for a manifest that kubectl does not accept.
        """
        return self.kubectl.objects("create", "--dry-run=client", "-f", str(path))

    def apply(self, rung: Rung, *, clean: bool = False) -> int:
        """Apply a rung's manifest; return the Deployment's generation, which distinguishes old and new state.

        `clean` first deletes the objects of the previous rung, if they did not exist before this stage: that
        is quicker than a rollout, and leaves nothing behind. The first apply includes the namespace and the
        Service. Raises StageError, KubectlError.
        """
        objects = rung.changed(self.objects(rung.path(self._manifests)))
        found = deployment_of(objects, rung.name)
        self.namespace = found["metadata"].get("namespace", "default")
        self.deployment = found["metadata"]["name"]
        if self._namespace_found is None:
            self._prepare()
        self._remember(objects)
        if self._applied not in (None, rung) and clean:
            self._delete_ours()
        self._applied = rung
        self._mark(objects)
        self._brought.update((item["kind"], item["metadata"]["name"]) for item in objects)
        applied = self.kubectl.objects("apply", "-f", "-", stdin=to_list(objects))
        return int(deployment_of(applied, rung.name)["metadata"]["generation"])

    def _delete_ours(self) -> None:
        """Delete the objects of the rungs so far, and undo their changes of the namespace."""
        for kind, name in self._brought:
            if self._found[kind, name] is None and kind != "Namespace":
                self._delete(kind, name)
        self._brought.clear()
        self._prepare()

    def _delete(self, kind: str, name: str) -> None:
        """Delete one object, with its pods if it has any."""
        self.kubectl(
            *("delete", kind, name, "-n", self.namespace, "--ignore-not-found", "--cascade=foreground"),
            timeout=180,
        )

    def _prepare(self) -> None:
        """Apply the namespace and the Service, if the manifests have them."""
        around = [
            item
            for name in ("namespace.yaml", "service.yaml")
            if (self._manifests / name).is_file()
            for item in self.objects(self._manifests / name)
        ]
        if self._namespace_found is None:
            self._claim()
        self._remember(around)
        self._mark(around)
        if around:
            self.kubectl("apply", "-f", "-", stdin=to_list(around))

    def _claim(self) -> None:
        """Find the namespace, or create it; restore the objects that a killed experiment has changed in it.

        Raises StageError if the namespace must not be used.
        """
        found = get_namespace(self.kubectl, self.namespace)
        if self._ask:
            self._say(f"context {self.kubectl.context} ({self.kubectl.server}), namespace {self.namespace}")
            if found:
                found = self._take_over(found)
            else:
                self._create_namespace()
        self._namespace_found = found is not None

    def _take_over(self, found: Object) -> Object | None:
        """Restore objects after a killed experiment, ask about others; return the namespace if it stays."""
        journal = Journal.read(self.kubectl, self.namespace)
        if journal and journal.runs:
            raise StageError(
                f"Another experiment uses the namespace {self.namespace}: process {journal.process}."
            )
        if journal and journal.elsewhere:
            self._agree(
                f"An experiment uses the namespace {self.namespace} from the host {journal.host}, or was "
                "killed there."
            )
        if journal and not is_made(found):
            self._say("an experiment was killed in the middle: putting back what it found")
            self._put_back(journal.found)
            journal.remove(self.kubectl)
        if others := self._others():
            self._agree(others)
        if not is_made(found):
            return found
        self._say("an experiment was killed in the middle: deleting the namespace that it created")
        self._delete_namespace()
        self._create_namespace()
        return None

    def _agree(self, fact: str) -> None:
        """Ask whether to continue. Raises StageError for a no."""
        if self._ask is None or not self._ask(fact):
            raise StageError(f"{fact} Nothing was changed; --yes continues without asking.")

    def _others(self) -> str | None:
        """Return a sentence about objects that no experiment has created; None if there are none."""
        try:
            names = foreign(self.kubectl, self.namespace)
        except KubectlError as error:
            return f"The namespace {self.namespace} may hold other objects; they cannot be listed. {error}"
        if not names:
            return None
        return (
            f"The namespace {self.namespace} holds {listed(names)}, which no experiment has created. Those "
            "that the experiment's manifests name too are replaced, and put back at its end."
        )

    def _create_namespace(self) -> None:
        """Create the namespace with an annotation that no later apply removes."""
        namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        mark_made(namespace)
        self.kubectl("create", "-f", "-", stdin=to_list([namespace]))

    def _delete_namespace(self) -> None:
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", timeout=180)

    def _remember(self, objects: list[Object]) -> None:
        """Record the cluster's state of these objects before they are applied."""
        new = [item for item in objects if key_of(item) not in self._found]
        if not new:
            return
        there = documents(
            self.kubectl("get", "--ignore-not-found", "-o", "json", "-f", "-", stdin=to_list(new)) or "{}"
        )
        by_name = {key_of(item): bare(item) for item in there if item}
        for item in new:
            self._found[key_of(item)] = by_name.get(key_of(item))
        if self._ask:
            Journal(self.namespace, self._found).write(self.kubectl)

    def _mark(self, objects: list[Object]) -> None:
        """Mark the objects that this stage creates, so that no later stage takes them for those of others."""
        for item in objects:
            found = self._found[key_of(item)]
            if self._ask and item["kind"] != "Namespace" and (found is None or is_made(found)):
                mark_made(item)

    def wait_until_settled(self, timeout: float) -> None:
        """Wait until the applied rung is rolled out and only its own pods are left.

        `timeout`: in seconds. Raises StageError with the reason as soon as the rollout cannot succeed.
        """
        with Watch(self.kubectl, self.namespace, self.deployment) as watch:
            try:
                wait_for_rollout(watch, 0, timeout)  # the watch begins with the state that was applied before
            except RolloutError as error:
                raise StageError(str(error)) from None

    def node_urls(self) -> list[str]:
        """Return the Service's URLs on the nodes, ExternalIPs first; none if it has no node port."""
        port = next(
            (port["nodePort"] for port in self._service()["spec"]["ports"] if "nodePort" in port), None
        )
        if port is None:
            return []
        addresses = [
            (address["type"], address["address"])
            for node in self.kubectl.objects("get", "nodes")
            for address in node["status"]["addresses"]
            if address["type"] in ("ExternalIP", "InternalIP")
        ]
        return [f"http://{address}:{port}" for _, address in sorted(addresses)]

    def service_url(self, by: str) -> str:
        """Return the Service's URL inside the cluster.

        `by`: "dns" or "clusterip".
        """
        service = self._service()
        name = service["metadata"]["name"] if by == "dns" else service["spec"]["clusterIP"]
        return f"http://{name}:{service['spec']['ports'][0]['port']}"

    def _service(self) -> Object:
        labels = self.kubectl.objects("get", "deployment", self.deployment, "-n", self.namespace)[0]
        pod_labels = labels["spec"]["template"]["metadata"]["labels"].items()
        for service in self.kubectl.objects("get", "services", "-n", self.namespace):
            if service["spec"].get("selector") and service["spec"]["selector"].items() <= pod_labels:
                return service
        raise StageError(
            f"No Service in the namespace {self.namespace} leads to the pods of {self.deployment}: apply "
            "one, or give the address to load with --target."
        )

    def restore(self) -> None:
        """Restore the state before the first `apply`."""
        self._say("putting the cluster back as it was")
        if self._namespace_found:
            self._put_back(self._found)
            self._forget()
        else:
            self._delete_namespace()  # everything else was in it

    def _put_back(self, found: Mapping[tuple[str, str], Object | None]) -> None:
        """Restore each found object, and delete those that did not exist; may be repeated."""
        for kind, name in (key for key, item in found.items() if item is None):
            self._delete(kind, name)
        self._delete("job", LOAD_JOB)  # a killed experiment's load
        for item in found.values():
            if item:
                put_back = json.dumps(item)
                is_there = self.kubectl("get", "-f", "-", "--ignore-not-found", "-o", "name", stdin=put_back)
                self.kubectl("replace" if is_there.strip() else "create", "-f", "-", stdin=put_back)

    def _forget(self) -> None:
        """Remove the marks that the next stage would take for those of a killed experiment."""
        if not self._ask:
            return
        Journal(self.namespace).remove(self.kubectl)
        if not self._namespace_found:
            self.kubectl("annotate", "namespace", self.namespace, f"{MADE_BY}-")


def key_of(item: Object) -> tuple[str, str]:
    """Return an object's kind and name."""
    return item["kind"], item["metadata"]["name"]


def bare(found: Object) -> Object:
    """Return an object of kubectl without the fields that the cluster sets and no client may set."""
    kept = {key: value for key, value in found.items() if key != "status"}
    decided = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
    kept["metadata"] = {key: value for key, value in found["metadata"].items() if key not in decided}
    if found["kind"] == "Service":
        kept["spec"] = {key: value for key, value in found["spec"].items() if not key.startswith("clusterIP")}
    return kept


def responds(url: str, host: str | None) -> bool:
    """Return whether the service responds at a URL from here, within 2 s."""
    connection = Connection(target_of(url, host), timeout=2)
    with (
        contextlib.closing(connection),
        contextlib.suppress(Lost, http.client.HTTPException, json.JSONDecodeError),
    ):
        connection.get("/api")
        return True
    return False


def first_to_respond(urls: Sequence[str], host: str | None, seconds: float = REACHABLE) -> str | None:
    """Return the first URL at which the service responds from here, None after `seconds` without a response.

    The URLs are tried in turn, each at least once, also with no time left.
    """
    until = time.monotonic() + seconds
    while urls:
        for url in urls:
            if responds(url, host):
                return url
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return None
