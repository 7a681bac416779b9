"""The workloads among the objects, and what is left out."""

from __future__ import annotations

import pytest

from doctor.helpers import CASES, base, dump, load, parse
from kubectl_lossless.doctor.source.loaded import SourceError

BASE = (CASES / "00-base.yaml").read_text()


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


def test_kind_in_the_wrong_case_is_refused_with_the_right_one() -> None:
    text = dump(base()).replace("kind: Deployment", "kind: deployment")
    (refused,) = load(text).refused
    assert str(refused) == "stdin:2: deployment web is of no known kind: 'deployment' is written 'Deployment'"


def test_misspelt_kind_is_refused_with_the_likely_one() -> None:
    text = dump(base()).replace("kind: Deployment", "kind: Deploymnet")
    (refused,) = load(text).refused
    assert str(refused) == (
        "stdin:2: Deploymnet web is of no known kind: 'Deploymnet'; is 'Deployment' meant?"
    )


def test_api_version_that_is_no_text_is_refused() -> None:
    (refused,) = load(dump(base()).replace("apiVersion: apps/v1", "apiVersion: 1")).refused
    assert "apiVersion is 1; allowed is text" in str(refused)
