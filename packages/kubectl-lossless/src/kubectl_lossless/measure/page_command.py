"""`kubectl lossless page`: the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kubectl_lossless.completers import complete_with, files
from kubectl_lossless.measure.command import COULD_NOT_RUN, HELD
from kubectl_lossless.measure.report import report_json
from kubectl_lossless.measure.report.page import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the page of a report.json again; return the exit status."""
    return build(parser().parse_args(arguments).report)


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = argparse.ArgumentParser(
        prog="kubectl lossless page", description="Build the page of a report.json again."
    )
    complete_with(found.add_argument("report", type=Path, metavar="FILE", help="a report.json"), files)
    return found


def build(path: Path) -> int:
    """Build the page of a report.json again; return the exit status."""
    try:
        write_report(path.parent, report_json.read(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{path} is no report: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    print(path.parent / "index.html")
    return HELD
