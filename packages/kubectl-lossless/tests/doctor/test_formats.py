"""The formats of a report, each as its readers take it."""

from __future__ import annotations

import io
import json
import re
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from doctor.helpers import CASES, HERE, base, container, dump, load
from kubectl_lossless import __version__
from kubectl_lossless.doctor.checks import NAMES, examine
from kubectl_lossless.doctor.finding import Severity
from kubectl_lossless.doctor.formats import FORMATS, github, junit
from kubectl_lossless.doctor.report import Report
from kubectl_lossless.doctor.source.files import from_files
from kubectl_lossless.doctor.source.loaded import Refused, Skipped, SourceError
from kubectl_lossless.doctor.source.selection import Selection

SARIF = json.loads((HERE / "schemas" / "sarif-2.1.0.json").read_text())


def report(*names: str, fail_on: Severity | None = Severity.RISKS) -> Report:
    files = [str(next(CASES.glob(f"{name}*"))) for name in names]
    loaded = from_files(Selection(files=files), io.BytesIO())
    return Report([examine(each) for each in loaded.workloads], loaded.skipped, loaded.refused, fail_on)


@pytest.fixture
def ignored() -> Report:
    """Return a report with a finding that an annotation leaves out."""
    objects = base()
    objects[0]["metadata"]["annotations"] = {
        "lossless.dev/ignore": "drain: our proxy retries\nspread: one node"
    }
    return Report([examine(each) for each in load(dump(objects)).workloads])


def schema_errors(text: str) -> list[str]:
    validator = jsonschema.Draft4Validator(SARIF)
    return [f"{list(each.absolute_path)}: {each.message}" for each in validator.iter_errors(json.loads(text))]


@pytest.mark.parametrize("name", sorted(each.name for each in CASES.iterdir()))
def test_sarif_is_valid(name: str) -> None:
    try:
        found = report(name)
    except SourceError:
        return  # there is nothing to check in it
    assert schema_errors(FORMATS["sarif"](found)) == []


def test_schema_refuses_invalid_sarif() -> None:
    assert schema_errors('{"version": "2.1.0", "runs": [{"results": []}]}')


def test_sarif_has_the_rule_the_level_and_the_line() -> None:
    found = report("h02-prestop-1s")
    (run,) = json.loads(FORMATS["sarif"](found))["runs"]
    assert [each["id"] for each in run["tool"]["driver"]["rules"]] == list(NAMES)
    (result,) = (each for each in run["results"] if each["ruleId"] == "prestop")
    assert result["level"] == "error"
    (location,) = result["locations"]
    line = location["physicalLocation"]["region"]["startLine"]
    file = CASES / "h02-prestop-1s.yaml"
    assert "preStop:" in file.read_text().splitlines()[line - 1]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == f"file://{file}"
    assert run["invocations"][0]["exitCode"] == 1


def test_sarif_suppresses_ignored_findings(ignored: Report) -> None:
    text = FORMATS["sarif"](ignored)
    assert schema_errors(text) == []
    (run,) = json.loads(text)["runs"]
    suppressed = {each["ruleId"]: each["suppressions"] for each in run["results"] if "suppressions" in each}
    assert suppressed["drain"] == [{"kind": "inSource", "justification": "our proxy retries"}]


def test_sarif_names_skipped_objects() -> None:
    found = report("k05-patch-beside", "b-70-envsubst")
    (run,) = json.loads(FORMATS["sarif"](found))["runs"]
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert {each["level"] for each in invocation["toolExecutionNotifications"]} == {"note", "error"}


def test_json_has_version_summary_and_lines() -> None:
    found = json.loads(FORMATS["json"](report("h02-prestop-1s", "k05-patch-beside", "b-70-envsubst")))
    assert found["version"] == 1
    assert found["tool"] == {"name": "kubectl-lossless", "version": __version__}
    assert found["summary"] == {
        "status": 2,
        "workloads": 2,
        "loses": 1,
        "risks": 0,
        "advice": 3,
        "unknown": 0,
        "ignored": 0,
        "skipped": 1,
        "refused": 1,
    }
    (workload, _) = found["workloads"]
    assert (workload["kind"], workload["name"], workload["namespace"]) == ("Deployment", "web", "demo")
    (finding,) = (each for each in workload["findings"] if each["check"] == "prestop")
    assert finding["path"] == "spec.template.spec.containers[0].lifecycle.preStop"
    assert finding["keys"] == ["spec", "template", "spec", "containers", 0, "lifecycle", "preStop"]
    (change,) = finding["changes"]
    assert change["value"] == {"sleep": {"seconds": 15}}
    assert finding["file"].endswith("h02-prestop-1s.yaml")
    assert finding["line"] > 0
    assert found["skipped"][0]["name"] == "Deployment web2"
    assert "${REPLICAS:-3}" in found["refused"][0]["reason"]


def test_json_has_ignored_findings(ignored: Report) -> None:
    (workload,) = json.loads(FORMATS["json"](ignored))["workloads"]
    assert {each["check"]: each["reason"] for each in workload["ignored"]} == {
        "drain": "our proxy retries",
        "spread": "one node",
    }


def test_github_annotation_stays_on_one_line() -> None:
    lines = github(report("h02-prestop-1s")).splitlines()
    assert all(
        re.match(r"::(error|warning|notice) file=[^,]+,line=\d+,title=[a-z-]+::", each) for each in lines
    )
    assert any("title=prestop::Deployment web: preStop waits 1 s" in each and "%0A" in each for each in lines)


def test_github_annotation_escapes_its_properties() -> None:
    (line,) = github(Report([], [Skipped("x", "50%\nof", "a,b:c.yaml", 3)])).splitlines()
    assert line == "::notice file=a%2Cb%3Ac.yaml,line=3,title=not checked::x 50%25%0Aof"


def test_junit_fails_findings_that_count_and_passes_the_rest() -> None:
    root = ET.fromstring(junit(report("h02-prestop-1s")))
    (suite,) = root
    assert (suite.get("name"), suite.get("failures"), suite.get("tests")) == ("demo/Deployment web", "1", "2")
    (failure,) = root.iter("failure")
    assert failure.get("type") == "loses"
    none = ET.fromstring(junit(report("h02-prestop-1s", fail_on=None)))
    assert not list(none.iter("failure"))


def test_junit_has_errors_for_refused_objects() -> None:
    root = ET.fromstring(junit(Report([], [], [Refused("is \x00 bad", "Deployment x", "f.yaml", 3)])))
    (error,) = root.iter("error")
    assert error.get("message") == "f.yaml:3: Deployment x is � bad"


def test_text_has_finding_reason_place_and_change() -> None:
    text = FORMATS["text"](report("h02-prestop-1s"))
    assert "LOSES REQUESTS\n  prestop: preStop waits 1 s, shorter than endpoints take.\n" in text
    assert '-> spec.template.spec.containers[0].lifecycle.preStop: {"sleep": {"seconds": 15}}' in text
    assert re.search(r"h02-prestop-1s\.yaml:\d+\n", text)


def test_text_names_ignored_findings(ignored: Report) -> None:
    assert "\nIGNORED\n  drain: preStop only delays the stop" in FORMATS["text"](ignored)


def test_text_of_a_worker_says_that_the_worker_serves_nothing() -> None:
    assert "serves no requests as far as can be seen" in FORMATS["text"](report("w01-celery"))


def test_text_does_not_call_a_port_none() -> None:
    objects = base()
    del container(objects)["ports"][0]["name"]
    found = Report([examine(each) for each in load(dump(objects)).workloads])
    assert "None" not in FORMATS["text"](found)
