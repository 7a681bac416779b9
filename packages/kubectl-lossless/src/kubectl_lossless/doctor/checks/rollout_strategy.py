"""Checks of the replacement of pods: order, number, and who else replaces them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubectl_lossless.doctor.checks.probes import failing_after, number
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Severity
from kubectl_lossless.doctor.neighbours import selects
from kubectl_lossless.doctor.workload import Workload
from kubectl_lossless.rolling_update import amount

PROGRESS_DEADLINE = 600
"""Seconds, Kubernetes' default for progressDeadlineSeconds."""

OBSERVATION = 6
"""Seconds that minReadySeconds should be longer than the readiness probe needs to notice a failure."""

LONGEST_MIN_READY = 60
"""Seconds of minReadySeconds beyond which the probe is what should change."""

MIGRATIONS = re.compile(
    r"\b(manage\.py|django-admin|artisan|prisma|phinx|atlas|dbmate|drizzle-kit)\s+(-\S+\s+)*migrate\b"
    r"|\b(alembic|aerich)\s[^;&|]*\bupgrade\b|\b(flask|superset|airflow|ckan)\s+db\s+(upgrade|migrate)\b"
    r"|\bdb:(migrate|prepare)\b|\bknex\s+migrate|\bmigrations?:(migrate|run|up)\b|\becto\.migrate\b"
    r"|\bdotnet\s+ef\s+database\s+update\b|\b(diesel|sqlx)\s+migrat(ion|e)\s+run\b"
    r"|\bflyway\b.*\bmigrate\b|\bliquibase\b.*\bupdate\b|(^|\s|/)(migrate|goose)\s.*\bup\b"
)
"""Command lines that migrate a database's schema."""


def replicas(workload: Workload) -> Iterator[Finding]:
    """With one replica there is none while it is evicted, its node fails or it restarts; and when it
    turns unready to drain, kube-proxy has no other to fall back to.
    """
    if workload.kind == "DaemonSet" or workload.replicas != 1 or workload.shares_services:
        return
    if workload.single_writer:
        yield Finding(
            Severity.ADVICE,
            f"One replica, and a second is not to be had: {workload.single_writer}.",
            "Nobody responds while it is replaced. Its clients have to retry.",
            ("spec", "replicas"),
            advice="clients that retry, or a server that replicates by itself",
        )
        return
    scaler = workload.autoscaler
    deleted_first = workload.kind == "StatefulSet" and workload.strategy.get("type") != "OnDelete"
    path = workload.minimum_path
    yield Finding(
        Severity.LOSES if deleted_first else Severity.RISKS,
        "One replica, which an update of a StatefulSet deletes before it creates the next."
        if deleted_first
        else "One replica.",
        "Nobody responds while it is evicted or restarts, and in its drain the Service has no ready "
        "pod until another one is.",
        path,
        (Change(path, 2 if workload.paused_at is None else "2"), *_higher_maximum(workload)),
        object="" if scaler is None else scaler.name,
    )


def _higher_maximum(workload: Workload) -> tuple[Change, ...]:
    """Return the change without which a minimum of two pods would be above the maximum."""
    return (Change(workload.low_maximum_path, 2),) if workload.low_maximum_path else ()


def scale_to_zero(workload: Workload) -> Iterator[Finding]:
    """An autoscaler that may scale to zero leaves nobody to respond until a pod has started again."""
    scaler = workload.autoscaler
    if scaler is None or workload.kind == "DaemonSet":
        return
    idle = scaler.kind == "ScaledObject" and scaler.spec.get("idleReplicaCount") == 0
    if workload.replicas and not idle:
        return
    path = ("spec", "idleReplicaCount") if idle else workload.minimum_path
    changes = [Change(workload.minimum_path, 2)] if idle and not workload.replicas else []
    held = scaler.kind == "HTTPScaledObject"
    yield Finding(
        Severity.ADVICE if held else Severity.RISKS,
        "It may scale to no pod at all.",
        "The next requests wait in KEDA's interceptor until a pod has started; those that do not come "
        "through it are refused."
        if held
        else "The next requests are refused until a pod has started, unless something in front holds them "
        "back.",
        path,
        (*changes, Change(path, REMOVE if idle else 2), *_higher_maximum(workload)),
        object=scaler.name,
    )


