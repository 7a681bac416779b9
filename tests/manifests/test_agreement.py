"""Agreement of the names, labels and ports that one file uses with the file that defines them."""

from __future__ import annotations

import re

import pytest

from app.settings import PROBES, Settings
from tools.course.namespace import PROJECT, PROJECT_LABEL

from .manifests import (
    K8S,
    ROOT,
    RUNGS,
    SERVICE_TARGET,
    Object,
    container,
    containers,
    deployment,
    envoy,
    objects,
    one,
    pod_spec,
)

NAMESPACE = "flask-cluster"
LABELS = {"app": "flask"}
OURS = {PROJECT_LABEL: PROJECT}


def socket(address: Object) -> tuple[str, int]:
    """Return the host and port of an Envoy address."""
    return address["socket_address"]["address"], address["socket_address"]["port_value"]


def envoy_listener() -> Object:
    (found,) = envoy()["static_resources"]["listeners"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", sorted(K8S.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_object_is_in_the_namespace(path: object) -> None:
    for each in objects(re.sub(r"\.yaml$", "", str(path).rpartition("/")[2])):
        metadata = each["metadata"]
        if each["kind"] == "Namespace":
            assert metadata["name"] == NAMESPACE
            assert metadata["labels"].items() >= OURS.items()
        else:
            assert metadata["namespace"] == NAMESPACE
            assert metadata["labels"] == LABELS


@pytest.mark.parametrize("rung", RUNGS)
def test_selectors_match_the_pods(rung: str) -> None:
    spec = deployment(rung)["spec"]
    assert spec["template"]["metadata"]["labels"] == LABELS
    assert spec["selector"]["matchLabels"] == LABELS
    assert one("service", "Service")["spec"]["selector"] == LABELS


@pytest.mark.parametrize("rung", ["all", *RUNGS])
def test_services_of_the_namespace_set_no_environment_variables(rung: str) -> None:
    assert pod_spec(rung)["enableServiceLinks"] is False


@pytest.mark.parametrize("rung", RUNGS)
def test_service_port_is_the_entry_point_of_the_pod(rung: str) -> None:
    named = [
        (each["name"], port["containerPort"])
        for each in containers(pod_spec(rung))
        for port in each["ports"]
        if port["name"] == SERVICE_TARGET
    ]
    _, listener = socket(envoy_listener()["address"])
    assert named == [("envoy", listener) if rung.startswith("v6") else ("flask", Settings().port)]


@pytest.mark.parametrize("rung", RUNGS)
def test_service_container_listens_on_its_default_port(rung: str) -> None:
    assert [port["containerPort"] for port in container(rung)["ports"]] == [Settings().port]


@pytest.mark.parametrize("rung", [rung for rung in RUNGS if rung != "v1"])
def test_probes_of_the_manifests_are_probes_of_the_service(rung: str) -> None:
    flask = container(rung)
    known = {(probe.path, probe.header) for probe in PROBES}
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = flask[name]["httpGet"]
        headers = [header["name"] for header in get.get("httpHeaders", ())]
        assert get["port"] == Settings().port
        assert (get["path"], headers[0] if headers else None) in known
    assert flask["livenessProbe"]["httpGet"]["path"] == "/health"
    # a drain ends the readiness, which must therefore never restart the container
    assert flask["startupProbe"]["httpGet"] == flask["livenessProbe"]["httpGet"]
    assert flask["readinessProbe"]["httpGet"]["path"] == "/api/nowater/version"


def test_service_has_the_node_port_of_the_course() -> None:
    service = one("service", "Service")
    (port,) = service["spec"]["ports"]
    assert service["spec"]["type"] == "NodePort"
    assert (port["nodePort"], port["targetPort"]) == (30007, SERVICE_TARGET)


def test_ingress_and_route_lead_to_the_service() -> None:
    service = one("service", "Service")
    (port,) = service["spec"]["ports"]
    name = service["metadata"]["name"]
    for ingress in objects("ingress"):
        (rule,) = ingress["spec"]["rules"]
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"] == {"name": name, "port": {"name": port["name"]}}
    for route in one("httproute", "HTTPRoute")["spec"]["rules"]:
        assert route["backendRefs"] == [{"name": name, "port": port["port"]}]


def test_v7_objects_select_its_pods() -> None:
    file = "flask-deployment-v7"
    (spread,) = pod_spec("v7")["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == LABELS
    assert one(file, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABELS
    assert one(file, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABELS


def test_v7_network_policy_opens_the_serving_port() -> None:
    policy = one("flask-deployment-v7", "NetworkPolicy")["spec"]
    # v6's port too: the policy also selects v6's pods while v7 replaces them.
    ports = [Settings().port, socket(envoy_listener()["address"])[1]]
    assert policy["ingress"] == [{"ports": [{"port": port, "protocol": "TCP"} for port in ports]}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy  # nothing is allowed


def test_v7_autoscaler_scales_the_deployment_from_its_replicas() -> None:
    target = deployment("v7")
    scaler = one("flask-deployment-v7", "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "name": target["metadata"]["name"],
    }
    assert scaler["minReplicas"] == target["spec"]["replicas"] < scaler["maxReplicas"]
    # Utilization is a share of the request
    assert "cpu" in container("v7")["resources"]["requests"]


def test_v7_budget_allows_the_drain_of_a_node() -> None:
    budget = one("flask-deployment-v7", "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert deployment("v7")["spec"]["replicas"] > budget["maxUnavailable"]


def test_envoy_forwards_requests_to_gunicorn() -> None:
    (cluster,) = envoy()["static_resources"]["clusters"]
    ((endpoint,),) = (each["lb_endpoints"] for each in cluster["load_assignment"]["endpoints"])
    assert socket(endpoint["endpoint"]["address"]) == ("127.0.0.1", Settings().port)


def test_envoy_listens_on_both_ip_families() -> None:
    address = envoy_listener()["address"]
    assert socket(address)[0] == "::"
    assert address["socket_address"]["ipv4_compat"] is True
    # start-envoy replaces this text on a kernel without IPv6.
    assert (K8S / "envoy" / "envoy.yaml").read_text().count('"::"') == 1


def test_envoy_admin_is_local_to_the_pod_and_announces_the_close() -> None:
    host, port = socket(envoy()["admin"]["address"])
    assert host == "127.0.0.1"
    assert f"/dev/tcp/{host}/{port}" in (K8S / "envoy" / "announce-close").read_text()
    for rung in ("v6", "v6-plain"):
        assert container(rung, "envoy")["lifecycle"]["preStop"]["exec"]["command"] == ["announce-close"]


def test_envoy_neither_retries_nor_logs_requests() -> None:
    config = (K8S / "envoy" / "envoy.yaml").read_text()
    assert not re.search("retry_policy:|access_log:", config)
    assert "upgrade_type: websocket" in config


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "k8s/envoy/Dockerfile"])
def test_images_run_as_a_numeric_user_other_than_root(dockerfile: str) -> None:
    users = re.findall("^USER (.*)$", (ROOT / dockerfile).read_text(), re.M)
    assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", users[-1])
