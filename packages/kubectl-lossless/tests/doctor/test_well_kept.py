"""Manifests that an expert would pass: nothing in them counts for the exit status."""

from __future__ import annotations

import pytest

from doctor.helpers import HERE, LOSES, RISKS, base, brief, container, dump, findings, load
from kubectl_lossless.doctor.__main__ import main
from kubectl_lossless.doctor.finding import Severity

WELL_KEPT = HERE / "well_kept"

SEEN = {
    "airflow-worker": ({"StatefulSet airflow-worker"}, "", False),
    "contour-envoy": ({"DaemonSet envoy"}, "", True),
    "controller-manager": ({"Deployment controller-manager"}, "", False),
    "coredns": ({"Deployment coredns"}, "CoreDNS", False),
    "gossip": ({"Deployment grafana"}, "", True),
    "ingress-nginx": ({"Deployment rel-ingress-nginx-controller"}, "", True),
    "istio-gateway": ({"Deployment ingressgateway"}, "istio-proxy", False),
    "prometheus": ({"Deployment prometheus-server"}, "", False),
    "redis": ({"StatefulSet redis-master"}, "", False),
    "spring": ({"Deployment orders"}, "Spring Boot", True),
    "database": ({"StatefulSet postgres"}, "", False),
    "django-with-nginx": ({"Deployment shop"}, "Gunicorn", True),
    "fastapi": ({"Deployment prices"}, "Uvicorn", True),
    "go-server": ({"Deployment info"}, "", True),
    "helm-output": ({"Deployment rel-catalog"}, "Gunicorn", True),
    "podinfo": ({"Deployment rel-podinfo"}, "", True),
    "kustomize-output": ({"Deployment api", "Deployment worker"}, "Gunicorn", True),
    "grpc-distroless": ({"Deployment cart"}, "", True),
    "nginx-static": ({"Deployment site"}, "nginx", True),
    "php-fpm": ({"Deployment blog"}, "", True),
    "node-exporter": ({"DaemonSet node-exporter"}, "", False),
    "kafka": ({"StatefulSet kafka"}, "", False),
    "node-dumb-init": ({"Deployment front"}, "", True),
    "blue-green": ({"Rollout shop"}, "Uvicorn", True),
    "haproxy": ({"Deployment haproxy"}, "", True),
    "webhook": ({"Deployment webhook"}, "", True),
    "openshift": ({"DeploymentConfig legacy"}, "", True),
    "istio-app": ({"Deployment reviews"}, "", True),
    "gunicorn-drain": ({"Deployment api"}, "Gunicorn", False),
    "operator": ({"Deployment operator"}, "", False),
    "worker": ({"Deployment mailer", "Deployment beat"}, "", False),
}
"""The workloads, the server that is recognized, and whether the drain is looked at."""


def test_all_are_expected() -> None:
    assert {each.stem for each in WELL_KEPT.iterdir()} == SEEN.keys()


@pytest.mark.parametrize("name", SEEN)
def test_well_kept_manifest_passes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-f", str(WELL_KEPT / f"{name}.yaml")]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", SEEN)
def test_well_kept_manifest_was_looked_at(name: str) -> None:
    """The control: what passes was recognized, and the same without its preStop does not pass."""
    workloads, server, drains = SEEN[name]
    text = (WELL_KEPT / f"{name}.yaml").read_text()
    loaded = load(text)
    assert not loaded.refused
    assert {each.name for each in loaded.workloads} == workloads
    assert {each.server.name for each in loaded.workloads if each.serves} <= {server}
    worse = text.replace("preStop:", "postStart:")
    severities = {each.severity for each in findings(worse) if each.check in ("drain", "plain-sidecar")}
    assert bool(severities & {LOSES, RISKS}) == drains


def test_database_is_not_told_to_have_a_second_replica() -> None:
    found = findings((WELL_KEPT / "database.yaml").read_text())
    assert (Severity.ADVICE, "replicas") in brief(found)
    assert not [change for each in found if each.check == "replicas" for change in each.changes]


def test_volume_of_many_nodes_is_not_of_one_writer() -> None:
    objects = base()
    objects[0]["spec"]["replicas"] = 1
    volume = {"name": "d", "persistentVolumeClaim": {"claimName": "d"}}
    objects[0]["spec"]["template"]["spec"]["volumes"] = [volume]
    (workload,) = load(dump(objects)).workloads
    assert workload.single_writer
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "d", "namespace": "demo"},
        "spec": {"accessModes": ["ReadWriteMany"]},
    }
    (workload,) = load(dump([*objects, claim])).workloads
    assert not workload.single_writer
    objects[0]["spec"]["replicas"] = 3
    (workload,) = load(dump(objects)).workloads
    assert not workload.single_writer
    assert container(objects)["name"] == workload.app.name
