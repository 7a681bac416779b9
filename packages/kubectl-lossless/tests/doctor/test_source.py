"""Sources of the objects."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from doctor.helpers import CASES, base, container, dump, load, parse
from kubectl_lossless.doctor.__main__ import main
from kubectl_lossless.doctor.checks import examine
from kubectl_lossless.doctor.source import Selection, SourceError, Wanted, from_cluster, from_files, wanted
from kubectl_lossless.kubectl import Kubectl

BASE = (CASES / "00-base.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["deploy/web"], [Wanted("Deployment", "web")]),
        (["Deployment/web"], [Wanted("Deployment", "web")]),
        (["deployments.apps/web", "sts/db"], [Wanted("Deployment", "web"), Wanted("StatefulSet", "db")]),
        (["deploy", "web", "api"], [Wanted("Deployment", "web"), Wanted("Deployment", "api")]),
        (["rollout.argoproj.io/web"], [Wanted("Rollout", "web")]),
        (["ds"], [Wanted("DaemonSet")]),
        (["dc/web"], [Wanted("DeploymentConfig", "web")]),
        (["web"], [Wanted(name="web")]),
        ([], []),
    ],
)
def test_names_are_read_as_by_kubectl(words: list[str], expected: list[Wanted]) -> None:
    assert wanted(words) == expected


@pytest.mark.parametrize(("word", "says"), [("svc/web", "names the kind 'svc'"), ("deploy/", "has no name")])
def test_unknown_name_is_refused(word: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        wanted([word])


def named(name: str) -> str:
    objects = base()
    objects[0]["metadata"]["name"] = name
    return dump(objects[:1])


def test_files_and_folders_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(named("a"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yml").write_text(named("b"))
    (tmp_path / "deep" / "values.yaml").write_text("replicas: 3\n")
    (tmp_path / "deep" / "README.md").write_text("# not a manifest")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.yaml").write_text(named("c"))
    (tmp_path / "d.json").write_text(json.dumps(parse(named("d"))[0]))
    loaded = from_files(Selection(files=[str(tmp_path)]), io.BytesIO())
    assert sorted(each.metadata_name for each in loaded.workloads) == ["a", "b", "d"]
    assert [Path(each.file).name for each in loaded.skipped] == ["values.yaml"]
    both = from_files(Selection(files=[str(tmp_path / "a.yaml"), "-"]), io.BytesIO(named("e").encode()))
    assert sorted(each.metadata_name for each in both.workloads) == ["a", "e"]


def test_objects_of_several_files_know_each_other(tmp_path: Path) -> None:
    objects = base()
    for number, each in enumerate(objects):
        (tmp_path / f"{number}.yaml").write_text(dump([each]))
    (workload,) = from_files(Selection(files=[str(tmp_path)]), io.BytesIO()).workloads
    assert [each.name for each in (*workload.services, *workload.budgets)] == [
        "Service web",
        "PodDisruptionBudget web",
    ]


def test_file_that_is_not_there_is_refused() -> None:
    (refused,) = from_files(Selection(files=["nowhere.yaml"]), io.BytesIO()).refused
    assert str(refused) == "nowhere.yaml cannot be read: No such file or directory"


def test_address_is_refused_with_the_command_to_check_its_content() -> None:
    (refused,) = from_files(Selection(files=["https://shop.test/web.yaml"]), io.BytesIO()).refused
    assert str(refused).startswith("https://shop.test/web.yaml is an address, no file: `curl -sL ADDRESS |")


def test_folder_without_manifests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no \.yaml or \.yml or \.json file"):
        from_files(Selection(files=[str(tmp_path)]), io.BytesIO())


def test_single_workload_of_many_is_chosen() -> None:
    text = named("a") + "---\n" + named("b")
    (chosen,) = load(text, words=["deploy/b"]).workloads
    assert chosen.metadata_name == "b"
    with pytest.raises(
        SourceError, match=r"There is no Deployment c in stdin\. There is: Deployment a; Deployment b\."
    ):
        load(text, words=["deploy/c"])


def test_namespace_is_that_of_objects_without_one() -> None:
    objects = base()
    for each in objects:
        del each["metadata"]["namespace"]
    (workload,) = load(dump(objects), namespace="shop").workloads
    assert workload.namespace == "shop"
    assert len(workload.services) == 1
    with pytest.raises(SourceError, match="in the namespace shop"):
        load(BASE, namespace="shop")


def test_skipped_objects_are_named_with_their_lines() -> None:
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {}}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [],
    }
    loaded = load(BASE + "---\n" + dump([cron, kustomization, {"replicas": 3}]))
    assert [each.name for each in loaded.skipped] == [
        "Kustomization without a name",
        "A document",
        "CronJob nightly",
    ]
    assert all(each.line for each in loaded.skipped)
    assert len(loaded.workloads) == 1
    assert not loaded.refused


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- op: replace\n  path: /spec/replicas\n  value: 3\n", "A JSON patch is for kustomize"),
        (
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: web}\n",
            "Kustomization web is not checked: its objects are made in the cluster",
        ),
        (
            "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: web}\n",
            "HelmChart web is not checked: its objects are made in the cluster",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
            "spec: {template: {spec: {containers: [{name: proxy, image: p:1}, {name: web, args: [-x]}]}}}\n",
            "Deployment web is not whole",
        ),
    ],
)
def test_wrapper_is_left_out_in_a_sentence(text: str, says: str) -> None:
    loaded = load(f"{BASE}---\n{text}")
    assert not loaded.refused
    (skipped,) = loaded.skipped
    assert f"{skipped.name} {skipped.reason}".startswith(says)
    with pytest.raises(SourceError, match=says):
        load(text)


def test_input_without_a_workload_names_the_kinds_found() -> None:
    with pytest.raises(SourceError, match=r"There is: Service web\.$"):
        load(dump(base()[1:2]))


def test_items_of_lists_are_checked() -> None:
    (deployment, *_) = base()
    del deployment["kind"], deployment["apiVersion"]  # as in the API server's own lists
    deployments = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [deployment]}
    everything = {"apiVersion": "v1", "kind": "List", "items": base()[1:]}
    (workload,) = load(dump([deployments, everything])).workloads
    assert (workload.name, len(workload.services)) == ("Deployment web", 1)
    assert workload.document.group == "apps"


def test_workload_of_another_api_group_is_named() -> None:
    (deployment, *_) = base()
    deployment.update(apiVersion="apps.kruise.io/v1beta1", kind="StatefulSet")
    with pytest.raises(SourceError, match=r"its API group is apps\.kruise\.io; known is apps"):
        load(dump([deployment]))
    (skipped,) = load(
        dump([deployment, *(each | {"metadata": {"name": "b"}} for each in base()[:1])])
    ).skipped
    assert skipped.name == "StatefulSet web"


def test_rollout_has_the_pods_of_its_workload_ref() -> None:
    (workload,) = load((CASES / "k03-workload-ref.yaml").read_text()).workloads
    assert (workload.kind, workload.app.name) == ("Rollout", "web")
    alone = parse((CASES / "k03-workload-ref.yaml").read_text())[-1:]
    with pytest.raises(SourceError, match="web, which its workloadRef names, is not there"):
        load(dump(alone))


# ---- programs -------------------------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is the only one on PATH for kubectl, kustomize and docker."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def program(folder: Path, name: str, text: str) -> None:
    # Without site and json, Python starts in half the time; a cluster is read with dozens of calls.
    (folder / name).write_text(f"#!{sys.executable} -IS\nimport sys\nwords = sys.argv[1:]\n{text}")
    (folder / name).chmod(0o755)


def test_kustomization_is_built(programs: Path, tmp_path: Path) -> None:
    program(programs, "kubectl", f"assert words == ['kustomize', 'overlay']\nprint({BASE!r})")
    (workload,) = from_files(Selection(kustomize="overlay"), io.BytesIO()).workloads
    assert workload.document.file == "kustomize overlay"


def test_kustomize_is_asked_where_there_is_no_kubectl(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(programs))
    program(programs, "kustomize", f"assert words == ['build', 'overlay']\nprint({BASE!r})")
    assert from_files(Selection(kustomize="overlay"), io.BytesIO()).workloads


def test_error_of_kustomize_is_passed_on(programs: Path) -> None:
    program(programs, "kubectl", "sys.exit('no such base')")
    with pytest.raises(SourceError, match="with kustomize: `kubectl kustomize o` said: no such base"):
        from_files(Selection(kustomize="o"), io.BytesIO())


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


def test_images_are_asked_of_docker(
    programs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    objects = base()
    del container(objects)["command"]
    (tmp_path / "web.yaml").write_text(dump(objects))
    config = {"Entrypoint": ["/bin/sh", "-c", "migrate; gunicorn shop.wsgi"], "Cmd": None, "Env": ["A=1"]}
    program(programs, "docker", f"print({json.dumps(config)!r})")
    assert main(["-f", str(tmp_path / "web.yaml"), "--docker"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "PID 1 of web stays a shell: migrate; gunicorn shop.wsgi" in said
    assert '"migrate; exec gunicorn shop.wsgi", where the image has the script' in said


def test_image_that_docker_does_not_have_is_said(
    programs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "web.yaml").write_text(BASE)
    program(programs, "docker", "sys.exit('no such image')")
    assert main(["-f", str(tmp_path / "web.yaml"), "--docker"]) == 2
    said = capsys.readouterr()
    assert "docker does not have registry.test/web:1 (`docker pull` it)" in said.err
    assert "Deployment web in demo" in said.out


def test_kind_in_the_wrong_case_is_refused_with_the_right_one() -> None:
    text = dump(base()).replace("kind: Deployment", "kind: deployment")
    (refused,) = load(text).refused
    assert str(refused) == "stdin:2: deployment web is of no known kind: 'deployment' is written 'Deployment'"


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


def test_misspelt_kind_is_refused_with_the_likely_one() -> None:
    text = dump(base()).replace("kind: Deployment", "kind: Deploymnet")
    (refused,) = load(text).refused
    assert str(refused) == (
        "stdin:2: Deploymnet web is of no known kind: 'Deploymnet'; is 'Deployment' meant?"
    )


def test_api_version_that_is_no_text_is_refused() -> None:
    (refused,) = load(dump(base()).replace("apiVersion: apps/v1", "apiVersion: 1")).refused
    assert "apiVersion is 1; allowed is text" in str(refused)
