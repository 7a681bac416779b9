"""A report as text, JSON, SARIF 2.1, GitHub annotations or JUnit XML."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from kubectl_lossless import __version__
from kubectl_lossless.doctor import checks
from kubectl_lossless.doctor.checks import Ignored, Result
from kubectl_lossless.doctor.checks.routes import routes_to
from kubectl_lossless.doctor.finding import REMOVE, Change, Finding, Severity, shown
from kubectl_lossless.doctor.report import HEADINGS, Report
from kubectl_lossless.doctor.workload import Workload

JSON_VERSION = 1
"""Version of the JSON form: raised when a field changes meaning or is removed; new fields do not raise it."""

WIDTH = 110

HELP = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

LEVELS = {
    Severity.LOSES: "error",
    Severity.RISKS: "warning",
    Severity.ADVICE: "note",
    Severity.UNKNOWN: "note",
}

COMMANDS = {
    Severity.LOSES: "error",
    Severity.RISKS: "warning",
    Severity.ADVICE: "notice",
    Severity.UNKNOWN: "notice",
}

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may have."""


def remedy(change: Change) -> str:
    """Return a change as a line of text."""
    value = "remove it" if change.value is REMOVE else json.dumps(change.value, ensure_ascii=False)
    return f"{shown(change.path)}: {value}"


# ---- text -----------------------------------------------------------------------------------------------


def text(report: Report) -> str:
    """Write a report for people."""
    parts = [_workload(each) for each in report.results]
    if report.skipped:
        lines = ["not checked:"]
        for each in report.skipped:
            where = f" ({_place(each.file, each.line)})" if each.file else ""
            lines.append(_wrapped(f"{each.name} {each.reason}{where}", "  "))
        parts.append("\n".join(lines))
    counts = report.counts
    parts.append(", ".join(f"{counts[each]} {HEADINGS[each].lower()}" for each in Severity))
    return "\n\n".join(parts)


def _place(file: str, line: int | None) -> str:
    return f"{file}:{line}" if line else file


def _workload(result: Result) -> str:
    workload = result.workload
    where = _place(workload.document.file, workload.document.line())
    lines = [f"{workload.name} in {workload.namespace}{f' ({where})' if where else ''}: {_around(workload)}"]
    if workload.unseen:
        lines.append(f"  not checked, because kubectl may not read them: {', '.join(workload.unseen)}")
    if not workload.serves:
        lines.append("  serves no requests as far as can be seen: nothing to lose, so little is checked")
    elif workload.scaled_to_zero:
        why = "replicas" if workload.paused_at is None else "paused-replicas"
        lines.append(f"  has no pods ({why}: 0): their number and pace are not checked")
    if not result.findings and workload.serves:
        lines.append("  nothing found that would lose a request")
    heading = None
    for each in result.findings:
        if each.severity is not heading:
            heading = each.severity
            lines += ["", HEADINGS[heading]]
        lines += _finding(each, workload)
    for one in result.ignored:
        lines += ["", "IGNORED"] if one is result.ignored[0] else []
        lines.append(_wrapped(f"{one.finding.check}: {one.finding.what} ({one.reason})", "  "))
    return "\n".join(lines)


def _around(workload: Workload) -> str:
    parts = {
        "Service": len(workload.services),
        "PodDisruptionBudget": len(workload.budgets),
        "route": routes_to(workload),
    }
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in parts.items())


def _finding(finding: Finding, workload: Workload) -> list[str]:
    lines = [_wrapped(f"{finding.check}: {finding.what}", "  "), _wrapped(finding.why, "      ")]
    target = f"{finding.object} " if finding.object != workload.name else ""
    lines += [f"      -> {target}{remedy(each)}" for each in finding.changes]
    if finding.advice:
        at = "" if finding.changes else f"{target}{shown(finding.path)}: "
        lines.append(_wrapped(f"-> {at}{finding.advice}", "      "))
    if finding.file:
        lines.append(f"      {_place(finding.file, finding.line)}")
    return lines