def replicas_and_autoscaler(workload: Workload) -> Iterator[Finding]:
    """With an autoscaler in charge, each `kubectl apply` of a manifest with spec.replicas sets the number
    back: of 30 busy pods 3 are left.
    """
    scaler = workload.autoscaler
    if scaler is None or workload.from_cluster or "replicas" not in workload.spec:
        return
    yield Finding(
        Severity.RISKS,
        f"spec.replicas stands beside {scaler.name}.",
        "Each apply sets the number of pods back to it, however busy they are.",
        ("spec", "replicas"),
        (Change(("spec", "replicas"), REMOVE),),
        related=(scaler.name,),
    )


def strategy(workload: Workload) -> Iterator[Finding]:
    """maxUnavailable takes pods away before there are new ones; Recreate takes all of them."""
    if workload.kind == "DaemonSet" and workload.rolling_update.get("maxUnavailable") == "100%":
        of_nodes = (*workload.rolling_update_path, "maxUnavailable")
        yield Finding(
            Severity.LOSES,
            "An update stops the pods of all nodes at a time.",
            "Nobody responds until the new ones are ready.",
            of_nodes,
            (Change(of_nodes, 1),),
        )
    if workload.kind == "StatefulSet" and workload.strategy.get("type") != "OnDelete":
        yield from _strategy_of_statefulset(workload)
    if workload.kind in ("StatefulSet", "DaemonSet") or "blueGreen" in workload.strategy:
        return
    if workload.kind == "Rollout" and "canary" not in workload.strategy:
        return  # `refused` reports it
    openshift = workload.kind == "DeploymentConfig"
    writer = workload.single_writer
    if workload.strategy.get("type") == "Recreate":
        yield Finding(
            Severity.ADVICE if writer else Severity.LOSES,
            "Recreate stops every pod before the first new one starts.",
            f"Nobody responds in between. It is right all the same: {writer}."
            if writer
            else "Nobody responds in between.",
            ("spec", "strategy"),
            ()
            if writer
            else (
                Change(
                    ("spec", "strategy"),
                    {
                        "type": "Rolling" if openshift else "RollingUpdate",
                        workload.rolling_update_path[-1]: {"maxSurge": 1, "maxUnavailable": 0},
                    },
                ),
            ),
            advice="clients that retry" if writer else "",
        )
        return
    rolling_update = workload.rolling_update
    pods = max(workload.replicas, 1)  # scaled to zero, it is not updated
    away = amount(rolling_update.get("maxUnavailable", "25%"), pods, up=False)
    surge = amount(rolling_update.get("maxSurge", "25%"), pods, up=True)
    if writer and surge and not workload.claims:
        return  # two databases without a volume have nothing in common
    if writer and surge:
        path = workload.rolling_update_path
        yield Finding(
            Severity.RISKS,
            f"An update starts a second pod beside the first, but {writer}.",
            "The second waits for the volume on another node, or both write to it.",
            ("spec", "strategy"),
            (Change((*path, "maxSurge"), 0), Change((*path, "maxUnavailable"), 1))
            if workload.kind == "Rollout"
            else (Change(("spec", "strategy"), {"type": "Recreate"}),),
            advice="nobody responds during an update then, which a single writer cannot help",
        )
        return
    if surge == 0 and away == 0:
        away = 1  # as the Deployment controller does where percentages come to nothing
    if away and not writer:
        all_of_them = away >= pods
        path = workload.rolling_update_path
        yield Finding(
            Severity.LOSES if all_of_them else Severity.ADVICE,
            f"An update takes {away} of {pods} pods away before there are new ones.",
            "Nobody responds in between."
            if all_of_them
            else "The remaining ones carry the load of all, and responses come late, or not, where "
            "they cannot.",
            path,
            (Change((*path, "maxSurge"), max(surge, 1)), Change((*path, "maxUnavailable"), 0)),
        )


def _strategy_of_statefulset(workload: Workload) -> Iterator[Finding]:
    """Yield what maxUnavailable of a StatefulSet takes away at a time, beyond the one pod of the default."""
    pods = workload.replicas
    away = amount(workload.rolling_update.get("maxUnavailable", 1), pods, up=True)
    if 1 < pods <= away:
        path = (*workload.rolling_update_path, "maxUnavailable")
        yield Finding(
            Severity.LOSES,
            f"An update deletes all {pods} pods at a time.",
            "Nobody responds until the new ones are ready.",
            path,
            (Change(path, 1),),
        )


