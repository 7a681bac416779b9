"""`python -m doctor` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.manifests.manifests import K8S, ROOT, objects

RUNG = str(K8S / "flask-deployment-{}.yaml")


def doctor(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "doctor", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(("rung", "status"), [("v1", 1), ("v4", 1), ("v5", 0), ("v6", 0), ("v7", 0)])
def test_exit_status_tells_whether_something_loses_requests(rung: str, status: int) -> None:
    done = doctor("-f", RUNG.format(rung), "-f", str(K8S / "service.yaml"))
    assert (done.returncode, done.stderr) == (status, "")
    assert ("nothing found" in done.stdout) == (rung == "v7")


def test_strict_counts_advice_too() -> None:
    done = doctor("-f", RUNG.format("v5"), "--strict")
    assert done.returncode == 1
    assert "disruption-budget" in done.stdout


def test_each_finding_says_what_why_and_the_line() -> None:
    done = doctor("-f", RUNG.format("v2"))
    assert "LOSES REQUESTS\n  drain: The service stops listening at SIGTERM" in done.stdout
    assert '-> spec.template.spec.containers[0].env[DRAIN].value: "on"' in done.stdout
    assert "-> spec.minReadySeconds: 10" in done.stdout


def test_json_has_the_same() -> None:
    done = doctor("-f", "-", "--json", stdin=Path(RUNG.format("v1")).read_text())
    (report,) = json.loads(done.stdout)
    assert (report["namespace"], report["deployment"]) == ("flask-cluster", "flask-deployment")
    assert {each["check"] for each in report["findings"]} >= {"drain", "readiness-probe"}
    assert all(all(each.values()) for each in report["findings"])  # every field says something


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("-f", "nowhere.yaml"), "", "nowhere.yaml cannot be read"),
        (("-f", "-"), "a: [b", "- is not YAML"),
        (("-f", "-"), "a: b", "no Kubernetes object"),
        (("-f", str(K8S / "service.yaml")), "", "There is no Deployment in"),
        (("other", "-f", RUNG.format("v5")), "", "There is no Deployment other in"),
        (("-f", "-"), "{kind: Deployment, metadata: {name: x}, spec: {replicas: 2}}", "is it a patch?"),
    ],
)
def test_what_cannot_be_checked_is_said(arguments: tuple[str, ...], stdin: str, says: str) -> None:
    done = doctor(*arguments, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cannot check: ")
    assert says in done.stderr


def test_without_a_cluster_it_says_what_kubectl_said(tmp_path: Path) -> None:
    done = doctor("deployment/flask-deployment", "-n", "flask-cluster", KUBECONFIG=str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.startswith("cannot check: `kubectl ")


KUBECTL = """#!{python}
import json, sys
rung = [each for each in {objects!r} if each["kind"] == "Deployment"]
words = sys.argv[1:]
if words[0] == "version":
    print(json.dumps({{"serverVersion": {{"gitVersion": "v1.35.4"}}}}))
elif words[1].startswith("deployments"):
    print(json.dumps({{"kind": "List", "items": rung}}))
elif words[1] in ("httproutes", "gateways", "gatewayclasses"):
    sys.exit("error: the server doesn't have a resource type \\"" + words[1] + "\\"")
elif words[1] == "pods":
    pod = {{"metadata": {{"name": "p"}}, "status": {{"phase": "Running"}}}}
    print(json.dumps({{"kind": "List", "items": [pod]}}))
elif words[0] == "exec":
    print("sh\\0-c\\0gunicorn app; true\\0", end="")
else:
    sys.exit("Error from server (Forbidden): " + words[1] + " is forbidden: User may not list it")
"""


def test_what_the_cluster_does_not_show_is_said(tmp_path: Path) -> None:
    """A kubectl of a person who may see Deployments and look into pods, and nothing else."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable, objects=objects("flask-deployment-v5")))
    kubectl.chmod(0o755)
    done = doctor("-n", "flask-cluster", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1, done.stderr
    assert "not looked at, because kubectl is not shown them: services, poddisruptionbudgets," in done.stdout
    assert "httproutes" not in done.stdout  # it has none
    assert "disruption-budget" not in done.stdout
    assert "shell-entrypoint: PID 1 of flask is a shell: gunicorn app; true" in done.stdout


def test_a_wrong_option_is_refused() -> None:
    done = doctor("-f", RUNG.format("v5"), "--drain-max", "soon")
    assert done.returncode == 2
    assert "'soon'; allowed are seconds" in done.stderr


def test_the_page_lists_every_check_with_its_reason() -> None:
    from doctor.checks import CHECKS, name, reason

    page = (ROOT / "docs" / "doctor.md").read_text()
    rows = [f"| `{name(each)}` | {reason(each)} |" for each in CHECKS]
    _, _, section = page.partition("## The checks\n")
    listed = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert listed == rows, "\n" + "\n".join(rows)
