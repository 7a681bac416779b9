"""Dependencies that no import shows: names in strings that one module defines and another relies on.

Each such string is a public constant of the module that owns it, and a literal nowhere else.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from gunicorn.util import load_class
from prometheus_client.parser import text_string_to_metric_families

import gunicorn_drain.prometheus
import gunicorn_fast
from app.settings import NAMES, PROBES, WORKER_CLASSES
from gunicorn_drain.logs import request_id
from tests.manifests.manifests import RUNGS, container

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "k8s" / "monitoring"

SOURCES = sorted(
    path
    for directory in ("app", "packages", "tools")
    for path in (ROOT / directory).rglob("*.py")
    if "tests" not in path.relative_to(ROOT).parts
)

OWNED = {
    gunicorn_fast.LEADER_WORKER: "packages/gunicorn-fast/src/gunicorn_fast/__init__.py",
    gunicorn_fast.PROBE_LANE_WORKER: "packages/gunicorn-fast/src/gunicorn_fast/__init__.py",
    gunicorn_drain.DETACH_KEY: "packages/gunicorn-drain/src/gunicorn_drain/wsgi.py",
    request_id.ENVIRON: "packages/gunicorn-drain/src/gunicorn_drain/logs/request_id.py",
    gunicorn_drain.prometheus.VARIABLE: "packages/gunicorn-drain/src/gunicorn_drain/prometheus/directory.py",
}

STANDARD_KEYS = ("wsgi.", "gunicorn.", "werkzeug.")
"""Beginnings of environ keys that PEP 3333, Gunicorn and Werkzeug define."""

METRICS = ("Counter", "Gauge", "Histogram", "Summary", "CounterMetricFamily", "GaugeMetricFamily")

OWN_SERIES = re.compile(r"\b(?:lifecycle|flask_http|streams|http_re)_?[a-z_]+")


@cache
def trees() -> Sequence[tuple[str, ast.AST]]:
    """Return each source file's path and syntax tree."""
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in SOURCES]


def literals(tree: ast.AST) -> Iterator[str]:
    """Yield the string literals other than docstrings."""
    nodes = list(ast.walk(tree))
    prose = {id(each.value) for each in nodes if isinstance(each, ast.Expr)}
    for each in nodes:
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in prose:
            yield each.value


def environ_keys(tree: ast.AST) -> Iterator[str]:
    """Yield the literal keys with which a WSGI environ is read or written."""
    for each in ast.walk(tree):
        if isinstance(each, ast.Subscript):
            mapping, key = each.value, each.slice
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.args:
            mapping, key = each.func.value, each.args[0]
        else:
            continue
        name = mapping.attr if isinstance(mapping, ast.Attribute) else getattr(mapping, "id", "")
        if name == "environ" and isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value


def metric_names(tree: ast.AST) -> Iterator[str]:
    """Yield the literal names of metrics where those are created."""
    for each in ast.walk(tree):
        if not isinstance(each, ast.Call) or not each.args:
            continue
        called = each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")
        first = each.args[0]
        if called in METRICS and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def test_readers_of_sources_find_keys_metrics_and_literals() -> None:
    tree = ast.parse('''"""doc"""\na = environ["x.y"], request.environ.get("z.w"), Counter("n", "t"), "s"''')
    assert list(environ_keys(tree)) == ["x.y", "z.w"]
    assert list(metric_names(tree)) == ["n"]
    assert set(literals(tree)) == {"x.y", "z.w", "n", "t", "s"}
    assert len(SOURCES) > 50


def test_names_are_literals_of_their_owners_alone() -> None:
    found = [(each, path) for path, tree in trees() for each in literals(tree) if each in OWNED]
    assert sorted(found) == sorted(OWNED.items())


def test_own_environ_keys_are_constants() -> None:
    assert [
        f"{path}: {key}"
        for path, tree in trees()
        for key in environ_keys(tree)
        if "." in key and not key.startswith(STANDARD_KEYS)
    ] == []


def test_worker_classes_can_be_loaded() -> None:
    for name in WORKER_CLASSES:
        assert load_class(name).__name__.endswith("Worker")


def test_metric_is_created_in_one_place() -> None:
    created = Counter(name for _, tree in trees() for name in metric_names(tree))
    assert created
    assert [name for name, times in created.items() if times > 1] == []


def test_series_of_the_monitoring_are_exposed(app: Flask, client: FlaskClient) -> None:
    client.get("/api")
    families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
    exposed = {sample.name for family in families for sample in family.samples}
    # This series begins with the first request that Gunicorn refuses, which a test client cannot send.
    created = {f"{name}_total" for _, tree in trees() for name in metric_names(tree)}
    exposed |= {"http_requests_refused_total"} & created
    text = "".join((MONITORING / name).read_text() for name in ("alerts.yaml", "dashboard.json"))
    used = set(OWN_SERIES.findall(text))
    assert len(used) > 8
    assert used - exposed == set()


def test_monitoring_excludes_the_probes_only(app: Flask) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    text = (MONITORING / "alerts.yaml").read_text() + json.dumps(dashboard).replace('\\"', '"')
    patterns = set(re.findall(r'url_rule!~"([^"]+)"', text))
    assert patterns
    probes = {probe.path for probe in PROBES}
    for pattern in patterns:
        left_out = {str(rule) for rule in app.url_map.iter_rules() if re.fullmatch(pattern, str(rule))}
        assert left_out == probes, pattern


@pytest.mark.parametrize("rung", RUNGS)
def test_environment_of_the_manifests_consists_of_settings(rung: str) -> None:
    names = {each["name"] for each in container(rung).get("env", ())}
    assert names <= set(NAMES)
