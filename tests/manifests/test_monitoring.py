"""k8s/monitoring/ as promtool and Grafana read it; tests/process runs it on a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.process.prometheus import MONITORING, jobs, needs_promtool, rules, with_targets_from
from tests.process.service import ROOT

RULES = MONITORING / "alerts.yaml"
TESTS = MONITORING / "alerts.test.yaml"
ALERTS = [rule["alert"] for rule in rules() if "alert" in rule]
OPERATIONS = ROOT / "docs" / "operations.md"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=120)


def expressions() -> list[str]:
    """Return every expression of the dashboard, including annotations."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return found + [each["expr"] for each in dashboard["annotations"]["list"]]


@needs_promtool
def test_rules_are_valid_and_pass_their_tests() -> None:
    for arguments in (("check", "rules", str(RULES)), ("test", "rules", str(TESTS))):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_expected_by_a_test() -> None:
    """Compare the names only: promtool fails if an expected alert does not fire."""
    cases = [each for test in yaml.safe_load(TESTS.read_text())["tests"] for each in _alert_cases(test)]
    assert set(cases) == set(ALERTS)


def _alert_cases(test: dict[str, Any]) -> list[str]:
    rule_tests = test.get("alert_rule_test", [])
    expected = [each["alertname"] for each in rule_tests if each["exp_alerts"]]
    for each in test.get("promql_expr_test", []):
        for sample in each["exp_samples"]:
            expected += re.findall(r'alertname="([A-Za-z]+)"', sample["labels"])
    return expected


@needs_promtool
def test_promtool_fails_without_an_expected_alert(tmp_path: Path) -> None:
    changed: Any = yaml.safe_load(RULES.read_text())
    for group in changed["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != ALERTS[0]]
    (tmp_path / RULES.name).write_text(yaml.safe_dump(changed))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    assert promtool("test", "rules", str(tmp_path / TESTS.name)).returncode == 1


@needs_promtool
def test_scrape_configuration_is_valid(tmp_path: Path) -> None:
    """Check all but Kubernetes' discovery, which Debian's promtool does not support, and a pod's files."""
    whole = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    whole["scrape_configs"] = [with_targets_from(job, tmp_path / "none.json") for job in jobs().values()]
    configuration = tmp_path / "prometheus.yaml"
    configuration.write_text(yaml.safe_dump(whole))
    (tmp_path / RULES.name).write_text(RULES.read_text())
    done = promtool("check", "config", "--syntax-only", str(configuration))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    made = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))
    done = promtool("check", "rules", str(rules))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_series_of_the_cluster_has_a_source() -> None:
    """Compare the cluster's series, found by their prefixes, with the programs that alerts.yaml names."""
    text = RULES.read_text() + "".join(expressions())
    foreign = set(re.findall(r"\b(?:kube|prober)_[a-z_]+", text))
    assert foreign == {
        "kube_pod_container_status_restarts_total",
        "kube_pod_status_ready",
        "prober_probe_total",
    }


def test_dashboard_is_valid_for_grafana() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(taken)) == len(taken)
    assert all(panel["description"] and panel["targets"] for panel in panels)
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "job", "namespace"}


def test_operations_explains_every_alert() -> None:
    assert re.findall(r"^\| `([A-Za-z]+)` \|", OPERATIONS.read_text(), re.MULTILINE) == ALERTS
