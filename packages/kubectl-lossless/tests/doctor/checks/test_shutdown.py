"""Termination of a pod. More of these checks: doctor/kinds.py and doctor/test_cases.py."""

from __future__ import annotations

from doctor.helpers import ADVICE, LOSES, RISKS, UNKNOWN, base, brief, container, dump, findings, only
from doctor.kinds import GUNICORN, THREADS, before, command, env, grace, hook, no_hook, script
from kubectl_lossless.doctor.checks import examine
from kubectl_lossless.doctor.finding import Finding
from kubectl_lossless.doctor.workload import Observed, Overrides, Workload


def of(check: str, found: list[Finding]) -> Finding:
    (one,) = (each for each in found if each.check == check)
    return one


def test_suggested_grace_period_includes_the_suggested_hook() -> None:
    found = findings(dump(base(command(*THREADS), no_hook, grace(30))))
    (hook_change, grace_change) = of("drain", found).changes
    assert hook_change.value == {"sleep": {"seconds": 15}}
    assert grace_change.value == 15 + 20 + 2 + 1


def test_drain_that_the_user_knows_of_needs_no_hook() -> None:
    text = dump(base(no_hook))
    assert (RISKS, "drain") in brief(findings(text))
    told = findings(text, Overrides(drain=15, graceful=10, keepalive=75))
    assert not {each.check for each in told} & {"drain", "grace-period", "keepalive"}
    short = findings(text, Overrides(drain=50, graceful=20, keepalive=75))
    assert of("grace-period", short).changes[0].value == 73


def test_configuration_file_is_not_known() -> None:
    found = findings(dump(base(command("gunicorn", "-c", "/etc/g.py", "app"), no_hook)))
    unknown = {each.check for each in found if each.severity is UNKNOWN}
    assert unknown == {"drain", "grace-period", "keepalive"}
    assert not of("drain", found).changes


def test_hook_on_top_of_a_drain_is_removed() -> None:
    found = findings(dump(base(env(DRAIN="on", APP_VERSION="v1"))))
    assert of("prestop-on-top", found).severity is ADVICE


def test_remedy_of_a_script_keeps_the_variables_of_kubernetes() -> None:
    objects = base(script("gunicorn app -b :$(PORT) --graceful-timeout 20"), env(PORT="80"))
    (change,) = of("shell-entrypoint", findings(dump(objects))).changes
    assert change.value == "exec gunicorn app -b :$(PORT) --graceful-timeout 20"


def test_remedy_stands_where_the_script_stands() -> None:
    objects = base(command("/usr/bin/env", "sh", "-e", "-c", GUNICORN))
    (change,) = of("shell-entrypoint", findings(dump(objects))).changes
    assert change.path[-2:] == ("command", 4)
    objects = base(script(GUNICORN))
    (change,) = of("shell-entrypoint", findings(dump(objects))).changes
    assert change.path[-2:] == ("args", 0)


def test_two_servers_in_a_script_have_words_for_a_remedy() -> None:
    found = of("shell-entrypoint", findings(dump(base(script(f"{GUNICORN} & nginx -g 'daemon off;'")))))
    assert (found.changes, found.advice[:32]) == ((), "one container for each program, ")


def test_script_in_a_file_is_named_behind_the_init() -> None:
    found = of(
        "shell-entrypoint", findings(dump(base(command("dumb-init", "--", "/srv/entrypoint.sh", "x"))))
    )
    assert (found.severity, found.what) == (UNKNOWN, "Whether /srv/entrypoint.sh in web ends with exec.")


def test_shell_that_was_seen_as_pid_1_stays() -> None:
    seen = only(dump(base()))
    workload = Workload(seen.document, seen.others, observed={"web": Observed(["sh", "/srv/run.sh"])})
    found = of("shell-entrypoint", list(examine(workload).findings))
    assert (found.severity, found.what) == (LOSES, "PID 1 of web is a shell: sh /srv/run.sh")


def test_hook_of_a_proxy_that_cannot_be_read_is_a_risk() -> None:
    proxy = {
        "name": "envoy",
        "image": "envoyproxy/envoy:v1.39.0",
        "ports": [{"name": "in", "containerPort": 80}],
    }
    objects = base(before(**proxy, lifecycle={"preStop": {"exec": {"command": ["announce"]}}}))
    objects[1]["spec"]["ports"][0]["targetPort"] = "in"
    assert of("plain-sidecar", findings(dump(objects))).severity is RISKS


def test_endless_hook_is_replaced() -> None:
    found = of("grace-period", findings(dump(base(hook("sleep", "infinity")))))
    assert found.what == "preStop takes for ever; the pod is killed after 60 s."
    assert found.changes[0].value == {"sleep": {"seconds": 15}}


def test_grace_that_was_left_out_is_30_seconds() -> None:
    objects = base(command(*THREADS), hook("sleep", "10"))
    del objects[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    found = of("grace-period", findings(dump(objects)))
    assert (
        found.what
        == "preStop 10 s + graceful timeout 20 s + 2 s margin is 32 s; the pod is killed after 30 s."
    )


def test_option_is_changed_in_place() -> None:
    objects = base(command("gunicorn", "app", "--max-requests=100", "--threads", "2", "--reload"))
    found = findings(dump(objects))
    assert of("max-requests", found).changes[0].value == "--max-requests=0"
    assert of("reload", found).changes[0].path[-1] == 5
    assert [each.value for each in of("keepalive", found).changes] == ["--keep-alive", "75"]
    assert container(objects)["command"][0] == "gunicorn"


def test_stop_signal_needs_a_feature_gate() -> None:
    found = findings(dump(base(lambda objects: container(objects)["lifecycle"].update(stopSignal="SIGQUIT"))))
    assert (UNKNOWN, "stop-signal") in brief(found)
    assert of("stop-signal", found).path[-2:] == ("lifecycle", "stopSignal")
    assert (UNKNOWN, "stop-signal") not in brief(findings(dump(base())))
