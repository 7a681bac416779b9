"""Files, folders, standard input and kustomize."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from doctor.helpers import CASES, base, dump, load, parse
from doctor.source.programs import program
from kubectl_lossless.doctor.source.files import from_files
from kubectl_lossless.doctor.source.loaded import SourceError
from kubectl_lossless.doctor.source.selection import Selection

BASE = (CASES / "00-base.yaml").read_text()


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
