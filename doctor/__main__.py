"""The command line: `python -m doctor deployment/NAME -n NAMESPACE`, `python -m doctor -f FILE`."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import Counter

from doctor.checks import examine
from doctor.finding import Finding, Severity
from doctor.source import SourceError, from_cluster, from_files, with_images
from doctor.subject import Subject, Told
from kubectl_lossless.kubectl import Kubectl

NOTHING, FOUND, CANNOT = 0, 1, 2

HEADINGS = {
    Severity.LOSES: "LOSES REQUESTS",
    Severity.RISKS: "MAY LOSE REQUESTS",
    Severity.ADVICE: "ADVICE",
    Severity.UNKNOWN: "NOT KNOWN",
}


def seconds(text: str) -> float:
    """Argument type."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed are seconds from 0 to 86400")
    return value


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m doctor",
        description="Says what in a Deployment would lose requests when its pods leave, why, and the line to "
        "change.",
        epilog="Exit status: 0 nothing that loses or may lose requests, 1 something, 2 it could not be "
        "checked. docs/doctor.md has every check with its reason.",
    )
    made.add_argument("deployment", nargs="?", help="deployment/NAME or NAME (default: all of the namespace)")
    made.add_argument("-n", "--namespace", default="default")
    made.add_argument(
        "-f", "--file", action="append", metavar="FILE", help="manifests in place of a cluster; - is stdin"
    )
    made.add_argument("--context", help="kubectl context (default: the current one)")
    made.add_argument("--docker", action="store_true", help="ask docker what the images start")
    made.add_argument("--json", action="store_true", help="findings as JSON")
    made.add_argument("--strict", action="store_true", help="advice and what is not known count too")
    known = made.add_argument_group("what only you know of a server that is configured in its image")
    known.add_argument(
        "--drain-max", type=seconds, metavar="S", help="it drains by itself for at most so long"
    )
    known.add_argument(
        "--graceful-timeout", type=seconds, metavar="S", help="and gives requests in flight so long"
    )
    known.add_argument("--keepalive", type=seconds, metavar="S", help="it keeps idle connections for so long")
    return made


def subjects(options: argparse.Namespace) -> list[Subject]:
    """What is to be examined. Raises SourceError."""
    told = Told(options.drain_max, options.graceful_timeout, options.keepalive)
    name = (options.deployment or "").removeprefix("deployment/").removeprefix("deployment.apps/") or None
    if options.file:
        found = from_files(options.file, sys.stdin, told)
        if name:
            found = [each for each in found if each.deployment["metadata"]["name"] == name]
            if not found:
                raise SourceError(f"There is no Deployment {name} in {', '.join(options.file)}.")
    else:
        found = from_cluster(Kubectl(options.context), name, options.namespace, told)
    return [with_images(each) for each in found] if options.docker else found


def text(subject: Subject, findings: list[Finding]) -> str:
    """The findings on one Deployment, for people."""
    lines = [f"{subject.name} in {subject.namespace}: {_looked_at(subject)}"]
    if subject.unseen:
        lines.append(f"  not looked at, because kubectl is not shown them: {', '.join(subject.unseen)}")
    if not findings:
        lines.append("  nothing found that would lose a request")
    heading = None
    for each in findings:
        if each.severity is not heading:
            heading = each.severity
            lines += ["", HEADINGS[heading]]
        lines += [_wrapped(f"{each.check}: {each.what}", "  "), _wrapped(each.why, "      ")]
        target = f"{each.object} " if each.object != subject.name else ""
        lines.append(f"      -> {target}{each.path}: {each.value}")
    return "\n".join(lines)


def _looked_at(subject: Subject) -> str:
    routes = len(subject.of_kind("Ingress", "HTTPRoute"))
    parts = {"Service": len(subject.services), "PodDisruptionBudget": len(subject.budgets), "route": routes}
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in parts.items())


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text, 110, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )


def main(arguments: list[str] | None = None) -> int:
    """Examine, report; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        results = [(each, examine(each)) for each in subjects(options)]
    except SourceError as error:
        print(f"cannot check: {error}", file=sys.stderr)
        return CANNOT
    if options.json:
        report = [
            {
                "deployment": each.deployment["metadata"]["name"],
                "namespace": each.namespace,
                "findings": [finding.as_json() for finding in findings],
            }
            for each, findings in results
        ]
        print(json.dumps(report, indent=2))
    else:
        print("\n\n".join(text(*result) for result in results))
        counts = Counter(finding.severity for _, findings in results for finding in findings)
        print("\n" + ", ".join(f"{counts[each]} {HEADINGS[each].lower()}" for each in Severity))
    found = [finding for _, findings in results for finding in findings]
    return FOUND if any(each.severity.counts or options.strict for each in found) else NOTHING


if __name__ == "__main__":
    sys.exit(main())
