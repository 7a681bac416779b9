"""The exit status of a report."""

from __future__ import annotations

import pytest

from doctor.helpers import ADVICE, LOSES, RISKS, UNKNOWN, only
from kubectl_lossless.doctor.checks import Result
from kubectl_lossless.doctor.finding import Finding, Severity
from kubectl_lossless.doctor.report import Report, Status
from kubectl_lossless.doctor.source.loaded import Refused, Skipped

BASE = (
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: "
    "{selector: {}, template: {spec: {containers: [{name: x, image: x}]}}}}"
)


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("fail_on", [*Severity, None])
def test_finding_fails_at_its_severity_and_milder_limits(
    severity: Severity, fail_on: Severity | None
) -> None:
    report = Report([Result(only(BASE), (Finding(severity, "a", "b", ()),))], fail_on=fail_on)
    order = [LOSES, RISKS, ADVICE, UNKNOWN]
    fails = fail_on is not None and order.index(severity) <= order.index(fail_on)
    assert report.status is (Status.FOUND if fails else Status.PASSED)


def test_refused_objects_count_before_findings() -> None:
    result = Result(only(BASE), (Finding(LOSES, "a", "b", ()),))
    assert Report([result], refused=[Refused("is bad")]).status is Status.NOT_CHECKED
    assert Report([result], skipped=[Skipped("x", "is skipped")]).status is Status.FOUND
