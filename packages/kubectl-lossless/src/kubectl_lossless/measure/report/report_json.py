"""File report.json with one report.

It holds one object. Times are seconds relative to `zero`, when the update was applied: negative
ones lie before it. `ms` are milliseconds.

    format      2; it changes when a reader of this shape would fail
    title, source, target, where, kubernetes, problem (null, or why the update did not complete)
    zero        when the update was applied, ISO 8601 in UTC
    complete    when `kubectl rollout status` would have reported it; null if it never was
    old         the names of the pods that were there before
    figures     the summary, kubectl_lossless.measure.report.figures.Figures
    load        url; clients {kind: number}; started, steady, ended; cpu (share of one core);
                kinds {kind: {says, takes}}
    responses   columns [at, ms, client, version, pod], and a row for each request with a response
    failures    for each lost request {at, ms, client, kind, detail, kept, phase, status, via, target}; kind
                is one of kubectl_lossless.measure.load.Kind
    closed      for each connection closed without notice {at, client}
    pods        for each pod {name, version, revision, node, restarts, stuck, states: [[at, state], ...],
                marks: [[at, what], ...]}
    events      for each event of Kubernetes about the workload, its ReplicaSets or its pods {at, object,
                reason, message, warning}
    scaled      for each ReplicaSet at the start, and for each change {at, replicaset, replicas}
    verdict     null, or why the requests were lost, kubectl_lossless.measure.verdict.Verdict
"""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubectl_lossless.measure.events import Event, Scaled
from kubectl_lossless.measure.load.clients import Client
from kubectl_lossless.measure.load.lost import Kind
from kubectl_lossless.measure.load.record import Closed, Failure, Response, Result
from kubectl_lossless.measure.pod import Pod, State
from kubectl_lossless.measure.report.figures import Figures
from kubectl_lossless.measure.report.model import Report
from kubectl_lossless.measure.verdict import Verdict

FORMAT = 2

RESPONSES = {1: "answers", FORMAT: "responses"}
"""The key of the responses, by format that is read."""


def to_json(report: Report) -> dict[str, Any]:
    """Return the object in report.json."""

    def at(time: float | None) -> float | None:
        return None if time is None else round(time - report.zero, 4)

    load = report.load
    return {
        "format": FORMAT,
        "title": report.title,
        "source": report.source,
        "target": report.target,
        "where": report.where,
        "kubernetes": report.kubernetes,
        "problem": report.problem,
        "zero": datetime.fromtimestamp(report.zero, UTC).isoformat(),
        "complete": at(report.complete),
        "old": report.old,
        "figures": asdict(Figures.of(report)),
        "load": {
            "url": load.url,
            "clients": load.clients,
            "started": at(load.started),
            "steady": at(load.steady),
            "ended": at(load.ended),
            "cpu": load.cpu,
            "kinds": {
                name: {"says": kind.description, "takes": kind.takes} for name, kind in load.kinds.items()
            },
        },
        RESPONSES[FORMAT]: {
            "columns": ["at", "ms", "client", "version", "pod"],
            "rows": [[at(a.at), a.ms, a.client, a.version, a.pod] for a in load.responses],
        },
        "failures": [{**asdict(failure), "at": at(failure.at)} for failure in load.failures],
        "closed": [{**asdict(closed), "at": at(closed.at)} for closed in load.closed],
        "pods": [
            {
                **asdict(pod),
                "states": [[at(t), state] for t, state in pod.states],
                "marks": [[at(t), mark] for t, mark in pod.marks],
            }
            for pod in report.pods
        ],
        "events": [{**asdict(event), "at": at(event.at)} for event in report.events],
        "scaled": [{**asdict(change), "at": at(change.at)} for change in report.scaled],
        "verdict": report.verdict.to_json() if report.verdict else None,
    }


def from_json(found: dict[str, Any]) -> Report:
    """Return the report in an object, the inverse of `to_json`.

    Raises ValueError for another format, KeyError or TypeError for an object that is no report.
    """
    version = found.get("format") if isinstance(found, dict) else None
    if version not in RESPONSES:
        raise ValueError(f"the report's format is {version!r}, this program reads 1 to {FORMAT}")
    zero = datetime.fromisoformat(found["zero"]).timestamp()
    load = found["load"]

    def when(at: float | None) -> float | None:
        return None if at is None else at + zero

    result = Result(
        url=load["url"],
        clients=load["clients"],
        started=load["started"] + zero,
        steady=when(load["steady"]),
        ended=when(load["ended"]),
        cpu=load["cpu"],
        responses=[
            Response(at + zero, client, ms, version, pod)
            for at, ms, client, version, pod in found[RESPONSES[version]]["rows"]
        ],
        failures=[
            replace(Failure(**failure), at=failure["at"] + zero, kind=Kind(failure["kind"]))
            for failure in found["failures"]
        ],
        closed=[Closed(closed["at"] + zero, closed["client"]) for closed in found["closed"]],
        kinds={
            name: Client(name, kind["says"], takes=kind["takes"])
            for name, kind in load.get("kinds", {}).items()
        },
    )
    return Report(
        title=found["title"],
        source=found["source"],
        target=found["target"],
        zero=zero,
        complete=when(found["complete"]),
        problem=found["problem"],
        where=found["where"],
        kubernetes=found["kubernetes"],
        load=result,
        pods=[
            Pod(
                **{
                    **pod,
                    "states": [(at + zero, State(state)) for at, state in pod["states"]],
                    "marks": [(at + zero, mark) for at, mark in pod.get("marks", [])],
                }
            )
            for pod in found["pods"]
        ],
        old=found["old"],
        verdict=Verdict.from_json(found["verdict"]) if found.get("verdict") else None,
        events=[Event(**{**event, "at": event["at"] + zero}) for event in found.get("events", [])],
        scaled=[Scaled(**{**change, "at": change["at"] + zero}) for change in found.get("scaled", [])],
    )


def write(report: Report, path: Path) -> None:
    """Write report.json."""
    path.write_text(json.dumps(to_json(report), ensure_ascii=False, separators=(",", ":")) + "\n")


def read(path: Path) -> Report:
    """Read report.json.

    Raises OSError, and ValueError, KeyError or TypeError for a file that is none.
    """
    return from_json(json.loads(path.read_text()))