def _wrapped(sentence: str, indent: str) -> str:
    return textwrap.fill(
        sentence,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


# ---- JSON -----------------------------------------------------------------------------------------------


def as_json(report: Report) -> str:
    """Write a report for programs."""
    counts = report.counts
    document = {
        "version": JSON_VERSION,
        "tool": {"name": "kubectl-lossless", "version": __version__},
        "summary": {
            "status": int(report.status),
            "workloads": len(report.results),
            **{each.value: counts[each] for each in Severity},
            "ignored": sum(len(each.ignored) for each in report.results),
            "skipped": len(report.skipped),
            "refused": len(report.refused),
        },
        "workloads": [_workload_json(each) for each in report.results],
        "skipped": [
            {"name": each.name, "reason": each.reason, "file": each.file, "line": each.line}
            for each in report.skipped
        ],
        "refused": [
            {"name": each.name, "reason": each.reason, "file": each.file, "line": each.line}
            for each in report.refused
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _workload_json(result: Result) -> dict[str, Any]:
    workload = result.workload
    return {
        "kind": workload.kind,
        "name": workload.metadata_name,
        "namespace": workload.namespace,
        "file": workload.document.file,
        "line": workload.document.line(),
        "serves": workload.serves,
        "unseen": list(workload.unseen),
        "findings": [_finding_json(each) for each in result.findings],
        "ignored": [{**_finding_json(each.finding), "reason": each.reason} for each in result.ignored],
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "severity": finding.severity.value,
        "what": finding.what,
        "why": finding.why,
        "object": finding.object,
        "path": shown(finding.path),
        "keys": list(finding.path),
        "changes": [
            {"path": shown(each.path), "keys": list(each.path)}
            | ({"remove": True} if each.value is REMOVE else {"value": each.value})
            for each in finding.changes
        ],
        "advice": finding.advice,
        "file": finding.file,
        "line": finding.line,
    }


# ---- SARIF ----------------------------------------------------------------------------------------------


def sarif(report: Report) -> str:
    """Write a report as SARIF 2.1.0, which code scanning shows at the lines."""
    rules = [
        {
            "id": checks.name(each),
            "shortDescription": {"text": checks.name(each).replace("-", " ")},
            "fullDescription": {"text": checks.reason(each)},
            "helpUri": HELP,
        }
        for each in checks.CHECKS
    ]
    results = [_sarif_result(each, None) for each in report.findings]
    results += [_sarif_result(each.finding, each) for result in report.results for each in result.ignored]
    notes = [
        _notification("error", f"{each.name} {each.reason}".strip(), each.file, each.line)
        for each in report.refused
    ] + [_notification("note", f"{each.name} {each.reason}", each.file, each.line) for each in report.skipped]
    run = {
        "tool": {
            "driver": {
                "name": "kubectl-lossless",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": rules,
            }
        },
        "invocations": [
            {
                "executionSuccessful": not report.refused,
                "exitCode": int(report.status),
                "toolExecutionNotifications": notes,
            }
        ],
        "results": results,
    }
    return json.dumps(
        {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False
    )


def _sarif_result(finding: Finding, ignored: Ignored | None) -> dict[str, Any]:
    changes = "".join(f"\n{remedy(each)}" for each in finding.changes)
    advice = f"\n{finding.advice}" if finding.advice else ""
    location: dict[str, Any] = {
        "logicalLocations": [
            {"fullyQualifiedName": f"{finding.object} {shown(finding.path)}", "kind": "object"}
        ]
    }
    if finding.file:
        location["physicalLocation"] = _physical(finding.file, finding.line)
    result: dict[str, Any] = {
        "ruleId": finding.check,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.object}: {finding.what} {finding.why}{changes}{advice}"},
        "locations": [location],
        "partialFingerprints": {"lossless/v1": f"{finding.check}/{finding.object}/{shown(finding.path)}"},
    }
    if ignored is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": ignored.reason}]
    return result


def _physical(file: str, line: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
    if line:
        found["region"] = {"startLine": line}
    return found


def _uri(file: str) -> str:
    from urllib.parse import quote

    return ("file://" if file.startswith("/") else "") + quote(file)


def _notification(level: str, sentence: str, file: str, line: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"level": level, "message": {"text": sentence}}
    if file:
        found["locations"] = [{"physicalLocation": _physical(file, line)}]
    return found


# ---- GitHub's annotations -------------------------------------------------------------------------------


def github(report: Report) -> str:
    """Write a report as GitHub's workflow commands, which show it at the lines of a pull request."""
    lines = [
        _command("error", f"{each.name} {each.reason}".strip(), each.file, each.line, "not checked")
        for each in report.refused
    ]
    for each in report.findings:
        changes = "".join(f"\n{remedy(one)}" for one in each.changes)
        message = f"{each.object}: {each.what} {each.why}{changes}" + (
            f"\n{each.advice}" if each.advice else ""
        )
        lines.append(_command(COMMANDS[each.severity], message, each.file, each.line, each.check))
    lines += [
        _command("notice", f"{each.name} {each.reason}", each.file, each.line, "not checked")
        for each in report.skipped
    ]
    return "\n".join(lines)


def _command(level: str, message: str, file: str, line: int | None, title: str) -> str:
    properties = {"file": file, "line": str(line or ""), "title": title}
    listed = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items() if value)
    return f"::{level} {listed}::{_escaped(message)}"


def _escaped(value: str, more: str = "") -> str:
    for char in ("%", "\r", "\n", *more):
        value = value.replace(char, f"%{ord(char):02X}")
    return value


# ---- JUnit ----------------------------------------------------------------------------------------------


def junit(report: Report) -> str:
    """Write a report as JUnit XML: a suite for each workload, a test for each finding."""
    root = ET.Element("testsuites", name="kubectl lossless doctor")
    for result in report.results:
        workload = result.workload
        name = f"{workload.namespace}/{workload.name}"
        suite = ET.SubElement(root, "testsuite", name=_xml(name))
        for each in result.findings:
            case = _case(suite, name, f"{each.check}: {shown(each.path)}", each)
            body = "\n".join(
                filter(
                    None, (each.why, *map(remedy, each.changes), each.advice, _place(each.file, each.line))
                )
            )
            if report.fails(each):
                failure = ET.SubElement(case, "failure", type=each.severity.value, message=_xml(each.what))
                failure.text = _xml(body)
            else:
                ET.SubElement(case, "system-out").text = _xml(
                    f"{HEADINGS[each.severity]}: {each.what}\n{body}"
                )
        for one in result.ignored:
            case = _case(suite, name, f"{one.finding.check}: {shown(one.finding.path)}", one.finding)
            ET.SubElement(case, "skipped", message=_xml(f"ignored: {one.reason}"))
        if not result.findings and not result.ignored:
            ET.SubElement(suite, "testcase", classname=_xml(name), name="nothing found")
    if report.refused or report.skipped:
        suite = ET.SubElement(root, "testsuite", name="not checked")
        for refused in report.refused:
            case = ET.SubElement(
                suite, "testcase", classname="not checked", name=_xml(refused.name or refused.file)
            )
            ET.SubElement(case, "error", message=_xml(str(refused)))
        for skipped in report.skipped:
            case = ET.SubElement(suite, "testcase", classname="not checked", name=_xml(skipped.name))
            ET.SubElement(case, "skipped", message=_xml(f"{skipped.name} {skipped.reason}"))
    for suite in root:
        suite.set("tests", str(len(suite)))
        for outcome, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            suite.set(attribute, str(len(suite.findall(f"testcase/{outcome}"))))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _case(suite: ET.Element, workload: str, name: str, finding: Finding) -> ET.Element:
    case = ET.SubElement(suite, "testcase", classname=_xml(workload), name=_xml(name))
    if finding.file:
        case.set("file", _xml(finding.file))
    if finding.line:
        case.set("line", str(finding.line))
    return case


def _xml(value: str) -> str:
    return NOT_XML.sub("�", value)


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
    "github": github,
    "junit": junit,
}
