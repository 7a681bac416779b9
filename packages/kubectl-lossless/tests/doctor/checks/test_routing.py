"""The route of a request into the pod. More of these checks: doctor/kinds.py and doctor/test_cases.py."""

from __future__ import annotations

from doctor.helpers import ADVICE, LOSES, RISKS, UNKNOWN, base, brief, dump, findings, only
from doctor.kinds import THREADS, added, command, ingress, of_container
from kubectl_lossless.doctor.checks.routing import routes_to


def test_service_that_misses_the_pods_by_a_label_loses() -> None:
    objects = base()
    objects[1]["spec"]["selector"]["tier"] = "web"
    (found,) = (each for each in findings(dump(objects)) if each.check == "service-selector")
    assert (found.severity, found.object, found.changes) == (LOSES, "Service web", ())


def test_service_of_other_pods_is_none_of_this_workload() -> None:
    metadata = {"labels": {"app": "web", "tier": "x"}}
    template = {"metadata": metadata, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    for kind, spec in (
        ("Job", {"template": template}),
        ("CronJob", {"jobTemplate": {"spec": {"template": template}}}),
    ):
        service = added(
            "v1", "Service", "other", {"selector": {"app": "web", "tier": "x"}, "ports": [{"port": 80}]}
        )
        found = findings(dump(base(service, added("batch/v1", kind, "x", spec))))
        assert "service-selector" not in {each.check for each in found}


def test_routes_are_those_that_lead_to_the_workload() -> None:
    assert routes_to(only(dump(base(ingress("web", {"number": 80}))))) == 1
    assert routes_to(only(dump(base(ingress("other", {"number": 80}))))) == 0


def test_keepalive_is_compared_with_the_controller_in_front() -> None:
    changes = (
        command(*THREADS[:4], "--keep-alive", "50", "--graceful-timeout", "20"),
        ingress("web", {"number": 80}),
    )
    (found,) = (each for each in findings(dump(base(*changes))) if each.check == "keepalive")
    assert (found.severity, found.changes[0].value) == (RISKS, "75")
    assert (
        found.what
        == "ingress-nginx keeps an idle connection to a pod for 60 s, the server closes it after 50 s."
    )


def test_controller_by_its_class_and_by_the_default_class() -> None:
    objects = base(command(*THREADS), ingress("web", {"number": 80}))
    del objects[-1]["spec"]["ingressClassName"]
    assert (UNKNOWN, "keepalive") in brief(findings(dump(objects)))
    default = {"ingressclass.kubernetes.io/is-default-class": "true"}
    classes = added(
        "networking.k8s.io/v1", "IngressClass", "x", {"controller": "k8s.io/ingress-nginx"}, default
    )
    assert "keepalive" not in {each.check for each in findings(dump([*objects, *base(classes)[-1:]]))}


def test_gateway_of_istio_is_not_one_of_the_gateway_api() -> None:
    route = {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}
    istio = added("networking.istio.io/v1", "Gateway", "g", {"selector": {"istio": "ingress"}})
    http_route = added("gateway.networking.k8s.io/v1", "HTTPRoute", "r", route)
    found = findings(dump(base(command(*THREADS), istio, http_route)))
    assert (UNKNOWN, "keepalive") in brief(found)


def test_service_that_injects_a_servers_setting() -> None:
    service = added("v1", "Service", "uvicorn", {"selector": {"app": "x"}, "ports": [{"port": 80}]})
    changes = (command("uvicorn", "shop:app"), service)
    assert (LOSES, "service-links") in brief(findings(dump(base(*changes))))
    off = base(*changes)
    off[0]["spec"]["template"]["spec"]["enableServiceLinks"] = False
    assert "service-links" not in {each.check for each in findings(dump(off))}


def test_unready_addresses_are_for_peers() -> None:
    objects = base()
    objects[1]["spec"]["publishNotReadyAddresses"] = True
    assert (LOSES, "unready-addresses") in brief(findings(dump(objects)))
    objects[0]["kind"] = "StatefulSet"
    objects[1]["spec"]["clusterIP"] = "None"
    assert (ADVICE, "unready-addresses") in brief(findings(dump(objects)))


def test_host_port_and_host_network_hold_new_pods_back() -> None:
    port = [{"name": "http", "containerPort": 8000, "hostPort": 80}]
    assert (RISKS, "host-port") in brief(findings(dump(base(of_container(ports=port)))))
    objects = base()
    objects[0]["spec"]["template"]["spec"]["hostNetwork"] = True
    assert (RISKS, "host-port") in brief(findings(dump(objects)))
