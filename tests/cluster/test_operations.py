"""Tools of operators: the doctor, and a Prometheus that scrapes the pods of a rolling update."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from kubectl_lossless.kubectl import Kubectl, KubectlError
from kubectl_lossless.measure.load.connection import Connection, Target
from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.watch import Watch
from tests.cluster.conftest import NAMESPACE, ROLLED_OUT, Deploy
from tests.process.prometheus import Labels, Prometheus, needs_prometheus
from tests.waiting import wait_until
from tools.course.experiment import Experiment, run
from tools.course.stage import Rung, Stage

ENFORCED = os.environ.get("NETWORK_POLICIES") == "enforced"
"""True if the cluster is known to enforce NetworkPolicies; otherwise it may not."""


# ---- the doctor ----------------------------------------------------------------------------------------


def doctor(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    context = str(stage.kubectl.context)
    command = [sys.executable, "-m", "kubectl_lossless", "doctor"]
    command += ["--context", context, "-n", NAMESPACE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_doctor_reads_the_cluster(stage: Stage, deployed: Deploy) -> None:
    deployed(Rung("v7"))
    done = doctor(stage, "deployment/flask-deployment", "--json")
    (report,) = json.loads(done.stdout)["workloads"]
    assert (done.returncode, report["findings"]) == (0, []), done.stdout
    assert "nothing found that would lose a request" in doctor(stage).stdout
    missing = doctor(stage, "elsewhere")
    assert missing.returncode == 2
    assert f"There is no workload elsewhere in the namespace {NAMESPACE}" in missing.stderr

    stage.apply(Rung("v2"), clean=True)
    done = doctor(stage, "flask-deployment")
    assert done.returncode == 1, done.stdout
    assert "drain: The service stops listening at SIGTERM" in done.stdout
    assert "1 Service" in done.stdout


def test_doctor_reads_pid_1_of_a_running_pod(
    stage: Stage, deployed: Deploy, manifests: Path, tmp_path: Path
) -> None:
    """Find a shell as PID 1 by `kubectl exec`, which the manifest does not show."""
    documents = list(yaml.safe_load_all((manifests / "flask-deployment-v5.yaml").read_text()))
    (flask,) = documents[0]["spec"]["template"]["spec"]["containers"]
    hidden = "import os; os.execvp('sh', ['sh', '-c', 'gunicorn; true'])"
    flask["command"] = ["python", "-c", hidden]
    manifest = tmp_path / "shell.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    offline = [sys.executable, "-m", "kubectl_lossless", "doctor", "-f", str(manifest)]
    unseen = subprocess.run(offline, capture_output=True, text=True, check=False, timeout=60)
    assert "shell-entrypoint" not in unseen.stdout  # the control: the manifest alone does not show it
    deployed(Rung(str(manifest)))
    done = doctor(stage, "flask-deployment")
    assert "shell-entrypoint: PID 1 of flask stays a shell: gunicorn; true" in done.stdout, (
        done.stdout + done.stderr
    )


# ---- network policy ------------------------------------------------------------------------------------

CONNECTS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
CLOSED_WITHIN = 30.0
"""Timeout for the nodes to apply a change of a policy, in seconds."""


def test_v7_network_policy_closes_egress(stage: Stage, deployed: Deploy) -> None:
    """Connect from a pod to the API server: impossible with the policy, possible without it (the control)."""
    deployed(Rung("v7"))
    kubectl = stage.kubectl
    pod = kubectl.objects("get", "pods", "-n", NAMESPACE, "-l", "app=flask")[0]["metadata"]["name"]
    api = kubectl.objects("get", "service", "kubernetes", "-n", "default")[0]["spec"]
    address = (api["clusterIP"], str(api["ports"][0]["port"]))

    def reaches() -> bool:
        try:
            kubectl("exec", pod, "-n", NAMESPACE, "--", "python", "-c", CONNECTS, *address)
        except KubectlError as error:
            assert "TimeoutError" in error.said or "ConnectionRefusedError" in error.said, error  # noqa: PT017 - a reason to return
            return False
        return True

    if reaches() and not ENFORCED:
        pytest.skip("the cluster does not enforce NetworkPolicies (NETWORK_POLICIES=enforced where it does)")
    wait_until(lambda: not reaches(), "egress is closed", CLOSED_WITHIN)
    kubectl("delete", "networkpolicy", "flask-network-policy", "-n", NAMESPACE)
    wait_until(reaches, "egress is open without the policy", CLOSED_WITHIN)
    stage.apply(Rung("v7"))
    wait_until(lambda: not reaches(), "egress is closed again", CLOSED_WITHIN)


# ---- Prometheus ----------------------------------------------------------------------------------------


def targets(kubectl: Kubectl) -> dict[str, Labels]:
    """Return the targets of Prometheus' discovery of the role `pod`: one for each port of a container."""
    found: dict[str, Labels] = {}
    for pod in kubectl.objects("get", "pods", "-n", NAMESPACE):
        metadata, address = pod["metadata"], pod["status"].get("podIP")
        for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
            for port in container.get("ports", ()) if address else ():
                found[f"{address}:{port['containerPort']}"] = {
                    "__meta_kubernetes_namespace": metadata["namespace"],
                    "__meta_kubernetes_pod_name": metadata["name"],
                    "__meta_kubernetes_pod_phase": pod["status"]["phase"],
                    "__meta_kubernetes_pod_container_name": container["name"],
                    "__meta_kubernetes_pod_container_port_number": str(port["containerPort"]),
                    **{
                        f"__meta_kubernetes_pod_label_{name}": value
                        for name, value in metadata.get("labels", {}).items()
                        if name.isidentifier()
                    },
                }
    return found


