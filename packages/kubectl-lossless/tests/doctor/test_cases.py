"""Manifests of which each once misled the doctor, with what is right for them."""

from __future__ import annotations

import pytest

from doctor.helpers import ADVICE, CASES, LOSES, RISKS, UNKNOWN, brief, findings
from kubectl_lossless.doctor.__main__ import main
from kubectl_lossless.doctor.finding import Severity

# Exit status and findings. 00-base is the manifest that the others change.
EXPECTED: dict[str, tuple[int, dict[Severity, set[str]]]] = {
    "00-base": (0, {ADVICE: {"drain", "spread"}}),
    "b-08-bomb-merge": (2, {}),
    "b-100-pdb-max-word": (2, {ADVICE: {"drain", "spread"}}),
    "b-101-list-items-null": (0, {ADVICE: {"drain", "spread"}}),
    "b-104-statefulset-no-template": (1, {LOSES: {"service-selector"}, ADVICE: {"drain", "spread"}}),
    "b-110-g-istio-gateway": (0, {ADVICE: {"drain", "spread"}, UNKNOWN: {"keepalive"}}),
    "b-111-g-ingress-no-spec": (0, {ADVICE: {"drain", "spread"}}),
    "b-113-g-httproute-no-spec": (0, {ADVICE: {"drain", "spread"}}),
    "b-117-g-ingressclass-no-spec": (
        1,
        {LOSES: {"refused"}, ADVICE: {"drain", "spread"}, UNKNOWN: {"keepalive"}},
    ),
    "b-15-json-tabs": (0, {ADVICE: {"disruption-budget", "drain", "spread"}}),
    "b-22-helm": (2, {}),
    "b-24-kustomization": (2, {}),
    "b-40-no-metadata": (2, {}),
    "b-42-metadata-null": (2, {}),
    "b-44-template-null": (2, {}),
    "b-45-containers-string": (2, {}),
    "b-47-lifecycle-null": (1, {RISKS: {"drain"}, ADVICE: {"spread"}}),
    "b-49-grace-null": (0, {ADVICE: {"drain", "spread"}}),
    "b-50-minready-null": (0, {ADVICE: {"drain", "min-ready-seconds", "spread"}}),
    "b-54-env-entry-null": (0, {ADVICE: {"drain", "spread"}}),
    "b-56-ports-no-number": (2, {}),
    "b-59-args-numbers": (2, {}),
    "b-62-probe-null-values": (0, {ADVICE: {"drain", "min-ready-seconds", "readiness-patience", "spread"}}),
    "b-64-maxunavailable-float": (2, {}),
    "b-65-maxunavailable-word": (2, {}),
    "b-68-prestop-sleep-null": (1, {LOSES: {"refused"}, RISKS: {"drain"}, ADVICE: {"spread"}}),
    "b-70-envsubst": (2, {}),
    "b-71-labels-null": (1, {LOSES: {"selector"}, ADVICE: {"disruption-budget", "drain", "spread"}}),
    "b-77-gunicorn-cmd-args-quote": (1, {LOSES: {"settings"}, ADVICE: {"drain", "spread"}}),
    "b-84-sleep-dots": (1, {LOSES: {"prestop"}, ADVICE: {"spread"}}),
    "b-90-service-no-spec": (0, {ADVICE: {"drain", "spread"}}),
    "b-92-hpa-no-target": (2, {ADVICE: {"drain", "spread"}}),
    "b-96-pdb-no-spec": (0, {ADVICE: {"drain", "spread"}}),
    "b-97-pdb-expression-unknown": (2, {ADVICE: {"drain", "spread"}}),
    "c02-nginx-and-log-shipper": (0, {ADVICE: {"drain", "spread"}}),
    "c04-istio-injected": (1, {RISKS: {"injected-proxy"}, ADVICE: {"drain", "spread"}}),
    "c05-reloader-first": (0, {ADVICE: {"drain", "spread"}}),
    "h02-prestop-1s": (1, {LOSES: {"prestop"}, ADVICE: {"spread"}}),
    "h04-prestop-kill": (1, {LOSES: {"prestop"}, ADVICE: {"spread"}}),
    "h05-prestop-quoted": (1, {LOSES: {"prestop"}, ADVICE: {"spread"}}),
    "h07-prestop-httpget": (1, {LOSES: {"prestop"}, ADVICE: {"spread"}}),
    "h09-prestop-python": (0, {ADVICE: {"spread"}}),
    "h10-prestop-longer-than-grace": (1, {LOSES: {"grace-period"}, ADVICE: {"spread"}}),
    "h12-prestop-curl-sleep": (0, {ADVICE: {"spread"}}),
    "h14-grace-five": (1, {RISKS: {"drain", "grace-period"}, ADVICE: {"spread"}}),
    "h15-sync-with-prestop": (0, {ADVICE: {"spread"}}),
    "h17-remedies-applied": (1, {RISKS: {"grace-period"}, ADVICE: {"drain", "spread"}}),
    "k02-rollout": (0, {ADVICE: {"drain", "spread"}}),
    "k03-workload-ref": (1, {RISKS: {"replicas"}, ADVICE: {"drain", "min-ready-seconds"}}),
    "k05-patch-beside": (0, {ADVICE: {"drain", "spread"}}),
    "k07-podtemplate": (0, {ADVICE: {"disruption-budget", "drain", "spread"}}),
    "k08-patch-with-containers": (2, {}),
    "n02-probe-port-number": (1, {RISKS: {"probe-port"}, ADVICE: {"drain", "spread"}}),
    "n04-old-ingress": (1, {RISKS: {"keepalive"}, ADVICE: {"drain", "ingress-api", "spread"}}),
    "n05-ingress-no-service": (1, {RISKS: {"ingress-backend"}, ADVICE: {"drain", "spread"}}),
    "n07-cpu-limit": (1, {RISKS: {"cpu-limit"}, ADVICE: {"drain", "spread"}}),
    "n09-affinity": (0, {ADVICE: {"drain", "spread"}}),
    "n10-initial-delay": (0, {ADVICE: {"drain", "readiness-delay", "spread"}}),
    "n12-poststart": (0, {ADVICE: {"drain", "spread"}}),
    "n14-tcp-probes": (0, {ADVICE: {"drain", "spread"}}),
    "n15-internal-traffic-policy": (1, {RISKS: {"external-traffic-policy"}, ADVICE: {"drain", "spread"}}),
    "n17-vpa": (1, {RISKS: {"replicas", "vertical-autoscaler"}, ADVICE: {"drain"}}),
    "n19-service-of-a-rollout": (
        1,
        {
            LOSES: {"readiness-probe", "refused"},
            RISKS: {"drain", "replicas"},
            ADVICE: {"drain", "min-ready-seconds", "spread"},
        },
    ),
    "n20-target-port-null": (0, {ADVICE: {"drain", "spread"}}),
    "n22-target-port-undeclared": (0, {ADVICE: {"drain", "spread", "target-port"}}),
    "p01-uvicorn": (1, {LOSES: {"drain"}, RISKS: {"keepalive"}, ADVICE: {"spread"}}),
    "p02-uwsgi": (1, {LOSES: {"sigterm-ignored"}, RISKS: {"in-flight"}, ADVICE: {"spread"}}),
    "p04-runserver": (1, {LOSES: {"sigterm-ignored"}, ADVICE: {"spread"}}),
    "p06-npm": (1, {LOSES: {"wrapper"}, ADVICE: {"drain", "spread"}}),
    "p07-gunicorn-reload": (1, {RISKS: {"reload"}, ADVICE: {"spread"}}),
    "p09-poetry": (0, {ADVICE: {"spread"}}),
    "p11-gunicorn-timeout-short": (0, {ADVICE: {"spread"}}),
    "r01-replicas-zero": (0, {ADVICE: {"drain"}}),
    "r03-min-ready-too-long": (0, {ADVICE: {"drain", "min-ready-seconds", "readiness-patience", "spread"}}),
    "r05-keda": (1, {RISKS: {"replicas-and-autoscaler", "scale-to-zero"}, ADVICE: {"drain"}}),
    "r06-default-min-ready": (0, {ADVICE: {"drain", "min-ready-seconds", "spread"}}),
    "s02-exec-redirect": (0, {ADVICE: {"spread"}}),
    "s04-exec-in-if": (0, {ADVICE: {"spread"}}),
    "s05-trap-wait": (0, {ADVICE: {"spread"}}),
    "s07-remedy-true": (1, {LOSES: {"shell-entrypoint"}, ADVICE: {"spread"}}),
    "s09-remedy-background": (1, {LOSES: {"shell-entrypoint"}, ADVICE: {"spread"}}),
    "s10-env-shell": (0, {ADVICE: {"spread"}}),
    "s12-nproc": (0, {ADVICE: {"spread"}}),
    "s14-pip-install": (1, {RISKS: {"grace-period"}, ADVICE: {"drain", "spread"}}),
    "s15-pip-only": (1, {RISKS: {"keepalive"}, ADVICE: {"drain", "spread"}}),
    "s17-loop-sidecar": (0, {ADVICE: {"drain", "shell-entrypoint", "spread"}}),
    "s19-dumb-init-script": (0, {ADVICE: {"drain", "spread"}, UNKNOWN: {"shell-entrypoint"}}),
    "s20-bash-last-of-several": (0, {ADVICE: {"spread"}}),
    "s22-remedy-assignment": (0, {ADVICE: {"drain", "spread"}}),
    "s24-cloud-run-line": (0, {ADVICE: {"drain", "spread"}}),
    "w01-celery": (0, {}),
    "w03-mysql": (0, {ADVICE: {"readiness-probe", "replicas", "strategy"}}),
}

