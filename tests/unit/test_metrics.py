"""Tests of app/metrics.py in one process; tests/process has those with several workers."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_flask_exporter import PrometheusMetrics

from gunicorn_drain import Drain


def samples(client: FlaskClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in families
        for each in family.samples
    }


def test_requests_are_counted_by_route_never_by_raw_path(client: FlaskClient) -> None:
    for path in ("/api", "/api/sleep/0", "/api/sleep/0.0", "/nowhere", "/elsewhere"):
        client.get(path)
    seen = samples(client)
    count = "flask_http_request_duration_seconds_count"
    by_route = {dict(labels)["url_rule"]: value for (name, labels), value in seen.items() if name == count}
    assert by_route == {"/api": 1, "/api/sleep/<seconds>": 2, "None": 2}
    assert seen["flask_http_request_total", frozenset({("method", "GET"), ("status", "404")})] == 2


def test_made_up_methods_share_one_series(client: FlaskClient) -> None:
    for number in range(20):
        client.open("/api", method=f"MADEUP{number}")
    methods = {dict(labels).get("method") for _, labels in samples(client)} - {None}
    assert methods == {"other"}


def test_series_are_the_same_as_the_exporters(app: Flask) -> None:
    def ask(asked: Flask) -> Counter[tuple[str, frozenset[tuple[str, str]]]]:
        client = asked.test_client()
        asked.add_url_rule("/breaks", "breaks", lambda: str(1 // 0))
        for path in ("/api", "/api/sleep/0", "/api/sleep/x", "/nowhere", "/breaks", "/breaks", "/metrics"):
            client.get(path)
        client.head("/api")
        client.post("/api")
        return Counter(
            {
                series: value
                for series, value in samples(client).items()
                if series[0].startswith("flask_") and not series[0].endswith(("_sum", "_created", "_bucket"))
            }
        )

    theirs = Flask("theirs")
    PrometheusMetrics(theirs, group_by="url_rule", registry=CollectorRegistry())
    theirs.add_url_rule("/api", "index", lambda: "")
    theirs.add_url_rule("/api/sleep/<seconds>", "sleep", lambda seconds: ("", 200 if seconds == "0" else 400))
    assert ask(app) == ask(theirs)


def test_lifecycle_is_measured(client: FlaskClient, drain: Drain) -> None:
    def own() -> dict[str, float]:
        return {name: value for (name, _), value in samples(client).items() if name.startswith("lifecycle_")}

    before = own()
    assert before.pop("lifecycle_start_time_seconds") == pytest.approx(time.time(), abs=600)
    assert before == {
        "lifecycle_ready": 1,
        "lifecycle_draining": 0,
        "lifecycle_requests_in_flight": 0,
        "lifecycle_drain_duration_seconds": 0,
        "lifecycle_drain_requests_total": 0,
        "lifecycle_drain_last_request_seconds": 0,
        "lifecycle_drain_min_seconds": 5,
        "lifecycle_drain_quiet_seconds": 1,
        "lifecycle_drain_max_seconds": 15,
        "lifecycle_requests_cut_off_total": 0,
        "lifecycle_info": 1,
    }
    assert ("lifecycle_info", frozenset({("version", "v9")})) in samples(client)
    drain.begin_drain()
    after = own()
    assert (after["lifecycle_ready"], after["lifecycle_draining"]) == (0, 1)
    assert after["lifecycle_drain_duration_seconds"] > 0


def test_limits_of_the_drain_are_absent_without_a_drain(client: FlaskClient, drain: Drain) -> None:
    drain.configure(None)
    names = {name for name, _ in samples(client)}
    assert "lifecycle_drain_max_seconds" not in names
    assert "lifecycle_ready" in names


def test_openmetrics_is_negotiated_and_ends_once(client: FlaskClient) -> None:
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.mimetype == "application/openmetrics-text"
    assert response.data.count(b"# EOF") == 1
