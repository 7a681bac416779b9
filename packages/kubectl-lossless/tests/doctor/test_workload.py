"""A workload and what stands around it."""

from __future__ import annotations

import pytest

from doctor.helpers import base, container, dump, only
from doctor.kinds import (
    NGINX,
    Change,
    added,
    before,
    beside,
    command,
    env,
    of_container,
    target_port,
    without_service,
)
from doctor.kinds_of_servers import ADMIN, ENVOY, NO_PROBES, REDIS, second, second_port, second_service
from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.workload import Image, Neighbours, Observed, Workload, selects


def test_server_is_where_the_service_leads() -> None:
    found = only(dump(base(before(name="reload", ports=[{"containerPort": 9200}]))))
    assert (found.app.name, found.way_in and found.way_in.name) == ("web", "web")


def test_server_is_behind_the_proxy_that_the_service_leads_to() -> None:
    found = only(dump(base(before(**NGINX), target_port("web"))))
    assert (found.app.name, found.way_in and found.way_in.name) == ("web", "nginx")


@pytest.mark.parametrize(
    ("changes", "servers", "ways_in"),
    [
        ((second(), second_service()), ["web", "admin"], ["web", "admin"]),
        ((second(), second_port()), ["web", "admin"], ["web", "admin"]),
        ((second(), second_service("admin", "web-metrics")), ["web"], ["web"]),
        ((second(name="exporter"), second_service()), ["web"], ["web"]),
        ((beside(**ENVOY), target_port("edge"), second()), ["web"], ["edge"]),
        (
            (beside(**ENVOY), target_port("edge"), second(command=["uvicorn", "a:b"])),
            ["admin"],
            ["edge"],
        ),
        ((beside(**NGINX), second_service("web")), ["web"], ["web", "nginx"]),
        ((beside(**REDIS), second_service("redis")), ["web"], ["web", "redis"]),
    ],
)
def test_servers_of_a_pod_are_where_the_services_lead(
    changes: tuple[Change, ...], servers: list[str], ways_in: list[str]
) -> None:
    found = only(dump(base(*changes)))
    assert [each.name for each in found.servers] == servers
    assert [each.name for each in found.ways_in] == ways_in
    assert [each.app.name for each in found.of_servers] == servers


def test_container_that_may_serve_at_a_port_is_not_judged() -> None:
    found = only(dump(base(second(ports=None, **NO_PROBES), second_service(ADMIN))))
    assert [each.name for each in found.servers] == ["web"]
    assert [each.name for each in found.not_judged] == ["admin"]
    assert only(dump(base(second(), second_service()))).not_judged == []


def test_nginx_is_the_server_beside_helpers() -> None:
    found = only(dump(base(of_container(name="nginx", image="nginx:1.29"), beside(name="fluent-bit"))))
    assert (found.app.name, found.server.name) == ("nginx", "")  # its command is another
    assert [each.helper for each in found.plain] == [False, True]


def test_exporter_is_no_proxy() -> None:
    found = only(dump(base(beside(name="e", image="nginx/nginx-prometheus-exporter:1"))))
    assert [each.proxy for each in found.plain] == [False, False]


def test_workload_without_port_and_service_serves_nothing() -> None:
    objects = base(without_service, of_container(ports=[]))
    for each in ("readinessProbe", "livenessProbe", "startupProbe"):
        del container(objects)[each]
    assert not only(dump(objects)).serves
    assert only(dump(base(without_service))).serves
    assert not only(dump(base(without_service, command("celery", "worker")))).serves


def test_arguments_are_expanded_as_by_kubernetes() -> None:
    found = only(dump(base(command("x", "$(A)", "$(B)"), env(A="1"))))
    assert list(found.app.start.words) == ["x", "1", "$(B)"]


def test_environment_includes_config_maps() -> None:
    maps = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "demo"},
        "data": {"A": "1"},
    }
    objects = [*base(of_container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "m"}}])), maps]
    assert only(dump(objects)).app.environment == {"P_A": "1"}


def test_image_provides_the_command_that_the_manifest_leaves_out() -> None:
    objects = base()
    del container(objects)["command"]
    found = only(dump(objects))
    seen = Workload(
        found.document, found.others, images={"registry.test/web:1": Image(["gunicorn"], ["app"])}
    )
    assert (found.server.name, seen.server.name) == ("", "Gunicorn")


@pytest.mark.parametrize("title", [["gunicorn: master [app]"], ["/pause"]])
def test_manifest_has_precedence_over_the_title_of_pid_1(title: list[str]) -> None:
    found = only(dump(base(command("gunicorn", "app"))))
    assert Workload(found.document, found.others, observed={"web": Observed(title)}).server.name == "Gunicorn"


def test_replicas_are_the_autoscalers_minimum() -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = {"scaleTargetRef": target, "minReplicas": 5, "maxReplicas": 9}
    assert only(dump(base(added("autoscaling/v2", "HorizontalPodAutoscaler", "web", scaler)))).replicas == 5


def test_neighbours_are_those_of_the_namespace() -> None:
    objects = base()
    objects[1]["metadata"]["namespace"] = "other"
    assert only(dump(objects)).services == []
    document = Document(objects[1])
    around = Neighbours([document])
    assert around.everywhere("Service") == [document]
    assert around.named("Service web", "other") is document
    assert around.named("Service web", "demo") is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
    ],
)
def test_selector_is_that_of_kubernetes(expression: dict[str, object], expected: bool) -> None:
    assert selects({"matchLabels": {"a": "1"}, "matchExpressions": [expression]}, {"a": "1"}) is expected