def min_ready_seconds(workload: Workload) -> Iterator[Finding]:
    """A version that turns bad a moment after it was ready is caught only where minReadySeconds is longer
    than its readiness probe needs to notice; else it replaces every good pod.
    """
    if workload.kind == "DaemonSet":
        return
    least = max(
        (failing_after(probe) for each in workload.containers if (probe := each.probe("readiness"))),
        default=0,
    )
    found = int(workload.spec.get("minReadySeconds", 0))
    if found > least:
        return
    deadline = int(workload.spec.get("progressDeadlineSeconds", PROGRESS_DEADLINE))
    wanted = least + OBSERVATION
    possible = wanted < deadline and wanted <= LONGEST_MIN_READY
    yield Finding(
        Severity.ADVICE,
        f"A version that fails right after it became ready replaces every good pod: minReadySeconds is "
        f"{found}" + (f", its readiness probe notices after {least} s." if least else "."),
        "The rollout continues with the next pod before the first has shown that it stays ready.",
        ("spec", "minReadySeconds"),
        (Change(("spec", "minReadySeconds"), wanted),) if possible else (),
        advice=""
        if possible
        else "a readiness probe that notices sooner, and minReadySeconds a little longer than that",
    )


def progress_deadline(workload: Workload) -> Iterator[Finding]:
    """A rollout whose pods may take longer to start and to prove themselves than progressDeadlineSeconds
    is reported as failed while it is well, and pipelines undo it.
    """
    if workload.kind not in ("Deployment", "Rollout"):
        return
    starting = max(
        (
            int(probe.get("initialDelaySeconds", 0))
            + number(probe, "periodSeconds", 10) * number(probe, "failureThreshold", 3)
            for each in workload.containers
            if (probe := each.probe("startup"))
        ),
        default=0,
    )
    ready = int(workload.spec.get("minReadySeconds", 0))
    deadline = int(workload.spec.get("progressDeadlineSeconds", PROGRESS_DEADLINE))
    path = ("spec", "progressDeadlineSeconds")
    if ready >= deadline:
        yield Finding(
            Severity.LOSES,
            f"minReadySeconds {ready} is not below progressDeadlineSeconds {deadline}: the API "
            f"server refuses it.",
            "The update is not accepted.",
            path,
            (Change(path, ready + starting + 30),),
        )
    elif starting + ready >= deadline:
        yield Finding(
            Severity.ADVICE,
            f"A pod may take {starting + ready} s to start and to prove itself; the rollout counts "
            f"as failed after "
            f"{deadline} s.",
            "A pipeline that waits with `kubectl rollout status` undoes an update that is well.",
            path,
            (Change(path, starting + ready + 30),),
        )


def selector(workload: Workload) -> Iterator[Finding]:
    """The API server refuses a workload whose selector does not match its own pods' labels."""
    found = workload.spec.get("selector")
    if not found or workload.kind == "DeploymentConfig":
        return
    if not selects(found, workload.labels):
        path = ("spec", "template", "metadata", "labels")
        labels = {**workload.labels, **(found.get("matchLabels") or {})}
        helps = selects(found, labels)
        yield Finding(
            Severity.LOSES,
            "Its selector does not match the labels of its pods.",
            "The API server refuses it, so the update never happens.",
            ("spec", "selector"),
            (Change(path, labels),) if helps else (),
            advice="" if helps else "matchLabels with labels of the pods",
        )


def disruption_budget(workload: Workload) -> Iterator[Finding]:
    """Without a PodDisruptionBudget, draining nodes may evict all pods at once; with one that allows
    nothing, a node drain hangs until somebody forces it.
    """
    pods = workload.replicas
    if workload.kind == "DaemonSet" or not pods:
        return
    if not workload.budgets and pods > 1 and "poddisruptionbudgets" not in workload.unseen:
        labels = ", ".join(f"{name}: {value}" for name, value in workload.labels.items())
        yield Finding(
            Severity.ADVICE,
            "No PodDisruptionBudget: drained nodes may take all pods at once.",
            "Evictions do not go by the workload's strategy.",
            ("spec", "replicas"),
            advice=f"a PodDisruptionBudget with "
            f"{{maxUnavailable: 1, selector: {{matchLabels: {{{labels}}}}}}}",
        )
    names = sorted({each.metadata_name for each in workload.budgets})
    if len(names) > 1:
        yield Finding(
            Severity.ADVICE,
            f"{len(names)} PodDisruptionBudgets select its pods: {', '.join(names)}.",
            "An eviction of a pod with more than one fails, so a node drain never ends.",
            ("spec", "selector"),
            advice="one of them",
            object=workload.budgets[-1].name,
        )
    for budget in workload.budgets:
        spec = budget.data.get("spec") or {}
        if "maxUnavailable" in spec:
            allowed = amount(spec["maxUnavailable"], pods, up=True)
        else:
            allowed = pods - amount(spec.get("minAvailable", 1), pods, up=True)
        if 0 < allowed < pods or (pods == 1 and allowed == 1):
            continue
        path = ("spec", "maxUnavailable")
        removed = (Change(("spec", "minAvailable"), REMOVE),) if "minAvailable" in spec else ()
        yield Finding(
            Severity.ADVICE if allowed <= 0 else Severity.RISKS,
            f"It lets {max(allowed, 0)} of {pods} {'pod' if pods == 1 else 'pods'} go at a time.",
            "A node drain never ends, until somebody deletes the pods."
            if allowed <= 0
            else "Nobody responds when they all go.",
            path,
            (*removed, Change(path, 1)),
            object=budget.name,
        )


