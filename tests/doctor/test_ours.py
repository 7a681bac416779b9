"""The course's own Deployments, and each check by the one change to v7 that it is for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from doctor.checks import CHECKS, examine, name
from doctor.finding import Finding, Severity
from doctor.subject import Object, Subject
from tests.manifests.manifests import RUNGS, objects

BUDGET = (Severity.ADVICE, "disruption-budget")
"""Only v7, the rung for production, brings one."""

DRAIN = (Severity.RISKS, "drain")
PACE = (Severity.RISKS, "min-ready-seconds")

# What each rung leaves to the ones after it.
LEFT = {
    "v1": {(Severity.LOSES, "drain"), (Severity.LOSES, "readiness-probe"), PACE, BUDGET},
    "v2": {(Severity.LOSES, "drain"), PACE, BUDGET},
    "v3": {DRAIN, PACE, BUDGET},
    "v4": {DRAIN, BUDGET},
    "v5": {BUDGET},
    "v6": {BUDGET},
    "v6-plain": {(Severity.LOSES, "plain-sidecar"), BUDGET},
    "v7": set(),
}


def subject(rung: str) -> Subject:
    around = [*objects(f"flask-deployment-{rung}"), *objects("service")]
    (deployment,) = (each for each in around if each["kind"] == "Deployment")
    return Subject(deployment, around)


def brief(findings: list[Finding]) -> set[tuple[Severity, str]]:
    return {(each.severity, each.check) for each in findings}


@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_leaves_what_the_later_ones_are_for(rung: str) -> None:
    assert brief(examine(subject(rung))) == LEFT[rung]


# ---- each check ----------------------------------------------------------------------------------------

Change = Callable[[Object, dict[str, Object]], None]


def slow_readiness(flask: Object, around: dict[str, Object]) -> None:
    flask["readinessProbe"]["failureThreshold"] = 6
    around["Deployment"]["spec"]["minReadySeconds"] = 20


def at(path: str, value: Any) -> Change:
    """Set a field of the pod's one container, of the Deployment (`/...`) or of another kind (`Kind/...`)."""

    def change(flask: Object, around: dict[str, Object]) -> None:
        kind, _, rest = path.rpartition("/")
        where = around[kind or "Deployment"] if "/" in path else flask
        *keys, last = rest.split(".")
        for key in keys:
            where = where[int(key)] if isinstance(where, list) else where.setdefault(key, {})
        if value is None:
            del where[last]
        else:
            where[last] = value

    return change


def env(**values: str) -> Change:
    def change(flask: Object, around: dict[str, Object]) -> None:
        flask["env"] = [
            *(each for each in flask["env"] if each["name"] not in values),
            *({"name": name, "value": value} for name, value in values.items()),
        ]

    return change


def liveness_as_readiness(flask: Object, around: dict[str, Object]) -> None:
    flask["livenessProbe"]["httpGet"] = flask["readinessProbe"]["httpGet"]


def plain_proxy(image: str) -> Change:
    return lambda flask, around: around["Deployment"]["spec"]["template"]["spec"]["containers"].append(
        {"name": "beside", "image": image}
    )


def ingress(class_name: str) -> Change:
    backend = {"service": {"name": "flask-service", "port": {"name": "http"}}}
    made = {
        "kind": "Ingress",
        "metadata": {"name": "flask", "namespace": "flask-cluster"},
        "spec": {"ingressClassName": class_name, "defaultBackend": backend},
    }
    return lambda flask, around: around.__setitem__("Ingress", made)


def both(*changes: Change) -> Change:
    def change(flask: Object, around: dict[str, Object]) -> None:
        for each in changes:
            each(flask, around)

    return change


