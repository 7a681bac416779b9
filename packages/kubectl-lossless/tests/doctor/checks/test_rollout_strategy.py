"""Replacement of pods. More of these checks: doctor/kinds.py and doctor/test_cases.py."""

from __future__ import annotations

import pytest

from doctor.helpers import ADVICE, LOSES, RISKS, base, brief, dump, findings, of
from doctor.kinds import added, kind, of_container, of_pod, spec
from doctor.kinds_of_neighbours import no_replicas, of_http


def test_suggested_seconds_stay_below_the_deadline() -> None:
    probe = {"httpGet": {"path": "/a", "port": "http"}, "periodSeconds": 60, "timeoutSeconds": 2}
    found = findings(dump(base(of_container(readinessProbe=probe), spec(minReadySeconds=0))))
    (seconds,) = (each for each in found if each.check == "min-ready-seconds")
    assert (seconds.severity, seconds.changes) == (ADVICE, ())


def test_scaled_to_zero_has_no_pace() -> None:
    found = findings(dump(base(spec(replicas=0, strategy={"type": "Recreate"}))))
    assert not {each.check for each in found} & {"strategy", "replicas", "disruption-budget", "spread"}


def test_budget_that_allows_nothing_and_one_that_allows_all() -> None:
    objects = base()
    objects[2]["spec"]["maxUnavailable"] = 0
    assert (ADVICE, "disruption-budget") in brief(findings(dump(objects)))
    objects[2]["spec"]["maxUnavailable"] = "100%"
    assert (RISKS, "disruption-budget") in brief(findings(dump(objects)))


def test_two_budgets_of_the_same_pods_are_reported_with_their_names() -> None:
    objects = base()
    objects.append({**objects[2], "metadata": {"name": "web-2", "namespace": "demo"}})
    found = [each for each in findings(dump(objects)) if each.check == "disruption-budget"]
    assert [each.what for each in found] == ["2 PodDisruptionBudgets select its pods: web, web-2."]


@pytest.mark.parametrize("name", ["StatefulSet", "DaemonSet"])
def test_kinds_without_a_surge_are_not_judged_by_a_surge(name: str) -> None:
    objects = base(kind(name, "strategy"), spec(updateStrategy={"rollingUpdate": {"maxUnavailable": 1}}))
    assert "strategy" not in {each.check for each in findings(dump(objects))}


def test_rollout_is_judged_by_its_canary() -> None:
    def rollout(objects: list[dict[str, object]]) -> None:
        objects[0].update(apiVersion="argoproj.io/v1alpha1", kind="Rollout")

    pace = {"canary": {"maxSurge": 0, "maxUnavailable": "100%"}}
    assert (LOSES, "strategy") in brief(findings(dump(base(rollout, spec(strategy=pace)))))
    blue_green = {"blueGreen": {"activeService": "web"}}
    assert "strategy" not in {each.check for each in findings(dump(base(rollout, spec(strategy=blue_green))))}


def test_vertical_autoscaler_may_evict_one_of_several() -> None:
    target = {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}
    scaler = added("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "web", target)
    assert "vertical-autoscaler" not in {each.check for each in findings(dump(base(scaler)))}
    assert (RISKS, "vertical-autoscaler") in brief(findings(dump(base(scaler, spec(replicas=1)))))


@pytest.mark.parametrize(
    "line",
    [
        "python manage.py migrate --noinput",
        "php artisan migrate --force",
        "npx prisma migrate deploy",
        "bundle exec rails db:prepare",
        "alembic -c a.ini upgrade head",
        "airflow db migrate",
        "bin/console doctrine:migrations:migrate -n",
        "npx typeorm migration:run",
        "/usr/bin/migrate -path /m -database x up",
        "goose -dir m postgres x up",
        "mix ecto.migrate",
        "dotnet ef database update",
        "diesel migration run",
        "liquibase --url=x update",
    ],
)
def test_migration_at_the_start_is_found(line: str) -> None:
    migrate = {"name": "migrate", "image": "registry.test/web:1", "command": line.split()}
    assert (ADVICE, "migrations") in brief(findings(dump(base(of_pod(initContainers=[migrate])))))


def test_migration_by_the_image_of_a_tool_is_found() -> None:
    migrate = {"name": "migrate", "image": "flyway/flyway:11", "args": ["migrate"]}
    assert (ADVICE, "migrations") in brief(findings(dump(base(of_pod(initContainers=[migrate])))))


@pytest.mark.parametrize(
    "line", ["python manage.py runserver", "bring up", "migrate-check", "alembic current"]
)
def test_other_command_is_no_migration(line: str) -> None:
    other = {"name": "other", "image": "registry.test/web:1", "command": line.split()}
    assert "migrations" not in {each.check for each in findings(dump(base(of_pod(initContainers=[other]))))}


def test_minimum_of_an_http_scaled_object_is_where_its_remedy_is() -> None:
    objects = base(no_replicas, of_http(min=1, max=9))
    one = of("replicas", findings(dump(objects)))
    assert (one.object, one.changes[0].path) == ("HTTPScaledObject web", ("spec", "replicas", "min"))
    none = of("scale-to-zero", findings(dump(base(no_replicas, of_http()))))
    assert (none.severity, none.changes[0].path) == (ADVICE, ("spec", "replicas", "min"))
    assert "interceptor" in none.why


def test_maximum_of_an_autoscaler_is_raised_with_its_minimum() -> None:
    scaler = {"scaleTargetRef": {"name": "web"}, "minReplicaCount": 0, "maxReplicaCount": 1}
    found = findings(dump(base(no_replicas, added("keda.sh/v1alpha1", "ScaledObject", "web", scaler))))
    assert [(each.path, each.value) for each in of("scale-to-zero", found).changes] == [
        (("spec", "minReplicaCount"), 2),
        (("spec", "maxReplicaCount"), 2),
    ]
