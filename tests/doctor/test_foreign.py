"""Deployments that are not ours, as charts and tutorials have them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from doctor.checks import examine
from doctor.finding import Severity
from doctor.server import known, stays
from doctor.source import from_files
from doctor.subject import Image, Subject, Told

LOSES, RISKS, ADVICE, UNKNOWN = Severity


def example(name: str, told: Told = Told()) -> Subject:  # noqa: B008 - frozen
    (found,) = from_files([str(Path(__file__).parent / "examples" / f"{name}.yaml")], io.StringIO(), told)
    return found


def test_nginx_in_front_of_django() -> None:
    found = example("helm-nginx-django")
    assert (found.app.name, found.way_in and found.way_in.name) == ("web", "nginx")
    assert sorted((each.severity, each.check, each.path) for each in examine(found)) == sorted([
        (LOSES, "drain", "spec.template.spec.containers[1].lifecycle.preStop"),
        (LOSES, "shell-entrypoint", "spec.template.spec.containers[1].command"),
        (LOSES, "plain-sidecar", "spec.template.spec.containers[0]"),
        (RISKS, "grace-period", "spec.template.spec.terminationGracePeriodSeconds"),
        (RISKS, "liveness-equals-readiness", "spec.template.spec.containers[0].livenessProbe"),
        (RISKS, "liveness-patience", "spec.template.spec.containers[0].livenessProbe.timeoutSeconds"),
        (RISKS, "min-ready-seconds", "spec.minReadySeconds"),
        (ADVICE, "readiness-patience", "spec.template.spec.containers[0].readinessProbe.periodSeconds"),
        (ADVICE, "readiness-patience", "spec.template.spec.containers[0].readinessProbe.timeoutSeconds"),
        (ADVICE, "disruption-budget", "spec.maxUnavailable"),
    ])  # fmt: skip
    (shell,) = (each for each in examine(found) if each.check == "shell-entrypoint")
    assert "&& exec gunicorn shop.wsgi:application" in shell.value
    (grace,) = (each for each in examine(found) if each.check == "grace-period")
    assert "graceful timeout 30 s + 2 s margin is 32 s" in grace.what


def test_a_tutorials() -> None:
    found = {(each.severity, each.check, each.object) for each in examine(example("tutorial"))}
    assert found == {
        (LOSES, "readiness-probe", "Deployment hello"),
        (LOSES, "strategy", "Deployment hello"),
        (LOSES, "service-selector", "Service hello"),
        (RISKS, "drain", "Deployment hello"),
        (RISKS, "replicas", "Deployment hello"),
        (RISKS, "min-ready-seconds", "Deployment hello"),
        (RISKS, "host-port", "Deployment hello"),
    }


def test_gunicorn_with_its_settings_in_arguments_and_a_config_map() -> None:
    found = examine(example("gunicorn-alone"))
    assert {(each.severity, each.check, each.path) for each in found} == {
        (LOSES, "max-requests", "spec.template.spec.containers[2].args"),
        (RISKS, "drain", "spec.template.spec.containers[2]"),
        (RISKS, "grace-period", "spec.template.spec.terminationGracePeriodSeconds"),
        (RISKS, "plain-sidecar", "spec.template.spec.containers[1]"),
        (RISKS, "liveness-patience", "spec.template.spec.containers[2].livenessProbe.failureThreshold"),
        (RISKS, "slow-start", "spec.template.spec.containers[2].startupProbe"),
        (RISKS, "keepalive", "spec.template.spec.containers[2].args"),
        (ADVICE, "strategy", "spec.strategy.rollingUpdate"),
        (ADVICE, "disruption-budget", "PodDisruptionBudget.spec"),
    }
    (grace,) = (each for each in found if each.check == "grace-period")
    assert "preStop 10 s + graceful timeout 40 s + 2 s margin is 52 s" in grace.what
    assert grace.value == "53"


def test_what_the_doctor_cannot_see_it_asks_for() -> None:
    unknown = examine(example("well-kept"))
    assert {(each.severity, each.check) for each in unknown} == {
        (UNKNOWN, "drain"),
        (UNKNOWN, "grace-period"),
        (UNKNOWN, "keepalive"),
    }
    assert all("/etc/gunicorn.py" in each.what for each in unknown)
    assert examine(example("well-kept", Told(drain=15, graceful=20, keepalive=75))) == []
    (found,) = examine(example("well-kept", Told(drain=25, graceful=20, keepalive=75)))
    assert (found.check, found.value) == ("grace-period", "48")


def test_an_image_tells_what_the_manifest_does_not() -> None:
    """With what docker says of it, also the entry point of an image is looked at."""
    subject = example("helm-nginx-django")
    web = subject.deployment["spec"]["template"]["spec"]["containers"][1]
    del web["command"], web["args"]
    shell_form = Image(["/bin/sh", "-c", "exec env gunicorn shop.wsgi -k gthread --keep-alive 90"])
    assert "shell-entrypoint" not in {each.check for each in examine(subject)}
    seen = Subject(subject.deployment, subject.others, images={web["image"]: shell_form})
    assert seen.server.keepalive == 90
    assert "shell-entrypoint" not in {each.check for each in examine(seen)}
    worse = Image(["/bin/sh", "-c"], ["migrate; gunicorn shop.wsgi"])
    seen = Subject(subject.deployment, subject.others, images={web["image"]: worse})
    assert "shell-entrypoint" in {each.check for each in examine(seen)}


def test_the_first_process_that_was_seen_decides() -> None:
    subject = example("well-kept", Told(drain=15, graceful=20, keepalive=75))
    seen = Subject(subject.deployment, subject.others, subject.told, processes={"api": ["sh", "/srv/run.sh"]})
    (found,) = examine(seen)
    assert (found.severity, found.check) == (LOSES, "shell-entrypoint")
    assert "PID 1 of api is a shell" in found.what


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exec gunicorn app", False),
        ("migrate && exec gunicorn app", False),
        ("set -e\nmigrate\nexec gunicorn app\n", False),
        ("gunicorn app", None),
        ("migrate && gunicorn app", True),
        ("gunicorn app; echo over", True),
        ("exec gunicorn app | tee log", True),
        ("PORT=80 gunicorn app", True),
    ],
)
def test_whether_a_shell_stays(script: str, expected: bool | None) -> None:
    assert stays(script) is expected


def test_gunicorns_settings_are_read_as_gunicorn_reads_them() -> None:
    line = ["python", "-m", "gunicorn", "app:app", "-k", "gthread", "--keep-alive", "5"]
    found = known(line, {"GUNICORN_CMD_ARGS": "--keep-alive 9 --graceful-timeout=12"})
    assert (found.keepalive, found.graceful, found.drain) == (5, 12, 0)  # the command line wins
    assert known(["gunicorn", "app:app"], {}).keepalive == 0  # sync closes after each answer
    assert known(["gunicorn", "app:app", "--threads", "4"], {}).keepalive == 2  # which makes it gthread
    assert known(["gunicorn", "--keep-alive", "long"], {}).wrong
    assert known(["gunicorn", "-c", "file.py", "app:app"], {}).keepalive is None
    assert known(["uwsgi"], {}).name == ""
