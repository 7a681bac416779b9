"""Services that lead to the pods. More of these checks: doctor/kinds.py and doctor/test_cases.py."""

from __future__ import annotations

from doctor.helpers import ADVICE, LOSES, base, brief, dump, findings
from doctor.kinds import added, command


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
