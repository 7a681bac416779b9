"""Command line: `python -m tools.docs run PAGE...`, `figures`, `load-tools`, `page` and `arrows`."""

import argparse
import sys
from pathlib import Path

from tools.docs import arrows, blocks, editions, figures
from tools.docs.load_counts import TOOLS

TRUE, NOT_TRUE, COULD_NOT_RUN = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tools.docs",
        description="Keep the pages in docs/ consistent with code and measurements.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a page's commands and compare what they print")
    run.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    run.add_argument(
        "--disruptive", action="store_true", help="also disruptive commands, such as a node drain"
    )
    run.add_argument("--write", action="store_true", help="put the real output into the page")
    fill = commands.add_parser("figures", help="put the measured figures into the pages")
    fill.add_argument("--course", type=Path, nargs="*", default=[], help="report folders to take over first")
    fill.add_argument("--propagation", type=Path, help="report folder to take over first")
    fill.add_argument("--bench", type=Path, help="JSON of the benchmarks' throughput to take over first")
    fill.add_argument("--check", action="store_true", help="only report which pages are not up to date")
    tools = commands.add_parser(
        "load-tools", help="run load generators during a replacement, for docs/load-tools.md"
    )
    tools.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of {', '.join(TOOLS)}; default: what is installed"
    )
    commands.add_parser("page", help="take the picture of the service's page anew; needs Chromium")
    commands.add_parser("arrows", help="draw the imports in docs/architecture.md")
    return top


def main() -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args()
    try:
        if options.command == "run":
            wrong = [
                said
                for page in options.pages
                for said in blocks.run(
                    page, figures.ROOT, rewrite=options.write, disruptive=options.disruptive
                )
            ]
            print("\n\n".join(wrong) or "all output matches the pages")
            return NOT_TRUE if wrong else TRUE
        if options.command == "load-tools":
            from tools.docs import load_tools  # it starts services as the tests do

            load_tools.measure(figures.KEPT / "load-tools.json", options.names)
            figures.fill()
        elif options.command == "page":
            from tools.docs import page_picture  # it starts a browser as the tests do

            page_picture.take(figures.PICTURES / "page.webp")
        elif options.command == "arrows":
            arrows.PAGE.write_text(arrows.filled(arrows.PAGE.read_text()))
        elif options.check:
            stale = figures.stale()
            print("\n".join(f"{page}: not as measured" for page in stale) or "all as measured")
            return NOT_TRUE if stale else TRUE
        else:
            if options.course or options.propagation or options.bench:
                figures.keep(options.course, options.propagation, options.bench)
            figures.fill()
    except (
        blocks.PageError,
        editions.EditionError,
        figures.FigureError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        print(f"guide: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    return TRUE


if __name__ == "__main__":
    sys.exit(main())
