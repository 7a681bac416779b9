"""The list of checks, and what an annotation leaves out."""

from __future__ import annotations

from doctor.all_kinds import ALL, manifest
from doctor.helpers import ADVICE, UNKNOWN, base, brief, dump, findings, load
from doctor.kinds import THREADS, command, no_hook
from doctor.kinds_of_servers import ADMIN, NO_PROBES, second, second_service
from kubectl_lossless.doctor.checks import CHECKS, NAMES, Result, examine, reason


def examined(annotation: str, on: int = 0, name: str = "") -> Result:
    objects = manifest(name) if name else base()
    objects[on]["metadata"]["annotations"] = {"lossless.dev/ignore": annotation}
    (workload,) = load(dump(objects)).workloads
    return examine(workload)


def test_every_check_has_a_reason_and_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(CHECKS)
    assert all(reason(each) for each in CHECKS)


def test_annotation_leaves_out_checks_with_their_reasons() -> None:
    found = examined("drain: our proxy retries: always\nspread: one node")
    assert found.findings == ()
    assert {each.finding.check: each.reason for each in found.ignored} == {
        "drain": "our proxy retries: always",
        "spread": "one node",
    }


def test_lines_may_be_separated_by_semicolons() -> None:
    assert len(examined("drain: a; spread: b").ignored) == 2


def test_annotation_without_a_reason_leaves_out_nothing() -> None:
    found = examined("drain\nspread:\nno-such-check: because")
    assert brief(found.findings) == {(ADVICE, "drain"), (ADVICE, "spread"), (ADVICE, "ignore")}
    assert [each.what for each in found.findings if each.check == "ignore"] == [
        "lossless.dev/ignore has no effect for 'drain': it gives no reason.",
        "lossless.dev/ignore has no effect for 'spread': it gives no reason.",
        "lossless.dev/ignore has no effect for 'no-such-check': there is no such check.",
    ]


def test_annotation_of_another_object_leaves_out_the_findings_in_that_object() -> None:
    name = "externalTrafficPolicy Local"
    assert "external-traffic-policy" in {check for _, check in ALL[name][1]}
    found = examined("external-traffic-policy: one node only; drain: x", on=1, name=name)
    assert [each.finding.check for each in found.ignored] == ["external-traffic-policy"]
    assert (ADVICE, "drain") in brief(found.findings)


def test_finding_has_the_file_and_line_of_its_object() -> None:
    (workload,) = load(dump(manifest("externalTrafficPolicy Local"))).workloads
    (found,) = (each for each in examine(workload).findings if each.check == "external-traffic-policy")
    text = dump(manifest("externalTrafficPolicy Local")).splitlines()
    assert found.object == "Service web"
    assert found.line is not None
    assert text[found.line - 1].strip() == "externalTrafficPolicy: Local"


def test_findings_name_their_server() -> None:
    twice = (command(*THREADS), no_hook, second(command=[*THREADS], lifecycle=None), second_service())
    found = [each for each in findings(dump(base(*twice))) if each.check == "drain"]
    assert [(each.what[:23], each.path[4]) for each in found] == [
        ("web: Gunicorn stops lis", 0),
        ("admin: Gunicorn stops l", 1),
    ]
    alone = [each for each in findings(dump(base(command(*THREADS), no_hook))) if each.check == "drain"]
    assert [each.what[:18] for each in alone] == ["Gunicorn stops lis"]


def test_servers_of_a_pod_get_one_grace_period() -> None:
    longer = [*THREADS[:-1], "70"]
    objects = base(command(*THREADS), no_hook, second(command=longer, lifecycle=None), second_service())
    changes = [change for each in findings(dump(objects)) for change in each.changes]
    assert {each.value for each in changes if each.path[-1] == "terminationGracePeriodSeconds"} == {88}


def test_server_that_cannot_be_told_is_named_as_not_checked() -> None:
    objects = base(second(ports=None, lifecycle=None, **NO_PROBES), second_service(ADMIN))
    found = [each for each in findings(dump(objects)) if each.severity is UNKNOWN]
    assert [(each.check, each.object, each.what) for each in found] == [
        (
            "target-port",
            "Service admin",
            "Whether admin serves at port 9000; what it does at SIGTERM is not checked.",
        )
    ]
