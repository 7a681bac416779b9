"""A workload's servers, and what stands around it."""

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
    of_container,
    target_port,
    without_service,
)
from doctor.kinds_of_servers import ADMIN, ENVOY, NO_PROBES, REDIS, second, second_port, second_service


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


def test_workload_without_port_and_service_serves_nothing() -> None:
    objects = base(without_service, of_container(ports=[]))
    for each in ("readinessProbe", "livenessProbe", "startupProbe"):
        del container(objects)[each]
    assert not only(dump(objects)).serves
    assert only(dump(base(without_service))).serves
    assert not only(dump(base(without_service, command("celery", "worker")))).serves


def test_replicas_are_the_autoscalers_minimum() -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = {"scaleTargetRef": target, "minReplicas": 5, "maxReplicas": 9}
    assert only(dump(base(added("autoscaling/v2", "HorizontalPodAutoscaler", "web", scaler)))).replicas == 5
