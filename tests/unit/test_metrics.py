"""app/metrics.py, in one process; tests/process asks it of several workers."""

from __future__ import annotations

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app.lifecycle import Lifecycle


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


def test_the_lifecycle_is_measured(client: FlaskClient, lifecycle: Lifecycle) -> None:
    def own() -> dict[str, float]:
        return {name: value for (name, _), value in samples(client).items() if name.startswith("lifecycle_")}

    assert own() == {
        "lifecycle_ready": 1,
        "lifecycle_draining": 0,
        "lifecycle_requests_in_flight": 0,
        "lifecycle_drain_duration_seconds": 0,
        "lifecycle_drain_requests_total": 0,
    }
    lifecycle.begin_drain()
    after = own()
    assert (after["lifecycle_ready"], after["lifecycle_draining"]) == (0, 1)
    assert after["lifecycle_drain_duration_seconds"] > 0


def test_openmetrics_is_negotiated_and_ends_once(client: FlaskClient) -> None:
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.mimetype == "application/openmetrics-text"
    assert response.data.count(b"# EOF") == 1
