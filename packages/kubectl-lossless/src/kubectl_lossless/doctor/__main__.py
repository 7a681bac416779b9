"""The command line: `kubectl lossless doctor deploy/web -n shop`, `kubectl lossless doctor -f k8s/`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from kubectl_lossless.completers import choices, complete_with, contexts, files, namespaces, workloads
from kubectl_lossless.doctor import checks
from kubectl_lossless.doctor.checks import Result, examine
from kubectl_lossless.doctor.finding import Severity
from kubectl_lossless.doctor.formats import FORMATS
from kubectl_lossless.doctor.report import Report, Status
from kubectl_lossless.doctor.server.model import Overrides
from kubectl_lossless.doctor.source.cluster import from_cluster
from kubectl_lossless.doctor.source.docker import with_images
from kubectl_lossless.doctor.source.files import SUFFIXES, from_files
from kubectl_lossless.doctor.source.loaded import Loaded, Refused, SourceError
from kubectl_lossless.doctor.source.selection import Selection
from kubectl_lossless.kubectl import Kubectl

NEVER = "never"

EPILOG = """\
exit status:
  0    nothing at or above --fail-on was found
  1    something was found
  2    something could not be checked: no YAML, a field of a wrong type, no cluster, a wrong option
  130  interrupted

An object's annotation lossless.dev/ignore leaves out a check, with a reason: a line `check: reason` for each.
`kubectl lossless doctor --list` prints the checks with their reasons.
"""


def seconds(text: str) -> float:
    """Read an option's seconds."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) > 86400:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed are seconds from 0 to 86400")
    return float(text)


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = argparse.ArgumentParser(
        prog="kubectl lossless doctor",
        description="Report what in a workload loses requests when its pods are replaced, why, and "
        "the line to change. "
        "Nothing is changed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    complete_with(
        found.add_argument(
            "workload",
            nargs="*",
            help="deploy/web, sts/db, ds/..., rollout/..., dc/..., or a name (default: all of the namespace)",
        ),
        workloads("deployments", "statefulsets", "daemonsets"),
    )
    complete_with(
        found.add_argument("-n", "--namespace", default="", help="default: kubectl's, or any in files"),
        namespaces,
    )
    complete_with(
        found.add_argument("--context", help="kubectl context (default: the current one)"), contexts
    )
    complete_with(
        found.add_argument(
            "-f",
            "--file",
            "--filename",
            action="append",
            nargs="+",
            default=[],
            metavar="FILE",
            help="manifests in place of a cluster: files, folders, - for standard input",
        ),
        files,
    )
    complete_with(
        found.add_argument(
            "-k", "--kustomize", default="", metavar="DIR", help="build DIR with kustomize, and check that"
        ),
        files,
    )
    complete_with(
        found.add_argument("-o", "--output", choices=FORMATS, default="text", help="format (default: text)"),
        choices(*FORMATS),
    )
    found.add_argument(
        "--json", action="store_const", const="json", dest="output", help="the same as -o json"
    )
    found.add_argument(
        "--fail-on",
        choices=[*(each.value for each in Severity), NEVER],
        default=Severity.RISKS.value,
        help="lowest severity with exit status 1 (default: risks)",
    )
    found.add_argument(
        "--strict",
        action="store_const",
        const=Severity.UNKNOWN.value,
        dest="fail_on",
        help="the same as --fail-on unknown",
    )
    found.add_argument(
        "--ignore",
        action="append",
        default=[],
        choices=checks.NAMES,
        metavar="CHECK",
        help="leave out a check",
    )
    found.add_argument("--list", action="store_true", help="print the checks with their reasons")
    found.add_argument(
        "--docker", action="store_true", help="read with docker which command the images start"
    )
    known = found.add_argument_group("settings of a server that is configured in its image")
    known.add_argument(
        "--drain-max", type=seconds, metavar="S", help="maximum duration of its own drain, in seconds"
    )
    known.add_argument(
        "--graceful-timeout",
        type=seconds,
        metavar="S",
        help="timeout of requests in flight after the drain, in seconds",
    )
    known.add_argument(
        "--keepalive", type=seconds, metavar="S", help="timeout of idle connections, in seconds"
    )
    return found


def files_and_words(groups: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the files among what stands behind each -f, and the names of workloads that follow them."""
    files: list[str] = []
    words: list[str] = []
    for first, *rest in groups:
        files.append(first)
        for each in rest:
            is_file = each == "-" or Path(each).suffix in SUFFIXES or Path(each).exists()
            (files if is_file else words).append(each)
    return files, words


def load(options: argparse.Namespace) -> Loaded:
    """Return the workloads that the options name. Raises SourceError."""
    overrides = Overrides(options.drain_max, options.graceful_timeout, options.keepalive)
    files, words = files_and_words(options.file)
    words = [*options.workload, *words]
    selection = Selection(words, options.namespace, files, options.kustomize)
    if options.file or options.kustomize:
        loaded = from_files(selection, sys.stdin.buffer, overrides)
    else:
        loaded = from_cluster(selection, Kubectl(options.context), overrides)
    return with_images(loaded) if options.docker else loaded


def examined(loaded: Loaded, ignore: tuple[str, ...]) -> tuple[list[Result], list[Refused]]:
    """Run the checks on all workloads; a check that fails is reported with its object."""
    results, refused = [], []
    for each in loaded.workloads:
        try:
            results.append(examine(each, ignore))
        except Exception as error:  # noqa: BLE001 - a traceback would look like "found something"
            reason = f"cannot be checked, because of an error in the doctor ({type(error).__name__}: {error})"
            refused.append(Refused(reason, each.name, each.document.file, each.document.line()))
    return results, refused


def listed() -> str:
    """Return the checks with their reasons."""
    width = max(map(len, checks.NAMES)) + 2
    return "\n".join(
        textwrap.fill(
            checks.reason(each),
            110,
            initial_indent=checks.name(each).ljust(width),
            subsequent_indent=" " * width,
        )
        for each in checks.CHECKS
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, report, and return the exit status."""
    try:
        return _run(parser().parse_intermixed_args(arguments))
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. Python would report it again when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.NOT_CHECKED


def _run(options: argparse.Namespace) -> int:
    if options.list:
        print(listed(), flush=True)
        return Status.PASSED
    try:
        loaded = load(options)
    except SourceError as error:
        print(f"cannot check: {error}", file=sys.stderr)
        return Status.NOT_CHECKED
    except Exception as error:  # noqa: BLE001 - as in `examined`
        print(
            f"cannot check, because of an error in the doctor: {type(error).__name__}: {error}",
            file=sys.stderr,
        )
        return Status.NOT_CHECKED
    results, refused = examined(loaded, tuple(options.ignore))
    fail_on = None if options.fail_on == NEVER else Severity(options.fail_on)
    report = Report(results, loaded.skipped, [*loaded.refused, *refused], fail_on)
    print(FORMATS[options.output](report), flush=True)
    for each in report.refused:
        print(f"cannot check: {each}", file=sys.stderr)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
