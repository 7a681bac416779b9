"""The doctor on the course's Deployments, and each of its checks on the change to v7 that it reports."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import NAMES, Settings
from gunicorn_drain.variables import misspelt
from kubectl_lossless.doctor import own
from kubectl_lossless.doctor.checks import CHECKS, examine, name, reason
from kubectl_lossless.doctor.documents import Document
from kubectl_lossless.doctor.finding import Finding, Severity, shown
from kubectl_lossless.doctor.neighbours import Neighbours
from kubectl_lossless.doctor.workload import Workload
from tests.manifests.manifests import ROOT, RUNGS, Object, objects
from tests.service_links import service_links

LOSES, RISKS, ADVICE, UNKNOWN = Severity

PRODUCTION = {(ADVICE, "disruption-budget"), (ADVICE, "spread")}
"""Findings in all rungs but v7, the rung for production, which has a budget and spreads its pods."""

DRAIN = (ADVICE, "drain")
PACE = (ADVICE, "min-ready-seconds")

# Findings that each rung leaves to the later rungs.
LEFT = {
    "v1": {(LOSES, "drain"), (LOSES, "readiness-probe"), PACE, *PRODUCTION},
    "v2": {(LOSES, "drain"), PACE, *PRODUCTION},
    "v3": {DRAIN, PACE, *PRODUCTION},
    "v4": {DRAIN, *PRODUCTION},
    "v5": PRODUCTION,
    "v6": PRODUCTION,
    "v6-plain": {(RISKS, "plain-sidecar"), *PRODUCTION},
    "v7": set(),
}


def workload_of(around: list[Object]) -> Workload:
    documents = [Document(each) for each in around]
    (found,) = (each for each in documents if each.kind == "Deployment")
    return Workload(found, Neighbours(documents))


def around(rung: str) -> list[Object]:
    return [*objects(f"flask-deployment-{rung}"), *objects("service")]


def examined(found: list[Object]) -> list[Finding]:
    return list(examine(workload_of(found)).findings)


def brief(findings: list[Finding]) -> set[tuple[Severity, str]]:
    return {(each.severity, each.check) for each in findings}


@pytest.mark.parametrize("rung", RUNGS)
def test_rung_has_the_findings_that_later_rungs_resolve(rung: str) -> None:
    assert brief(examined(around(rung))) == LEFT[rung]


def test_replicas_beside_the_autoscaler_are_ignored_with_a_reason() -> None:
    (ignored,) = examine(workload_of(around("v7"))).ignored
    assert ignored.finding.check == "replicas-and-autoscaler"
    assert ignored.reason


# ---- each check ----------------------------------------------------------------------------------------

Change = Callable[[Object, dict[str, Object]], None]


def slow_readiness(flask: Object, around: dict[str, Object]) -> None:
    flask["readinessProbe"]["failureThreshold"] = 6
    around["Deployment"]["spec"]["minReadySeconds"] = 20


def at(path: str, value: Any) -> Change:
    """Return a change of a field of the container, the Deployment (`/...`) or another kind (`Kind/...`)."""

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


PRE_STOP = {"preStop": {"sleep": {"seconds": 5}}}

CHANGES: list[tuple[str, Change, Severity, str]] = [
    ("settings", env(DRAIN_MAX="soon"), LOSES, "DRAIN_MAX is 'soon'"),
    ("settings", env(DRAIN_MAXX="20"), ADVICE, "DRAIN_MAXX is not a setting"),
    ("drain", env(DRAIN="off"), LOSES, "stops listening at SIGTERM"),
    ("drain", both(env(DRAIN="off"), at("lifecycle", PRE_STOP)), ADVICE, "only delays"),
    ("prestop-on-top", at("lifecycle", PRE_STOP), ADVICE, "preStop of 5 s"),
    ("grace-period", env(DRAIN_MAX="25"), RISKS, "drain 25 s + graceful timeout 65 s + 2 s margin is 92 s"),
    ("grace-period", at("/spec.template.spec.terminationGracePeriodSeconds", 82), RISKS, "killed after 82 s"),
    ("shell-entrypoint", at("command", ["sh", "-c", "x=1; gunicorn"]), LOSES, "stays a shell: x=1; gunicorn"),
    ("shell-entrypoint", at("command", ["tini", "--", "bash", "-lc", "a | b"]), LOSES, "a shell: a | b"),
    ("shell-entrypoint", at("command", ["/bin/sh", "-c", "gunicorn app"]), LOSES, "stays a shell"),
    ("shell-entrypoint", at("command", ["/srv/start.sh"]), UNKNOWN, "ends with exec"),
    ("plain-sidecar", plain_proxy("envoyproxy/envoy:v1.39.0"), RISKS, "beside is a plain container"),
    ("readiness-probe", at("readinessProbe", None), RISKS, "No readiness probe"),
    ("readiness-patience", at("readinessProbe.timeoutSeconds", None), ADVICE, "after 1 s"),
    ("readiness-patience", slow_readiness, ADVICE, "12 s"),
    ("liveness-equals-readiness", liveness_as_readiness, ADVICE, "checks the same"),
    ("liveness-patience", at("livenessProbe.timeoutSeconds", 1), RISKS, "more than 1 s"),
    ("liveness-patience", at("livenessProbe.periodSeconds", 3), RISKS, "killed after 9 s"),
    ("slow-start", both(at("startupProbe", None), at("livenessProbe.periodSeconds", 5)), RISKS, "than 15 s"),
    ("replicas", at("HorizontalPodAutoscaler/spec.minReplicas", 1), RISKS, "One replica"),
    ("strategy", at("/spec.strategy", {"type": "Recreate"}), LOSES, "stops every pod"),
    ("strategy", at("/spec.strategy.rollingUpdate", {"maxSurge": 0, "maxUnavailable": 1}), ADVICE, "1 of 3"),
    ("strategy", at("/spec.strategy.rollingUpdate.maxUnavailable", "100%"), LOSES, "3 of 3"),
    ("min-ready-seconds", at("/spec.minReadySeconds", None), ADVICE, "minReadySeconds is 0"),
    ("progress-deadline", at("/spec.progressDeadlineSeconds", 40), ADVICE, "a pod may take 40 s"),
    ("disruption-budget", at("PodDisruptionBudget/spec.maxUnavailable", 0), ADVICE, "0 of 3"),
    ("disruption-budget", at("PodDisruptionBudget/spec.maxUnavailable", "100%"), RISKS, "3 of 3"),
    ("disruption-budget", at("PodDisruptionBudget/spec.selector.matchLabels.app", "other"), ADVICE, "No P"),
    ("service-selector", at("Service/spec.selector.tier", "web"), LOSES, "{tier: web} is not among"),
    ("target-port", at("Service/spec.ports.0.targetPort", "web"), LOSES, "targetPort web"),
    ("target-port", at("Service/spec.ports.0.targetPort", 80), ADVICE, "targetPort 80"),
    ("unready-addresses", at("Service/spec.publishNotReadyAddresses", True), LOSES, "not ready"),
    ("external-traffic-policy", at("Service/spec.externalTrafficPolicy", "Local"), RISKS, "only pod"),
    ("host-port", at("ports.0.hostPort", 80), RISKS, "takes port 80"),
    ("host-port", at("/spec.template.spec.hostNetwork", True), RISKS, "network of their nodes"),
    ("keepalive", env(KEEPALIVE="5"), RISKS, "after 5 s"),
    ("keepalive", ingress("contour"), RISKS, "Contour keeps an idle connection to a pod for 3600 s"),
    ("keepalive", ingress("home-made"), UNKNOWN, "not one of the known"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "change", "severity", "says"), CHANGES)
def test_change_is_the_only_finding(check: str, change: Change, severity: Severity, says: str) -> None:
    kinds = {each["kind"]: copy.deepcopy(each) for each in around("v7")}
    (flask,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    change(flask, kinds)
    found = examined(list(kinds.values()))
    assert [(each.severity, each.check) for each in found] == [(severity, check)]
    assert says.lower() in found[0].what.lower()


@pytest.mark.parametrize("class_name", ["nginx", "alb", "kong"])
def test_default_keepalive_is_longer_than_common_ingresses(class_name: str) -> None:
    kinds: dict[str, Object] = {}
    ingress(class_name)({}, kinds)
    assert examined([*around("v7"), kinds["Ingress"]]) == []


def test_field_of_a_finding_has_the_notation_of_kubectl_explain() -> None:
    (found,) = (each for each in examined(around("v2")) if each.check == "drain")
    (change,) = found.changes
    assert (shown(change.path), change.value) == ("spec.template.spec.containers[0].env[1].value", "on")


def test_settings_of_the_doctor_match_the_service() -> None:
    defaults = Settings()
    for name_, setting in own.SETTINGS.items():
        assert getattr(defaults, name_.lower()) == setting.default
        for value in (setting.low, setting.high):
            Settings.from_environment(
                {name_: f"{value:g}", "DRAIN_MIN": "0"} if name_ != "DRAIN_MIN" else {name_: "0"}
            )
        for value in (setting.low - 1, setting.high + 1):
            with pytest.raises(ValueError, match=name_):
                Settings.from_environment({name_: f"{value:g}"})
    assert set(own.OTHERS) | own.SETTINGS.keys() | set(own.NAMES) <= set(NAMES)


@given(
    st.dictionaries(
        st.from_regex(r"(?i)drain[_-](mi|ma|qui|read|prob)?[a-z_]{0,8}", fullmatch=True),
        st.sampled_from(["1", "", "8080", "tcp://10.43.0.9:80"]),
        max_size=3,
    ),
    st.sampled_from([(), own.OF_PACKAGE]),
    st.sampled_from(["drain", "drain-min", "web"]),
)
def test_misspelt_settings_are_those_that_the_drain_warns_about(
    environment: dict[str, str], more: tuple[str, ...], service: str
) -> None:
    environment |= service_links(service, 80)
    assert list(own.read(environment, more).ignored) == misspelt(environment, (*own.NAMES, *more))


def test_page_lists_every_check_with_its_reason() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    rows = [f"| `{name(each)}` | {reason(each)} |" for each in CHECKS]
    _, _, section = page.partition("## The checks\n")
    listed = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert listed == rows, "\n" + "\n".join(rows)
