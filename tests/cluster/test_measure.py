"""`kubectl lossless measure` on foreign workloads: it names the true causes and changes nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from kubectl_lossless.kubectl import Kubectl, to_list
from kubectl_lossless.measure.load.job import LABELS
from kubectl_lossless.measure.propagation import Propagation
from tests.cluster import argo
from tests.cluster.beforehand import MEASURED
from tests.cluster.conftest import ROUTED
from tests.cluster.relay import Relay
from tests.cluster.workloads import WORKLOADS, Workload
from tests.process.service import ROOT
from tests.waiting import wait_until
from tools.course.stage import Rung, Stage

READY = "180s"
RIGHT = 0.9
"""Minimum share of the losses whose true cause the verdict must name."""

LOAD_LABELS = ",".join(f"{key}={value}" for key, value in LABELS.items())

FAST = {"gunicorn", "no-probe"}
"""Workloads of .ci/run, which runs its part of this file in less than three minutes."""

CONNECTIONS = 20
"""Connections in a row that a Service must accept before it counts as listening: some reach each pod."""


def listens(url: str) -> bool:
    """Return whether the port of a URL accepts a connection."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class Shop:
    """A namespace with foreign workloads."""

    kubectl: Kubectl
    folder: Path

    def deploy(self, workload: Workload) -> str:
        """Deploy a workload into the emptied namespace; return the URL at which it responds."""
        self.kubectl(
            *("delete", "deployment,statefulset,service", "--all", "-n", MEASURED),
            *("--cascade=foreground", "--wait"),
            timeout=180,
        )
        self.kubectl("apply", "-n", MEASURED, "-f", "-", stdin=to_list(workload.objects()))
        self.kubectl(
            "rollout", "status", workload.reference, "-n", MEASURED, f"--timeout={READY}", timeout=190
        )
        url = self.url()
        # Without a readiness probe a pod is ready before its server listens.
        wait_until(lambda: all(listens(url) for _ in range(CONNECTIONS)), f"a server at {url}", 60)
        return url

    def url(self) -> str:
        """Return the URL of the Service at a node."""
        service = self.kubectl.objects("get", "service", "web", "-n", MEASURED)[0]
        nodes = self.kubectl.objects("get", "nodes", "-l", "!node-role.kubernetes.io/control-plane")
        address = next(a["address"] for a in nodes[0]["status"]["addresses"] if a["type"] == "InternalIP")
        return f"http://{address}:{service['spec']['ports'][0]['nodePort']}"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a measurement."""
        return [
            *(sys.executable, "-m", "kubectl_lossless", "measure", "-n", MEASURED),
            *("--context", str(self.kubectl.context), "--report", str(self.folder), "-o", "json", *arguments),
        ]

    def measure(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        """Measure; return the exit status, the result, and the output on stderr."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            env={**os.environ, **environment},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    def propagation(
        self, url: str, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Measure the propagation to the route `url` for three pods, within `timeout` seconds."""
        command = [
            *(sys.executable, "-m", "kubectl_lossless", "propagation", "deploy/web", "-n", MEASURED),
            *("--context", str(self.kubectl.context), "--report", str(self.folder), "--url", url),
            *("--yes", "--pods", "3", "--rps", "100"),
        ]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, **environment},
        )

    def measure_from_elsewhere(
        self, release: Callable[[], object], *arguments: str
    ) -> tuple[int, dict[str, Any], str]:
        """Measure with --wait; call `release`, which rolls out the workload, once the measurement waits."""
        process = subprocess.Popen(
            self.command(*arguments, "--wait", "60"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("waiting 60 s"):
                break
        release()
        out, rest = process.communicate(timeout=300)
        return process.returncode, json.loads(out or "{}"), "".join(said) + rest


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[None]:
    """Create a separate namespace; delete it at the end."""
    kubectl("create", "namespace", MEASURED)
    try:
        yield
    finally:
        kubectl("delete", "namespace", MEASURED, "--wait=false")


@pytest.fixture
def shop(kubectl: Kubectl, namespace: None, tmp_path: Path) -> Shop:
    return Shop(kubectl, tmp_path)


def objects(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """Return every object that a user may have written, without the fields that the cluster writes."""
    said = kubectl("api-resources", "--verbs=list", "-o", "name", timeout=60).split()
    own = (
        "events",
        "leases",
        "pods",
        "replicasets",
        "controllerrevisions",
        "endpoints",
        "nodes",
        "componentstatuses",
    )
    kinds = [kind for kind in said if not kind.startswith(own) and "metrics.k8s.io" not in kind]
    found: dict[str, dict[str, Any]] = {}
    for item in kubectl.objects("get", ",".join(kinds), "-A"):
        metadata = item["metadata"]
        for name in ("resourceVersion", "managedFields", "generation"):
            metadata.pop(name, None)
        item.pop("status", None)
        found[f"{item['kind']} {metadata.get('namespace')}/{metadata['name']}"] = item
    return found


def assert_causes(found: dict[str, Any], workload: Workload) -> None:
    """Check that the verdict names a true cause for nine of ten losses or more."""
    right = sum(group["count"] for group in found["groups"] if group["cause"] in workload.causes)
    assert right >= RIGHT * found["lost"], json.dumps(found, indent=1)
    if workload.some:
        assert found["lost"] > 0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.matrix) for name in WORKLOADS]
)
def test_verdict_names_the_true_cause_and_nothing_else_is_changed(shop: Shop, name: str) -> None:
    workload = WORKLOADS[name]
    url = shop.deploy(workload)
    before = objects(shop.kubectl)
    more = [*["--slow-url", f"{url}/slow"] * workload.slow, "--slow-takes", "3"] if workload.slow else []
    status, found, said = shop.measure(workload.reference, "--url", url, "--yes", "--rps", "100", *more)
    assert status == (1 if found["lost"] else 0), said
    assert_causes(found, workload)
    warned = [note for note in found["notes"] if note.startswith("Kubernetes warned")]
    assert [note.split()[2] for note in warned] == [workload.warned] * bool(workload.warned), warned
    after = objects(shop.kubectl)
    key = f"{workload.objects()[0]['kind']} {MEASURED}/web"
    for each in (before, after):
        each[key]["metadata"]["annotations"].pop("deployment.kubernetes.io/revision", None)
    assert after[key]["spec"]["template"]["metadata"].pop("annotations")["kubectl.kubernetes.io/restartedAt"]
    assert after == before


def test_verdict_on_a_rollout_without_loss_names_no_cause(shop: Shop, stage: Stage) -> None:
    stage.apply(Rung("v5", min_ready_seconds=0), clean=True)
    stage.wait_until_settled(180)
    url = stage.node_urls()[0]
    status, found, said = shop.measure(
        *("deploy/flask-deployment", "-n", stage.namespace, "--url", f"{url}/api", "--yes", "--rps", "100")
    )
    assert (status, found["lost"], found["groups"]) == (0, 0, []), said
    assert found["held"]
    assert "would have shown" in found["notes"][0]


# ---- failures ---------------------------------------------------------------------------------------------


GUNICORN = WORKLOADS["gunicorn"]
matrix = pytest.mark.matrix


@pytest.fixture
def web(shop: Shop) -> str:
    """Deploy stock Gunicorn; return its URL."""
    return shop.deploy(GUNICORN)


def generation(shop: Shop) -> int:
    return int(shop.kubectl.objects("get", "deployment", "web", "-n", MEASURED)[0]["metadata"]["generation"])


def test_measurement_of_a_service_that_is_down_does_not_begin(shop: Shop, web: str) -> None:
    before = generation(shop)
    for path, says in (("/missing", "status 404"), ("/unavailable", "If status 503 is right: --expect 503")):
        status, found, said = shop.measure("deploy/web", "--url", web + path, "--yes")
        assert (status, found) == (2, {})
        assert "Nothing was started" in said
        assert says in said
    assert generation(shop) == before


@matrix
def test_status_503_by_design_is_a_good_response(shop: Shop, web: str) -> None:
    status, found, said = shop.measure(
        *("deploy/web", "--url", f"{web}/unavailable", "--expect", "503", "--yes", "--rps", "100")
    )
    assert found["requests"] > found["lost"] * 10 > 0, said
    assert status == 1
    assert_causes(found, GUNICORN)


@matrix
@pytest.mark.parametrize("stuck", ["image", "deadline"])
def test_rollout_that_never_completes_is_reported_with_its_reason(shop: Shop, web: str, stuck: str) -> None:
    if stuck == "image":
        status, found, _ = shop.measure(
            "deploy/web",
            "--url",
            web,
            "--yes",
            "--image",
            "web=localhost:5000/nothing:1",
            "--max-lost",
            "100",
        )
        assert "ImagePull" in found["problem"]
    else:
        workload = GUNICORN.objects()[0]
        workload["spec"]["progressDeadlineSeconds"] = 12
        workload["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] = (
            "/missing"
        )
        manifest = shop.folder / "web.yaml"
        manifest.write_text(json.dumps(workload))
        status, found, _ = shop.measure(
            "deploy/web", "--url", web, "--yes", "--apply", str(manifest), "--max-lost", "100"
        )
        assert "ProgressDeadlineExceeded" in found["problem"]
    assert status == 1
    assert not found["held"]
    assert found["secondsComplete"] is None


@matrix
def test_load_ends_if_the_service_stays_down(shop: Shop, web: str) -> None:
    workload = GUNICORN.objects()[0]
    workload["spec"]["strategy"] = {"type": "Recreate"}
    workload["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] = "/missing"
    manifest = shop.folder / "web.yaml"
    manifest.write_text(json.dumps(workload))
    status, found, said = shop.measure("deploy/web", "--url", web, "--yes", "--apply", str(manifest))
    assert status == 1, said
    assert "gave no good response for 60 s, so the load was ended" in found["problem"]
    assert_causes(found, WORKLOADS["recreate"])


def begun(shop: Shop, before: int) -> Callable[[], bool]:
    """Return a condition: the rollout has a new pod, so the command that began it has its response."""

    def check() -> bool:
        status = shop.kubectl.objects("get", "deployment", "web", "-n", MEASURED)[0]["status"]
        return int(status["observedGeneration"]) > before and int(status.get("updatedReplicas", 0)) > 0

    return check


def in_the_middle(shop: Shop, action: Callable[[], object]) -> threading.Thread:
    """Call `action` in a thread as soon as a rollout has a new pod; return the thread."""
    before = generation(shop)

    def wait() -> None:
        wait_until(begun(shop, before), "a rollout", 60)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@matrix
def test_undo_during_the_rollout_is_reported(shop: Shop, web: str) -> None:
    other = in_the_middle(shop, lambda: shop.kubectl("rollout", "undo", "deployment/web", "-n", MEASURED))
    status, found, said = shop.measure("deploy/web", "--url", web, "--yes", "--max-lost", "1000")
    other.join()
    assert status == 1, said
    assert "was undone" in found["problem"]


@matrix
def test_measurement_waits_for_a_rollout_from_elsewhere(shop: Shop) -> None:
    web = shop.deploy(WORKLOADS["nginx"])
    before = generation(shop)

    def release() -> None:
        assert generation(shop) == before
        shop.kubectl("set", "env", "deployment/web", "RELEASE=2", "-n", MEASURED)

    status, found, said = shop.measure_from_elsewhere(release, "deploy/web", "--url", web, "--rps", "100")
    assert status == 1, said
    assert_causes(found, WORKLOADS["nginx"])
    assert generation(shop) == before + 1


@matrix
def test_absent_rollout_is_reported(shop: Shop, web: str) -> None:
    status, _, said = shop.measure("deploy/web", "--url", web, "--wait", "2")
    assert status == 2
    assert "No rollout of deploy/web began within 2 s" in said


def rule(resource: str, *verbs: str, group: str = "") -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


READS = ("get", "list", "watch")
WORKLOAD = rule("deployments", *READS, "patch", group="apps")
SLICES = rule("endpointslices", *READS, group="discovery.k8s.io")


def kubeconfig_of(shop: Shop, name: str, *rules: dict[str, Any], relay: Relay | None = None) -> str:
    """Create a user with these rights; return the path of a kubeconfig, whose server may be a relay."""
    metadata = {"name": name, "namespace": MEASURED}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": MEASURED}
    api = "rbac.authorization.k8s.io/v1"
    shop.kubectl(
        *("apply", "-f", "-"),
        stdin=to_list(
            [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
                {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": list(rules)},
                {
                    "apiVersion": api,
                    "kind": "RoleBinding",
                    "metadata": metadata,
                    "roleRef": reference,
                    "subjects": [subject],
                },
            ]
        ),
    )
    token = shop.kubectl("create", "token", name, "-n", MEASURED).strip()
    config = json.loads(shop.kubectl("config", "view", "--minify", "--raw", "-o", "json"))
    config["users"] = [{"name": "tester", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "tester"
    if relay is not None:
        config["clusters"][0]["cluster"] |= {"server": relay.url, "tls-server-name": relay.host}
    path = shop.folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return str(path)


@matrix
def test_pods_that_may_not_be_listed_are_observed_by_their_endpoint_slices(shop: Shop, web: str) -> None:
    path = kubeconfig_of(shop, "blind", WORKLOAD, SLICES)
    status, found, said = shop.measure("deploy/web", "--url", web, "--yes", "--rps", "100", KUBECONFIG=path)
    assert status == 1, said
    assert found["lost"] > 0
    assert_causes(found, GUNICORN)
    assert "the pods cannot be watched" in said
    assert "old pods" in said
    assert any(note.startswith("Pods are those of their EndpointSlices.") for note in found["notes"])


@matrix
def test_measurement_without_pods_and_endpoint_slices_reports_the_gap(shop: Shop, web: str) -> None:
    path = kubeconfig_of(shop, "blinder", WORKLOAD)
    status, found, said = shop.measure("deploy/web", "--url", web, "--yes", "--rps", "100", KUBECONFIG=path)
    assert status == 1, said
    assert found["lost"] > 0
    assert any(note.startswith("Not seen: the pods.") for note in found["notes"])
    assert any(note.startswith("Not seen: the EndpointSlices.") for note in found["notes"])


@matrix
def test_pods_that_may_be_listed_and_not_watched_are_listed(shop: Shop, web: str) -> None:
    path = kubeconfig_of(shop, "lists", WORKLOAD, SLICES, rule("pods", "get", "list"))
    status, found, said = shop.measure("deploy/web", "--url", web, "--yes", "--rps", "100", KUBECONFIG=path)
    assert status == 1, said
    assert_causes(found, GUNICORN)
    assert any(note.startswith("Listed, not watched: pods.") for note in found["notes"])


def documented_rules() -> list[dict[str, Any]]:
    """Return the rules of the Role in docs/lossless.md."""
    page = (ROOT / "docs" / "lossless.md").read_text()
    block = page.split("## The rights it needs")[1].split("```yaml\n")[1].split("```")[0]
    rules: list[dict[str, Any]] = yaml.safe_load(block)["rules"]
    return rules


@matrix
@pytest.mark.parametrize("place", ["here", "in the cluster"])
def test_documented_role_has_the_rights_of_a_measurement(
    shop: Shop, web: str, load_image: str, place: str
) -> None:
    path = kubeconfig_of(shop, "documented", *documented_rules())
    load = ["--url", web] if place == "here" else ["--url", "http://web/"]
    if place != "here":
        load += ["--in-cluster", "--load-image", load_image]
    status, found, said = shop.measure("deploy/web", *load, "--yes", "--rps", "100", KUBECONFIG=path)
    assert status == 1, said
    assert_causes(found, GUNICORN)
    assert "cannot be watched" not in said
    assert not [note for note in found["notes"] if note.startswith(("Not seen", "Listed"))]


@matrix
def test_documented_role_has_the_rights_of_propagation(shop: Shop, web: str) -> None:
    path = kubeconfig_of(shop, "documented", *documented_rules())
    done = shop.propagation(web, timeout=200, KUBECONFIG=path)
    assert done.returncode == 0, done.stderr


@matrix
def test_credentials_that_expire_before_the_rollout_end_the_measurement_with_one_sentence(
    shop: Shop, web: str
) -> None:
    path = kubeconfig_of(shop, "expires", WORKLOAD, SLICES)
    before = generation(shop)
    process = subprocess.Popen(
        shop.command("deploy/web", "--url", web, "--yes"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KUBECONFIG": path},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("starting the load"):
            break
    shop.kubectl("delete", "serviceaccount", "expires", "-n", MEASURED)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 2
    assert said.strip().splitlines()[-1].startswith("The credentials in the kubeconfig are not accepted")
    assert generation(shop) == before


@matrix
@pytest.mark.parametrize("lost", ["credentials", "API server"])
def test_end_of_the_observation_during_a_rollout_is_reported(shop: Shop, lost: str) -> None:
    def slow(workload: dict[str, Any]) -> None:
        workload["spec"]["minReadySeconds"] = 30

    web = shop.deploy(Workload("slow", slow, GUNICORN.causes))
    with Relay(shop.kubectl.server) as relay:
        path = kubeconfig_of(shop, "expires", WORKLOAD, SLICES, rule("pods", *READS), relay=relay)

        def lose() -> None:
            if lost == "credentials":
                shop.kubectl("delete", "serviceaccount", "expires", "-n", MEASURED)
                # The API server accepts the token for some more seconds.
                whoami = [
                    "kubectl",
                    "--kubeconfig",
                    path,
                    "auth",
                    "whoami",
                    "--context",
                    str(shop.kubectl.context),
                ]
                wait_until(
                    lambda: subprocess.run(whoami, capture_output=True, check=False).returncode != 0,
                    "a token that is no longer accepted",
                    60,
                )
                relay.cut()
            else:
                relay.close()

        other = in_the_middle(shop, lose)
        status, found, said = shop.measure(
            "deploy/web", "--url", web, "--yes", "--max-lost", "1000", KUBECONFIG=path
        )
        other.join()
    assert status == 2, said
    assert found, said
    assert found["problem"].startswith("The rollout can no longer be followed.")
    expected = (
        "The credentials in the kubeconfig are not accepted"
        if lost == "credentials"
        else "No cluster answers"
    )
    assert expected in found["problem"]


# ---- requested changes only -------------------------------------------------------------------------------


@matrix
@pytest.mark.parametrize("action", ["image", "apply", "wait"])
def test_measurement_makes_the_requested_change_only(shop: Shop, action: str) -> None:
    web = shop.deploy(WORKLOADS["nginx"])
    shop.kubectl(
        *("apply", "-n", MEASURED, "-f", "-"),
        stdin=to_list(
            [
                {"apiVersion": "v1", "kind": kind, "metadata": {"name": "theirs"}, field: {"key": "dmFsdWU="}}
                for kind, field in (("ConfigMap", "data"), ("Secret", "data"))
            ]
        ),
    )
    manifest = WORKLOADS["nginx"].objects()[0]
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    if action == "image" and not container["image"].endswith(":latest"):
        pytest.skip("the image has no other name")
    before = objects(shop.kubectl)
    expected = before[f"Deployment {MEASURED}/web"]
    asked = ["deploy/web", "--url", web, "--yes", "--rps", "50"]
    if action == "image":
        other = container["image"].removesuffix(":latest")
        status, found, said = shop.measure(*asked, "--image", f"web={other}")
        expected["spec"]["template"]["spec"]["containers"][0]["image"] = other
    elif action == "apply":
        container["env"] = [{"name": "RELEASE", "value": "2"}]
        file = shop.folder / "web.json"
        file.write_text(json.dumps(manifest))
        status, found, said = shop.measure(*asked, "--apply", str(file))
        expected["spec"]["template"]["spec"]["containers"][0]["env"] = container["env"]
    else:
        here = generation(shop)
        status, found, said = shop.measure_from_elsewhere(
            lambda: shop.kubectl("set", "env", "deployment/web", "RELEASE=2", "-n", MEASURED), *asked
        )
        assert generation(shop) == here + 1
        expected["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "RELEASE", "value": "2"}]
    assert status == (1 if found["lost"] else 0), said
    after = objects(shop.kubectl)
    for each in (before, after):
        annotations = each[f"Deployment {MEASURED}/web"]["metadata"]["annotations"]
        annotations.pop("deployment.kubernetes.io/revision", None)
        if action == "apply":  # kubectl apply's record of the file
            annotations.pop("kubectl.kubernetes.io/last-applied-configuration")
    assert after == before


@pytest.fixture
def rollouts(kubectl: Kubectl) -> Iterator[None]:
    """Define the kind Rollout during the test; skip the test if the cluster has the kind."""
    if kubectl("get", "crd", "rollouts.argoproj.io", "--ignore-not-found"):
        pytest.skip("the cluster has Argo Rollouts, whose controller would drive the test's Rollout")
    kubectl("apply", "-f", "-", stdin=to_list([argo.CRD]))
    kubectl("wait", "--for=condition=Established", "crd/rollouts.argoproj.io", "--timeout=60s", timeout=70)
    try:
        yield
    finally:
        kubectl("delete", "crd", "rollouts.argoproj.io", timeout=90)


@matrix
def test_argo_rollout_that_is_driven_from_elsewhere_is_measured(shop: Shop, rollouts: None) -> None:
    workload, service = GUNICORN.objects()
    shop.kubectl(
        "delete",
        "deployment,statefulset,service",
        "--all",
        "-n",
        MEASURED,
        "--cascade=foreground",
        timeout=180,
    )
    workload |= {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    workload["spec"] |= {"replicas": 3, "strategy": {"canary": {"maxSurge": 1, "maxUnavailable": 0}}}
    shop.kubectl("apply", "-n", MEASURED, "-f", "-", stdin=to_list([workload, service]))
    controller = argo.Controller(shop.kubectl, MEASURED, "web")
    controller.reconcile()
    web = shop.url()
    status, _, said = shop.measure("rollout/web", "--url", web, "--yes")
    assert status == 2
    assert "cannot be rolled by kubectl" in said
    container = {
        **workload["spec"]["template"]["spec"]["containers"][0],
        "env": [{"name": "RELEASE", "value": "2"}],
    }
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})

    def release() -> None:
        shop.kubectl("patch", "rollouts.argoproj.io", "web", "-n", MEASURED, "--type=merge", "-p", patch)
        controller.reconcile()

    status, found, said = shop.measure_from_elsewhere(release, "rollout/web", "--url", web, "--rps", "100")
    assert status == 1, said
    assert found["secondsComplete"] is not None
    assert_causes(found, GUNICORN)


@matrix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_measurement_leaves_nothing_behind(
    shop: Shop, web: str, load_image: str, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        shop.command(
            "deploy/web", "--url", "http://web/", "--yes", "--in-cluster", "--load-image", load_image
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("the rollout of deploy/web begins"):
            break
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("interrupted; the load has ended.")
    wait_until(
        lambda: not shop.kubectl.objects("get", "jobs,secrets", "-n", MEASURED, "-l", LOAD_LABELS),
        "no Job and no Secret of the load",
        60,
    )


@matrix
def test_load_in_the_cluster_finds_the_cause(shop: Shop, web: str, load_image: str) -> None:
    before = objects(shop.kubectl)
    status, found, said = shop.measure(
        "deploy/web", "--url", "http://web/", "--yes", "--rps", "100",
        "--in-cluster", "--load-image", load_image, "-H", "Authorization: Bearer secret",
    )  # fmt: skip
    assert status == 1, said
    assert_causes(found, GUNICORN)
    wait_until(
        lambda: objects(shop.kubectl).keys() == before.keys(), "no object that was not there before", 60
    )


# ---- propagation ------------------------------------------------------------------------------------------


def test_propagation_measures_the_time_that_each_route_leads_to_a_terminating_pod(
    shop: Shop, web: str
) -> None:
    before = objects(shop.kubectl)
    done = shop.propagation(web)
    assert done.returncode == 0, done.stderr
    found = Propagation.read(shop.folder / "propagation.json")
    assert found.routes() == ["EndpointSlice", web]
    assert len({each.pod for each in found.terminations}) == 3
    # The server refuses connections from SIGTERM on, so each loss shows that the route still led to the pod.
    assert found.lost[web] > 0
    assert 0 < max(found.times(web)) < 20
    assert f"of at least {found.drain_min} s" in done.stdout
    assert (shop.folder / "propagation.svg").read_text().startswith("<svg")
    assert objects(shop.kubectl) == before


# ---- HTTPS and ingress ------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Create a private certificate authority and its certificate for shop.example; return their folder."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=tmp_path)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    # Python 3.13 verifies as RFC 5280 has it: the authority has a key usage, its certificate names its key.
    ca = ("-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign")
    openssl(*new, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.crt", *ca)
    openssl(*new, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=shop.example")
    (tmp_path / "names").write_text("subjectAltName=DNS:shop.example\nauthorityKeyIdentifier=keyid\n")
    openssl(
        *("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-out", "tls.crt", "-extfile", "names"),
    )
    return tmp_path


@matrix
def test_https_with_a_private_authority_is_measured(shop: Shop, authority: Path) -> None:
    def tls(workload: dict[str, Any]) -> None:
        command = WORKLOADS["uvicorn"].objects()[0]["spec"]["template"]["spec"]["containers"][0]["command"]
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        container["command"] = [*command, "--ssl-keyfile", "/tls/tls.key", "--ssl-certfile", "/tls/tls.crt"]
        container["volumeMounts"] = [{"name": "tls", "mountPath": "/tls"}]
        container["readinessProbe"]["httpGet"]["scheme"] = "HTTPS"
        pod["volumes"] = [{"name": "tls", "secret": {"secretName": "tls"}}]

    files = (f"--cert={authority}/tls.crt", f"--key={authority}/tls.key")
    shop.kubectl("create", "secret", "tls", "tls", "-n", MEASURED, *files)
    try:
        url = shop.deploy(Workload("tls", tls, GUNICORN.causes)).replace("http:", "https:")
        asked = ("deploy/web", "--url", url, "--host", "shop.example", "--yes", "--rps", "50")
        status, _, said = shop.measure(*asked)
        assert status == 2
        assert "the certificate is not trusted" in said
        assert "--ca FILE" in said
        status, found, said = shop.measure(*asked, "--ca", str(authority / "ca.crt"))
        assert status == (1 if found["lost"] else 0), said
        assert found["requests"] > 200
        assert_causes(found, Workload("tls", tls, GUNICORN.causes))
        status, _, said = shop.measure(*asked[:-3], "--insecure", "--wait", "1", "--rps", "50")
        assert "certificates are NOT checked (--insecure)" in said
    finally:
        shop.kubectl("delete", "secret", "tls", "-n", MEASURED)


@matrix
def test_ingress_is_reached_by_its_host(shop: Shop, web: str) -> None:
    edge = os.environ.get("EDGE_URL")
    if not edge:
        pytest.skip("EDGE_URL does not say where the cluster's edge is")
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {
        "host": "shop.example",
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": MEASURED},
        "spec": {"rules": [rule]},
    }
    shop.kubectl("apply", "-f", "-", stdin=to_list([ingress]))
    try:
        arguments = ("deploy/web", "--url", edge, "--host", "shop.example", "--yes", "--rps", "100")
        status, found, said = wait_until(
            lambda: measured if (measured := shop.measure(*arguments))[0] != 2 else None,
            "the edge routes to the pods",
            ROUTED,
        )
        assert status in (0, 1), said
        assert_causes(found, Workload("ingress", lambda _: None, GUNICORN.causes, some=False))
        status, _, said = shop.measure("deploy/web", "--url", edge, "--host", "nobody.example", "--yes")
        assert status == 2
        assert "status 404" in said
    finally:
        shop.kubectl("delete", "ingress", "web", "-n", MEASURED)
