"""Consistency of the times in every manifest with each other and with the service's settings."""

from __future__ import annotations

import re

import pytest

from app.settings import Settings
from kubectl_lossless.doctor.checks.grace_period import KILL_MARGIN

from .manifests import RUNGS, Object, container, deployment, envoy, objects, one, pod_spec, settings, text

KUBERNETES_GRACE = 30
"""Default grace period of a pod, in seconds."""

LATE_FAILURE = 5
"""Time after which the course's bad version, ready at first, becomes unready, in seconds."""

WITH_PROBES = [rung for rung in RUNGS if rung != "v1"]
PACED = [rung for rung in RUNGS if rung >= "v4"]


def grace(rung: str) -> int:
    return int(pod_spec(rung).get("terminationGracePeriodSeconds", KUBERNETES_GRACE))


def pre_stop(rung: str) -> int:
    """Return the seconds before SIGTERM. Only `sleep` has a known duration; no other hook is allowed."""
    hook = container(rung).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    return int(hook["sleep"]["seconds"])


def stopping(rung: str) -> dict[str, float]:
    """Return the maximum duration of each part of the stop, in seconds, by its name in the comments."""
    own = settings(rung)
    parts = {"preStop": pre_stop(rung), "DRAIN_MAX": own.drain_max if own.drain else 0.0}
    return {**parts, "GRACEFUL_TIMEOUT": float(own.graceful_timeout)}


def seconds(duration: str) -> float:
    """Return a duration in seconds. These files use whole seconds only."""
    found = re.fullmatch("([0-9]+)s", duration)
    assert found, duration
    return float(found[1])


def probe_seconds(probe: Object) -> int:
    """Return the time that a probe must fail before the failure counts, in seconds."""
    return int(probe["periodSeconds"] * probe["failureThreshold"])


@pytest.mark.parametrize("rung", RUNGS)
def test_grace_period_covers_the_whole_stop(rung: str) -> None:
    assert sum(stopping(rung).values()) + KILL_MARGIN < grace(rung)


@pytest.mark.parametrize("rung", RUNGS)
def test_figures_in_comments_are_in_force(rung: str) -> None:
    own = settings(rung)
    in_force = {**stopping(rung), "margin": KILL_MARGIN}
    in_force |= {"DRAIN_MIN": own.drain_min, "SLEEP_LIMIT": own.sleep_limit}
    comments = "\n".join(line for line in text(rung).splitlines() if line.strip().startswith("#"))
    said = re.findall(r"\b(preStop|DRAIN_MAX|GRACEFUL_TIMEOUT|DRAIN_MIN),? (\d+) s", comments)
    said += [("margin", figure) for figure in re.findall(r"(\d+) s margin", comments)]
    said += [("SLEEP_LIMIT", figure) for figure in re.findall(r"/api/sleep/(\d+) \(SLEEP_LIMIT\)", comments)]
    assert [(name, float(figure)) for name, figure in said] == [(name, in_force[name]) for name, _ in said]
    # a rung that sets a grace period explains it
    assert {"GRACEFUL_TIMEOUT", "margin"} <= {name for name, _ in said} or grace(rung) == KUBERNETES_GRACE


def test_v7_waits_for_the_longest_request() -> None:
    own = settings("v7")
    assert own.graceful_timeout > own.sleep_limit


def test_routes_wait_for_the_longest_request() -> None:
    waits = ways_in()
    assert all(seconds(waits[way, "/"]) > Settings().sleep_limit for way in ("httproute", "ingress"))


def test_routes_do_not_limit_long_lived_connections() -> None:
    waits = ways_in()
    for path in ("/api/events", "/api/ws"):
        assert waits["httproute", path] == "0s"
        assert waits["ingress", path] == "infinity"
    (sockets,) = (
        item["metadata"]["annotations"].get("projectcontour.io/websocket-routes")
        for item in objects("ingress")
        if "streams" in item["metadata"]["name"]
    )
    assert sockets == "/api/ws"
    manager = envoy()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert {"upgrade_type": "websocket"} in manager["upgrade_configs"]
    (sidecar,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert sidecar["route"]["timeout"] == "0s"


def ways_in() -> dict[tuple[str, str], str]:
    """Return the timeout of each route, by the manifest and the path."""
    waits = {
        ("httproute", match["path"]["value"]): rule["timeouts"]["request"]
        for rule in one("httproute", "HTTPRoute")["spec"]["rules"]
        for match in rule["matches"]
    }
    for item in objects("ingress"):
        wait = item["metadata"]["annotations"]["projectcontour.io/response-timeout"]
        (rule,) = item["spec"]["rules"]
        waits |= {("ingress", path["path"]): wait for path in rule["http"]["paths"]}
    return waits


@pytest.mark.parametrize("rung", WITH_PROBES)
def test_probes_take_effect_in_time(rung: str) -> None:
    startup, readiness = container(rung)["startupProbe"], container(rung)["readinessProbe"]
    assert startup["periodSeconds"] == 1
    assert probe_seconds(readiness) <= 5


@pytest.mark.parametrize("rung", PACED)
def test_min_ready_seconds_catches_a_version_that_fails_late(rung: str) -> None:
    noticed = LATE_FAILURE + probe_seconds(container(rung)["readinessProbe"])
    assert noticed < deployment(rung)["spec"]["minReadySeconds"]


@pytest.mark.parametrize("rung", PACED)
def test_progress_deadline_leaves_time_for_the_start_and_min_ready_seconds(rung: str) -> None:
    spec = deployment(rung)["spec"]
    starting = probe_seconds(container(rung)["startupProbe"])
    assert starting + spec["minReadySeconds"] < spec["progressDeadlineSeconds"]


def test_envoy_leaves_timeouts_to_gunicorn() -> None:
    (listener,) = envoy()["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["route"]["timeout"] == "0s"  # none
    (cluster,) = envoy()["static_resources"]["clusters"]
    (options,) = cluster["typed_extension_protocol_options"].values()
    assert seconds(options["common_http_protocol_options"]["idle_timeout"]) < settings("v6").keepalive