LOSES, RISKS, ADVICE, UNKNOWN = Severity
CHANGES: list[tuple[str, Change, Severity, str]] = [
    ("settings", env(DRAIN_MAX="soon"), LOSES, "DRAIN_MAX is 'soon'"),
    ("settings", env(DRAIN_MAXX="20"), ADVICE, "DRAIN_MAXX is not a setting"),
    ("drain", env(DRAIN="off"), LOSES, "stops listening at SIGTERM"),
    ("drain", both(env(DRAIN="off"), at("lifecycle", {"preStop": {"sleep": {"seconds": 5}}})), RISKS, "puts"),
    ("prestop-on-top", at("lifecycle", {"preStop": {"sleep": {"seconds": 5}}}), ADVICE, "preStop of 5 s"),
    ("grace-period", env(DRAIN_MAX="25"), RISKS, "drain 25 s + graceful timeout 65 s + 2 s margin is 92 s"),
    ("grace-period", at("/spec.template.spec.terminationGracePeriodSeconds", 82), RISKS, "killed after 82 s"),
    ("shell-entrypoint", at("command", ["sh", "-c", "x=1; gunicorn"]), LOSES, "stays a shell: x=1; gunicorn"),
    ("shell-entrypoint", at("command", ["tini", "--", "bash", "-lc", "a | b"]), LOSES, "a shell: a | b"),
    ("shell-entrypoint", at("command", ["/bin/sh", "-c", "gunicorn app"]), ADVICE, "may be a shell"),
    ("shell-entrypoint", at("command", ["/srv/start.sh"]), UNKNOWN, "ends with exec"),
    ("plain-sidecar", plain_proxy("envoyproxy/envoy:v1.39.0"), RISKS, "beside is a plain container"),
    ("readiness-probe", at("readinessProbe", None), LOSES, "No readiness probe"),
    ("readiness-patience", at("readinessProbe.timeoutSeconds", None), ADVICE, "after 1 s"),
    ("readiness-patience", slow_readiness, ADVICE, "12 s"),
    ("liveness-equals-readiness", liveness_as_readiness, RISKS, "asks the same"),
    ("liveness-patience", at("livenessProbe.timeoutSeconds", 1), RISKS, "more than 1 s"),
    ("liveness-patience", at("livenessProbe.periodSeconds", 3), RISKS, "killed after 9 s"),
    ("slow-start", both(at("startupProbe", None), at("livenessProbe.periodSeconds", 5)), RISKS, "than 15 s"),
    ("replicas", at("HorizontalPodAutoscaler/spec.minReplicas", 1), RISKS, "One replica"),
    ("strategy", at("/spec.strategy", {"type": "Recreate"}), LOSES, "stops every pod"),
    ("strategy", at("/spec.strategy.rollingUpdate", {"maxSurge": 0, "maxUnavailable": 1}), ADVICE, "1 of 3"),
    ("strategy", at("/spec.strategy.rollingUpdate.maxUnavailable", "100%"), LOSES, "3 of 3"),
    ("min-ready-seconds", at("/spec.minReadySeconds", None), RISKS, "minReadySeconds is 0"),
    ("progress-deadline", at("/spec.progressDeadlineSeconds", 40), ADVICE, "a pod may take 40 s"),
    ("disruption-budget", at("PodDisruptionBudget/spec.maxUnavailable", 0), ADVICE, "0 of 3"),
    ("disruption-budget", at("PodDisruptionBudget/spec.maxUnavailable", "100%"), RISKS, "3 of 3"),
    ("disruption-budget", at("PodDisruptionBudget/spec.selector.matchLabels.app", "other"), ADVICE, "No Pod"),
    ("service-selector", at("Service/spec.selector.tier", "web"), LOSES, "{tier: web} is not among"),
    ("target-port", at("Service/spec.ports.0.targetPort", "web"), LOSES, "targetPort web"),
    ("target-port", at("Service/spec.ports.0.targetPort", 80), RISKS, "targetPort 80"),
    ("unready-addresses", at("Service/spec.publishNotReadyAddresses", True), LOSES, "not ready"),
    ("external-traffic-policy", at("Service/spec.externalTrafficPolicy", "Local"), RISKS, "only pod leaves"),
    ("host-port", at("ports.0.hostPort", 80), RISKS, "takes port 80"),
    ("host-port", at("/spec.template.spec.hostNetwork", True), RISKS, "network of their nodes"),
    ("keepalive", env(KEEPALIVE="5"), RISKS, "after 5 s"),
    ("keepalive", ingress("contour"), RISKS, "Contour keeps an idle connection to a pod for 3600 s"),
    ("keepalive", ingress("home-made"), UNKNOWN, "not one of the known"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "change", "severity", "says"), CHANGES)
def test_a_change_is_found_and_nothing_else(
    check: str, change: Change, severity: Severity, says: str
) -> None:
    around = {each["kind"]: copy.deepcopy(each) for each in subject("v7").others}
    (flask,) = around["Deployment"]["spec"]["template"]["spec"]["containers"]
    change(flask, around)
    found = examine(Subject(around["Deployment"], list(around.values())))
    assert [(each.severity, each.check) for each in found] == [(severity, check)]
    assert says.lower() in found[0].what.lower()


@pytest.mark.parametrize("class_name", ["nginx", "alb", "kong"])
def test_the_default_keepalive_is_longer_than_common_ingresses(class_name: str) -> None:
    found = subject("v7")
    around: dict[str, Object] = {}
    ingress(class_name)({}, around)
    assert examine(Subject(found.deployment, [*found.others, around["Ingress"]])) == []


def test_every_check_has_a_change() -> None:
    foreign = {"max-requests"}  # not a setting of this service; tests/doctor/test_foreign.py
    assert {check for check, *_ in CHANGES} == {name(each) for each in CHECKS} - foreign
