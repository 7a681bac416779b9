"""Objects of a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doctor.helpers import base, container
from doctor.source.programs import program
from kubectl_lossless.doctor.__main__ import main
from kubectl_lossless.doctor.checks import examine
from kubectl_lossless.doctor.source.cluster import from_cluster
from kubectl_lossless.doctor.source.loaded import SourceError
from kubectl_lossless.doctor.source.selection import Selection
from kubectl_lossless.kubectl import Kubectl

KUBECTL = """
def print_json(value):
    import json
    print(json.dumps(value))
null, true, false = None, True, False
objects = {objects}
of = {{"deployments.apps": "Deployment", "services": "Service"}}
if words[0] == "version":
    print_json({{"serverVersion": {{"gitVersion": "v1.35.4"}}}})
elif words[0] == "config":
    print("demo", end="")
elif words[0] == "exec":
    print("sh\\0-c\\0gunicorn app; true\\0", end="")
elif words[1] == "pods":
    pod = {{"metadata": {{"name": "p"}}, "status": {{"phase": "Running"}}}}
    print_json({{"kind": "List", "items": [pod]}})
elif words[1] in of:
    print_json({{"kind": "List", "items": [each for each in objects if each["kind"] == of[words[1]]]}})
elif "argoproj" in words[1] or "gateway" in words[1]:
    sys.exit("error: the server doesn't have a resource type \\"" + words[1] + "\\"")
else:
    sys.exit("Error from server (Forbidden): " + words[1] + " is forbidden: User may not list it")
"""


def hidden_shell() -> str:
    """Return the base whose image starts the server, and another workload."""
    objects = base()
    del container(objects)["command"]
    other = base()[0]
    other["metadata"]["name"] = "other"
    return json.dumps([*objects, other])


def test_cluster_is_read_as_far_as_the_user_may(programs: Path) -> None:
    """A kubectl of a person who may see Deployments and Services, look into pods, and nothing else."""
    program(programs, "kubectl", KUBECTL.format(objects=hidden_shell()))
    (workload,) = from_cluster(Selection(words=["deploy/web"]), Kubectl()).workloads
    assert workload.from_cluster
    assert len(workload.services) == 1
    assert "poddisruptionbudgets" in workload.unseen
    assert "rollouts" not in workload.unseen  # it has none
    assert workload.observed["web"].process == ["sh", "-c", "gunicorn app; true"]


def test_missing_workload_is_reported_with_those_of_the_cluster(programs: Path) -> None:
    program(programs, "kubectl", KUBECTL.format(objects=hidden_shell()))
    with pytest.raises(
        SourceError, match=r"no Deployment x in the namespace demo\. Workloads there: Deploym"
    ):
        from_cluster(Selection(words=["deploy/x"]), Kubectl())


def test_report_of_a_cluster_names_unseen_kinds(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(programs, "kubectl", KUBECTL.format(objects=hidden_shell()))
    assert main(["deploy/web", "-n", "demo"]) == 1
    said = capsys.readouterr().out
    assert (
        "not checked, because kubectl may not read them: statefulsets, daemonsets, deploymentconfigs" in said
    )
    assert "disruption-budget" not in said
    assert "shell-entrypoint: PID 1 of web stays a shell: gunicorn app; true" in said


def test_kind_that_may_not_be_listed_is_said(programs: Path) -> None:
    program(programs, "kubectl", KUBECTL.format(objects=hidden_shell()))
    with pytest.raises(SourceError, match=r"statefulsets\.apps is forbidden"):
        from_cluster(Selection(words=["sts/db"]), Kubectl())


def test_cluster_that_does_not_respond_is_said(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(programs, "kubectl", "sys.exit('The connection to the server was refused')")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("cannot check: `kubectl ")


RUNNING = """
title, files, readiness = {seen!r}
if words[0] == "exec" and words[-1] == "/proc/1/cmdline":
    print(title, end="")
elif words[0] == "exec":
    print(files[words[-1]], end="") if words[-1] in files else sys.exit("cat: no such file")
elif words[:2] == ["get", "--raw"]:
    print(readiness, end="") if readiness else sys.exit("Error from server (Forbidden): pods/proxy")
else:
"""

INSTALLS = (
    "import gunicorn_drain\ngraceful_timeout = 10\ngunicorn_drain.install(globals(), readiness='/ready')\n"
)

READY = '{"state": "ready", "drain": {"min": 2.0, "quiet": 1.0, "max": 9.0}}\n'


def running(title: str, files: dict[str, str], readiness: str, objects: str) -> str:
    """Return a kubectl whose one pod has this PID 1, these files and this response to its readiness probe."""
    other = KUBECTL.format(objects=objects).replace("\n", "\n    ")
    return RUNNING.format(seen=(title, files, readiness)) + other


@pytest.mark.parametrize(
    ("title", "files", "readiness", "maximum"),
    [
        ("tini\0--\0gunicorn\0-c\0conf/prod.py\0app\0", {"/proc/1/cwd/conf/prod.py": INSTALLS}, "", 15),
        ("gunicorn\0app\0", {"/proc/1/cwd/gunicorn.conf.py": INSTALLS}, "", 15),
        ("sh\0/srv/start.sh\0", {}, READY, 9),
        ("gunicorn\0-c\0/srv/conf.py\0app\0", {}, READY, 9),
        ("gunicorn\0app\0", {"/proc/1/cwd/gunicorn.conf.py": "threads = 4\n"}, "", 0),
        ("gunicorn\0--threads\x004\0app\0", {}, "", 0),
    ],
    ids=["config of PID 1", "default config", "readiness alone", "readiness", "no drain", "nothing seen"],
)
def test_drain_is_recognized_in_a_running_pod(
    programs: Path, title: str, files: dict[str, str], readiness: str, maximum: float
) -> None:
    program(programs, "kubectl", running(title, files, readiness, hidden_shell()))
    (workload,) = from_cluster(Selection(words=["deploy/web"]), Kubectl()).workloads
    assert workload.server.drain == maximum
    drains = [each for each in examine(workload).findings if each.check == "drain"]
    assert bool(drains) == (maximum == 0)