@contextlib.contextmanager
def discovery(kubectl: Kubectl, prometheus: Prometheus) -> Iterator[None]:
    """Update Prometheus' targets to the cluster's pods, instead of its own discovery (see prometheus.py)."""
    over = threading.Event()

    def follow() -> None:
        before: dict[str, Labels] = {}
        while not over.is_set():
            now = targets(kubectl)
            if now != before:
                prometheus.targets("flask", now)
                before = now
            over.wait(1)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def seen_draining(prometheus: Prometheus) -> dict[str, float]:
    """Return the observed duration of each pod's drain, in seconds."""
    found = prometheus.query("max_over_time(lifecycle_drain_duration_seconds[10m]) > 0")
    return {labels["pod"]: value for labels, value in found}


@needs_prometheus
@pytest.mark.matrix
def test_healthy_update_is_observed_and_fires_no_alert(stage: Stage, tmp_path: Path) -> None:
    with Prometheus(tmp_path, "flask") as prometheus, discovery(stage.kubectl, prometheus):
        source, target = Rung("v5"), Rung("v5", version="v5-new")
        report = run(Experiment(source, target), stage)
        assert report.problem is None, report.problem
        assert report.load.lost == 0, report.load.summary()
        drained = seen_draining(prometheus)
        print(drained, prometheus.query("max_over_time(lifecycle_drain_last_request_seconds[10m]) > 0"))
        assert set(drained) == set(report.old)
        assert all(seconds > 2 for seconds in drained.values())
        versions = {labels["version"] for labels, _ in prometheus.query("version:requests:rate1m > 0")}
        assert "v5-new" in versions
        assert prometheus.firing() == set()


@needs_prometheus
@pytest.mark.matrix
def test_requests_that_outlast_the_drain_fire_alerts(
    stage: Stage, deployed: Deploy, manifests: Path, tmp_path: Path
) -> None:
    """Update v5 with a drain that is too short for its requests."""
    documents = list(yaml.safe_load_all((manifests / "flask-deployment-v5.yaml").read_text()))
    (flask,) = documents[0]["spec"]["template"]["spec"]["containers"]
    flask["env"] += [{"name": "DRAIN_MIN", "value": "2"}, {"name": "DRAIN_MAX", "value": "10"}]
    manifest = tmp_path / "short.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    address = urlsplit(deployed(Rung(str(manifest))))
    with (
        Prometheus(tmp_path, "flask") as prometheus,
        discovery(stage.kubectl, prometheus),
        Watch(stage.kubectl, stage.namespace, stage.deployment) as watch,
        contextlib.ExitStack() as stack,
    ):
        old = {pod.name for pod in watch.present()}
        wait_until(lambda: len(prometheus.query("lifecycle_ready == 1")) == len(old), "all are scraped", 60)
        for _ in range(12):
            connection = Connection(Target.of(address.geturl(), None), timeout=120)
            stack.callback(connection.close)
            threading.Thread(target=ask_slowly, args=(connection,), daemon=True).start()
        wait_until(
            lambda: len(prometheus.query("lifecycle_requests_in_flight > 0")) == len(old), "in flight", 30
        )
        stage.apply(Rung(str(manifest), version="new"))
        expected = {
            (alert, pod)
            for alert in ("DrainReachesMaximum", "DrainLongerThanUsual", "RequestsInFlightAtExit")
            for pod in old
        }
        wait_until(
            lambda: not any(pod.name in old or pod.state is State.DRAINING for pod in watch.present()),
            "the old pods are gone",
            ROLLED_OUT,
        )
        fired = prometheus.firing()
        print(fired)
        # Not every pod of the three has a request that began late enough to outlast the drain.
        assert {alert for alert, _ in fired} == {alert for alert, _ in expected}
        assert fired <= expected


def ask_slowly(connection: Connection) -> None:
    with contextlib.suppress(Exception):
        connection.get("/api/sleep/60")


# ---- the log -------------------------------------------------------------------------------------------

SHOWN = 60.0
"""Timeout for `kubectl logs` to show a line, in seconds: a kubelet opens a deleted file again within 10."""


def test_log_of_a_deleted_pod_tells_its_whole_drain(
    stage: Stage, deployed: Deploy, manifests: Path, tmp_path: Path
) -> None:
    """Read the log from the container: kubelets that share a machine delete each other's files each minute.

    The probes' lines in the access log show when the reader is there, which has to be before the deletion.
    """
    documents = list(yaml.safe_load_all((manifests / "flask-deployment-v5.yaml").read_text()))
    (flask,) = documents[0]["spec"]["template"]["spec"]["containers"]
    flask["env"].append({"name": "ACCESS_LOG", "value": "on"})
    manifest = tmp_path / "access-log.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    deployed(Rung(str(manifest)))
    name = stage.kubectl.objects("get", "pods", "-n", NAMESPACE, "-l", "app=flask")[0]["metadata"]["name"]
    pod = (name, "-n", NAMESPACE, "-c", "flask")

    def shown() -> str:
        with contextlib.suppress(KubectlError):  # the file does not exist at this moment
            return stage.kubectl("logs", *pod, "--tail=1")
        return ""

    wait_until(lambda: "GET" in shown(), "kubectl logs shows a probe", SHOWN)
    command = ["kubectl", "--context", str(stage.kubectl.context), "attach", *pod]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as attached:
        assert attached.stdout
        assert any("GET" in line for line in attached.stdout)
        stage.kubectl("delete", "pod", name, "-n", NAMESPACE, "--wait=false")
        log, _ = attached.communicate(timeout=60)
    moments = [log.find(text) for text in ("Drain began", "Drain ended", "Stopped: every request")]
    assert -1 not in moments, log
    assert moments == sorted(moments), log