def vertical_autoscaler(workload: Workload) -> Iterator[Finding]:
    """A VerticalPodAutoscaler that updates evicts pods at any time; of one pod there is none then."""
    for each in workload.scalers("VerticalPodAutoscaler", "targetRef"):
        mode = (each.spec.get("updatePolicy") or {}).get("updateMode", "Auto")
        if mode in ("Off", "Initial") or workload.replicas > 1:
            continue
        path = ("spec", "updatePolicy", "updateMode")
        yield Finding(
            Severity.RISKS,
            f"It evicts the only pod whenever it changes its resources (updateMode {mode}).",
            "Nobody responds until the next one is ready.",
            path,
            (Change(path, "Initial"),),
            object=each.name,
        )


def anti_affinity(workload: Workload) -> Iterator[Finding]:
    """With required anti-affinity and maxUnavailable 0, an update waits for a node without a pod of it."""
    terms = ((workload.pod.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    own = [each for each in terms or () if _selects_both_versions(each, workload)]
    if not own or workload.kind not in ("Deployment", "Rollout"):
        return
    if amount(workload.rolling_update.get("maxUnavailable", "25%"), workload.replicas, up=False) == 0:
        yield Finding(
            Severity.RISKS,
            "Two of its pods cannot be on one node, and an update may take none away first.",
            "With as many pods as nodes the new pod stays pending, and the rollout hangs.",
            ("spec", "template", "spec", "affinity", "podAntiAffinity"),
            advice="preferredDuringSchedulingIgnoredDuringExecution, or topologySpreadConstraints",
        )


def _selects_both_versions(term: dict[str, object], workload: Workload) -> bool:
    """Return whether a term keeps a pod away from the pods of the version that it replaces."""
    if "pod-template-hash" in (term.get("matchLabelKeys") or ()):  # type: ignore[operator]
        return False
    selector = term.get("labelSelector")
    return isinstance(selector, dict) and selects(selector, workload.labels)


def spread(workload: Workload) -> Iterator[Finding]:
    """Pods that nothing spreads may all be on one node, which takes them with it when it fails."""
    if workload.kind == "DaemonSet" or workload.replicas < 2:
        return
    if workload.pod.get("topologySpreadConstraints") or (workload.pod.get("affinity") or {}).get(
        "podAntiAffinity"
    ):
        return
    labels = {"matchLabels": dict(workload.labels)}
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": labels,
    }
    path = ("spec", "template", "spec", "topologySpreadConstraints")
    yield Finding(
        Severity.ADVICE,
        "Nothing spreads the pods over nodes.",
        "The scheduler tries to by default, and may still put them all on one node, which takes "
        "them with it.",
        path,
        (Change(path, [constraint]),),
    )


def migrations(workload: Workload) -> Iterator[Finding]:
    """A schema migration at the start of a new pod changes the schema of the old pods, which still serve."""
    for each in (*workload.init_containers, *workload.plain):
        if MIGRATIONS.search(" ".join([each.image, *each.start.words])):  # an image may be the tool's
            yield Finding(
                Severity.ADVICE,
                f"{each.name} migrates the database's schema when it starts.",
                "The old pods serve on the new schema until they are replaced; two pods may migrate "
                "at the same time.",
                (*each.path, "command"),
                advice="migrations that both versions can work with, in a Job before the rollout",
            )