FILES = {each.stem: each for each in sorted(CASES.iterdir())}

REFUSED = {
    "b-08-bomb-merge": "expands to more than 1,000,000 values through its aliases",
    "b-100-pdb-max-word": "spec.maxUnavailable is 'many'; allowed is a whole number",
    "b-22-helm": "is a Helm template that has not been rendered: `helm template CHART | kubectl lossless",
    "b-24-kustomization": "is for kustomize: check its output with -k FOLDER",
    "b-40-no-metadata": "Deployment without a name cannot be checked: metadata is missing",
    "b-42-metadata-null": "Deployment without a name cannot be checked: metadata is missing",
    "b-44-template-null": "Deployment web is not whole (no image, or no pod template): is it a patch?",
    "b-45-containers-string": ":22: Deployment web cannot be checked: spec.template.spec.containers is",
    "b-56-ports-no-number": "spec.template.spec.containers[0].ports[0].containerPort is missing",
    "b-59-args-numbers": "containers[0].command[3] is 3; allowed is text: put it in quotes",
    "b-64-maxunavailable-float": "maxUnavailable is '12.5%'; allowed is a whole number or a whole percentage",
    "b-65-maxunavailable-word": "maxUnavailable is 'one'; allowed is a whole number or a whole percentage",
    "b-70-envsubst": "spec.replicas is '${REPLICAS:-3}'; allowed is a whole number from 0 to 2147483647",
    "b-92-hpa-no-target": "HorizontalPodAutoscaler x cannot be checked: spec.scaleTargetRef is missing",
    "b-97-pdb-expression-unknown": "operator is 'Gt'; allowed is one of In, NotIn, Exists, DoesNotExist",
    "k08-patch-with-containers": "Deployment web is not whole (no image, or no pod template): is it a patch?",
}
"""Messages about the cases that cannot be checked."""


def test_every_case_has_an_expectation() -> None:
    assert EXPECTED.keys() == FILES.keys()
    assert {name for name, (status, _) in EXPECTED.items() if status == 2} == REFUSED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - REFUSED.keys()))
def test_case_has_its_findings(name: str) -> None:
    found = brief(findings(FILES[name].read_text()))
    assert found == {(severity, check) for severity, names in EXPECTED[name][1].items() for check in names}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_exit_status_of_a_case(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-f", str(FILES[name])]) == EXPECTED[name][0]
    said = capsys.readouterr().err
    assert REFUSED[name] in said if name in REFUSED else not said
