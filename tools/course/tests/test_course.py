"""Experiments of the course, and its goals."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kubectl_lossless.measure.load import Failure, Kind, Response, Result
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report import Report
from tools.course.course import ENOUGH, PARTS, REPLICAS, STRATEGIES, WITHOUT_PACE, goals, onto_itself, parts
from tools.course.experiment import Experiment
from tools.course.load import LONG_MIX, mix_from_text
from tools.course.published import published
from tools.course.stage import MANIFESTS, Rung, StageError, bare, deployment_of

BASE = Experiment(Rung("", image="registry/flask:9"), Rung(""))


def report(source: str, target: str, lost: int = 0, title: str = "", seconds: float = 10.0) -> Report:
    load = Result("http://service", {"new": 1}, started=0, ended=200)
    load.responses = [Response(1, "new", 1, source, "p")] * (ENOUGH - lost)
    load.failures = [Failure(1, "new", 1, Kind.RESET, "", kept=False)] * lost
    old = Pod("old", source, "1", states=[(0, State.READY), (100 + seconds, State.GONE)])
    return Report(
        title=title or f"{source} → {target}",
        source=source,
        target=target,
        zero=100,
        complete=105,
        problem=None,
        where="",
        kubernetes="",
        load=load,
        pods=[old],
        old=["old"],
    )


def test_course_rolls_every_rung_and_compares_v3_with_v5() -> None:
    transitions, rungs, pace, long, replicas = parts(BASE, PARTS)
    assert [each.name for each in transitions.experiments] == [f"v{n} → v{n + 1}" for n in range(1, 7)]
    assert [each.name for each in rungs.experiments] == [*(f"v{n} → v{n}" for n in range(1, 8)), WITHOUT_PACE]
    assert all(each.source != each.destination for part in (rungs, pace, long) for each in part.experiments)
    assert [each.source.name for each in long.experiments] == ["v5", "v6", "v7"]
    assert all(set(LONG_MIX) <= set(each.clients) for each in long.experiments)
    assert [each.destination.strategy for each in pace.experiments] == list(STRATEGIES)
    sizes = [(each.source.name, each.source.replicas, each.source.strategy) for each in replicas.experiments]
    assert sizes[:-2] == [(name, size, None) for name in ("v3", "v5") for size in REPLICAS]
    assert sizes[-2:] == [("v5", 6, "2/0"), ("v5", 12, "3/0")]
    assert len({each.name for each in replicas.experiments}) == len(sizes)
    for part in (transitions, rungs, pace, long, replicas):
        assert {each.source.image for each in part.experiments} == {"registry/flask:9"}
        assert {each.destination.image for each in part.experiments} == {"registry/flask:9"}
    assert [part.name for part in parts(BASE, ["long"])] == ["long"]


def test_losses_count_from_v3_on_and_are_expected_before() -> None:
    found = goals([("transitions", report("v1", "v2", 20)), ("transitions", report("v2", "v3", 5))])
    assert found == []
    (goal,) = goals([("transitions", report("v3", "v4"))])
    assert goal.held
    (goal,) = goals([("transitions", report("v3", "v4", lost=1))])
    assert not goal.held


def test_recreate_must_be_an_outage() -> None:
    for lost, held in ((0, False), (100, True)):
        (goal,) = goals([("pace", report("v5", "v5", lost=lost, title="v5 → v5, Recreate"))])
        assert goal.held is held


def test_goal_needs_enough_requests() -> None:
    few = report("v4", "v5")
    few.load.responses = few.load.responses[: ENOUGH - 1]
    (goal,) = goals([("transitions", few)])
    assert not goal.held
    assert "of at least 10,000" in goal.sentence


def test_update_that_does_not_complete_fails_the_course_on_any_rung() -> None:
    assert any(not goal.held for goal in goals([("rungs", replace(report("v1", "v1"), problem="stuck"))]))


@pytest.mark.parametrize(("seconds", "held"), [(9.0, True), (9.1, False)])
def test_v5_is_measured_against_v3(seconds: float, held: bool) -> None:
    both = [
        ("rungs", report("v3", "v3", seconds=20)),
        ("rungs", report("v5", "v5", title=WITHOUT_PACE, seconds=seconds)),
    ]
    assert goals(both)[-1].held is held


def test_rung_is_changed_only_as_requested() -> None:
    def manifest() -> list[dict[str, object]]:
        env = [{"name": "DRAIN", "value": "on"}, {"name": "APP_VERSION", "value": "v5"}]
        containers = [{"name": "envoy", "image": "e"}, {"name": "flask", "image": "f", "env": env}]
        spec = {"minReadySeconds": 10, "template": {"spec": {"containers": containers}}}
        return [{"kind": "Service"}, {"kind": "Deployment", "spec": spec}]

    assert Rung("v5").changed(manifest()) == manifest()
    rung = onto_itself(Rung("v5", image="new:1", min_ready_seconds=0, replicas=6))
    spec = deployment_of(rung.changed(manifest()), "")["spec"]
    assert spec["replicas"] == 6
    assert spec["minReadySeconds"] == 0
    assert "strategy" not in spec
    envoy, flask = spec["template"]["spec"]["containers"]
    assert envoy == {"name": "envoy", "image": "e"}
    assert flask["image"] == "new:1"
    assert flask["env"] == [{"name": "DRAIN", "value": "on"}, {"name": "APP_VERSION", "value": "v5-new"}]


@pytest.mark.parametrize("name", ["v6", "v6-plain"])
def test_image_of_the_sidecar_is_that_of_the_option(name: str) -> None:
    def images(rung: Rung) -> dict[str, str]:
        objects = list(yaml.safe_load_all(rung.path(MANIFESTS).read_text()))
        pod = deployment_of(rung.changed(objects), name)["spec"]["template"]["spec"]
        return {each["name"]: each["image"] for each in (*pod.get("initContainers", ()), *pod["containers"])}

    assert images(Rung(name, envoy_image="envoy:1")) == images(Rung(name)) | {"envoy": "envoy:1"}


def test_every_update_of_the_course_has_the_images_of_the_options() -> None:
    base = replace(BASE, source=replace(BASE.source, envoy_image="envoy:1"))
    for part in parts(base, PARTS):
        for each in part.experiments:
            for rung in (each.source, each.destination):
                assert (rung.image, rung.envoy_image) == ("registry/flask:9", "envoy:1")


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("Recreate", {"type": "Recreate"}),
        ("1/0", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
    ],
)
def test_rung_is_rolled_by_another_strategy(text: str, strategy: dict[str, object]) -> None:
    manifest: list[dict[str, object]] = [{"kind": "Deployment", "spec": {"template": {}}}]
    assert deployment_of(Rung("v5", strategy=text).changed(manifest), "")["spec"]["strategy"] == strategy


def test_missing_rung_is_named_with_the_existing_rungs(tmp_path: Path) -> None:
    (tmp_path / "flask-deployment-v1.yaml").touch()
    assert Rung("v1").path(tmp_path) == tmp_path / "flask-deployment-v1.yaml"
    with pytest.raises(StageError, match=r"flask-deployment-v9\.yaml\. Rungs in .*: v1; or give"):
        Rung("v9").path(tmp_path)


def test_manifest_must_hold_one_deployment() -> None:
    with pytest.raises(StageError, match="must hold one Deployment, it holds 0"):
        Rung("some.yaml").changed([{"kind": "Service"}])


def test_restored_object_has_no_field_that_the_cluster_sets() -> None:
    found = {
        "kind": "Service",
        "metadata": {"name": "s", "uid": "1", "resourceVersion": "2", "labels": {"a": "b"}},
        "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "NodePort"},
        "status": {},
    }
    assert bare(found) == {
        "kind": "Service",
        "metadata": {"name": "s", "labels": {"a": "b"}},
        "spec": {"type": "NodePort"},
    }


def test_published_figures_are_the_figures_of_the_reports() -> None:
    known = published()
    assert known.updates == {("v1", "v2"): (29, 25), ("v2", "v3"): (7, 32), ("v3", "v4"): (0, 30)}
    assert "training course" in known.source


@pytest.mark.parametrize("text", ["", "new", "new=x", "new=0", "old=3", "new=-1"])
def test_malformed_mix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write KIND=NUMBER"):
        mix_from_text(text)
