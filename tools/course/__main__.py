"""Command line: `python -m tools.course update v2 v3`, and `--help` for the other commands."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kubectl_lossless.kubectl import KubectlError, named
from kubectl_lossless.measure import page_command
from kubectl_lossless.measure.command import Terminal
from kubectl_lossless.measure.load import LoadError
from kubectl_lossless.measure.propagation import MARGIN
from kubectl_lossless.measure.report import Report, terminal
from kubectl_lossless.measure.report.compare import Goal
from kubectl_lossless.measure.report.page import Collection, Part, write_collection, write_report
from kubectl_lossless.measure.report.timeline import timeline
from kubectl_lossless.measure.workload import RolloutError
from tools.course import replicas
from tools.course.course import PARTS, goals, onto_itself, parts
from tools.course.experiment import Experiment, run, run_streams
from tools.course.load import CLIENTS, DEFAULT_MIX, LONG_MIX, mix_from_text, mix_to_text
from tools.course.propagation import Survey, measure
from tools.course.published import published
from tools.course.stage import MANIFESTS, Rung, Stage

HELD, NOT_HELD, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tools.course",
        description="Measure rolling updates under load, on the cluster of the context that you name.",
        epilog="Exit status: 0 the goal held, 1 it did not, 2 it could not run, 130 interrupted. "
        "The cluster is left as it was found, also after Ctrl-C: a namespace that was not there is deleted, "
        "a Deployment that was there is put back. What a killed experiment could not put back, the next one "
        "does. --keep leaves all as it is.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    stage = stage_options()
    common = argparse.ArgumentParser(add_help=False, parents=[stage, load_options()])

    update = commands.add_parser(
        "update", parents=[common], help="one update from a rung to another, or itself"
    )
    add_rungs(update)
    update.add_argument("--to-image", help="image of the container flask in TO")
    update.add_argument("--min-ready-seconds", type=int, help="in FROM and TO, instead of the manifests'")
    update.add_argument("--max-lost", type=int, default=0, help="goal: requests lost at most (default: 0)")

    course = commands.add_parser("course", parents=[common], help="all rungs in turn, one report")
    course.add_argument(
        "--part", action="append", choices=PARTS, help="only this part (may be repeated; default: all)"
    )

    growth = commands.add_parser(
        "replicas",
        parents=[common],
        help="a rung onto itself with more and more pods: the time of each update beside its floor",
    )
    add_replicas_options(growth)

    spread = commands.add_parser(
        "propagation",
        parents=[stage],
        help="how long a terminating pod still gets new connections: the minimum of DRAIN_MIN",
    )
    add_propagation_options(spread)

    streams = commands.add_parser(
        "streams", parents=[common], help="one update under event streams and WebSockets instead of requests"
    )
    add_rungs(streams)
    streams.add_argument("--events", type=int, default=500, help="event streams (default: 500)")
    streams.add_argument("--sockets", type=int, default=500, help="WebSockets (default: 500)")
    streams.add_argument(
        "--set",
        action="append",
        type=setting,
        default=[],
        metavar="SETTING=VALUE",
        help="a setting of the service in FROM and TO, instead of the manifests' (may be repeated)",
    )

    again = commands.add_parser("page", help="build the page and chart of a report.json again")
    again.add_argument("report", type=Path)
    return top


def stage_options() -> argparse.ArgumentParser:
    """Create the options of every command on a cluster."""
    options = argparse.ArgumentParser(add_help=False)
    stage = options.add_argument_group("what is rolled out")
    stage.add_argument("--manifests", type=Path, default=MANIFESTS, help="folder of the rungs (default: k8s)")
    stage.add_argument("--image", help="image of the container flask, instead of the manifests'")
    stage.add_argument("--envoy-image", help="image of the sidecar envoy, instead of the manifests'")
    stage.add_argument("--context", help="kubectl context of the cluster; always needed")
    stage.add_argument(
        "--yes",
        action="store_true",
        help="continue without asking in a namespace that holds objects that no experiment has created",
    )
    stage.add_argument("--timeout", type=float, default=240.0, help="seconds for each rollout (default: 240)")
    stage.add_argument("--keep", action="store_true", help="leave the cluster as the experiment left it")
    options.add_argument("--output", type=Path, help="report folder (default: reports/TIME-NAME)")
    options.add_argument(
        "--load-image",
        default=Experiment.load_image,
        help=f"image for a load in the cluster, from make push-load (default: {Experiment.load_image})",
    )
    return options


def load_options() -> argparse.ArgumentParser:
    """Create the options of the load."""
    options = argparse.ArgumentParser(add_help=False)
    load = options.add_argument_group("load")
    load.add_argument(
        "--clients",
        type=mix,
        default=dict(DEFAULT_MIX),
        metavar="KIND=N,...",
        help=f"clients of each kind (default: {mix_to_text(DEFAULT_MIX)}); kinds: "
        + "; ".join(f"{client.name}: {client.description}" for client in CLIENTS.values()),
    )
    load.add_argument(
        "--long", action="store_true", help=f"also requests of 4 and 5 s: {mix_to_text(LONG_MIX)}"
    )
    load.add_argument(
        "--target",
        default="nodeport",
        help="target of requests: nodeport (default; from inside the cluster where no node is reachable "
        "from here), dns or clusterip (the Service, from inside), or a URL",
    )
    load.add_argument("--host", help="Host header, for a URL of an Ingress")
    load.add_argument("--where", choices=("auto", "in-cluster"), default="auto", help="where the load runs")
    return options


def add_rungs(command: argparse.ArgumentParser) -> None:
    """Add the two rungs of an update."""
    command.add_argument("source", metavar="FROM", help="v1 ... v7, or the path of a manifest")
    command.add_argument("destination", metavar="TO", help="the same again rolls it onto itself")


def add_replicas_options(command: argparse.ArgumentParser) -> None:
    """Add the rung and the numbers of pods."""
    command.add_argument("rung", metavar="RUNG", nargs="?", default="v5", help="v1 ... v7 (default: v5)")
    command.add_argument(
        "--numbers",
        type=numbers,
        default=list(replicas.NUMBERS),
        metavar="N,...",
        help=f"numbers of pods (default: {','.join(map(str, replicas.NUMBERS))})",
    )
    command.add_argument(
        "--strategy",
        default="25%/0",
        metavar="SURGE/UNAVAILABLE",
        help="maxSurge and maxUnavailable, in pods or percent (default: 25%%/0)",
    )
    command.add_argument(
        "--min-ready-seconds", type=int, default=0, help="instead of the manifest's (default: 0)"
    )


def add_propagation_options(command: argparse.ArgumentParser) -> None:
    """Add the rung, the number of pods to delete, and the routes to measure."""
    command.add_argument("rung", metavar="RUNG", nargs="?", default="v5", help="what to deploy (default: v5)")
    command.add_argument(
        "--pods", type=int, default=6, help="pods to delete, one after the other (default: 6)"
    )
    command.add_argument(
        "--route",
        type=route,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a route to the service in addition to the nodes' ports, such as an Ingress (may be repeated)",
    )
    command.add_argument("--inside", action="store_true", help="also by the Service's name in the cluster")


def mix(text: str) -> dict[str, int]:
    """Parse a mix of clients: argparse prints only its own kind of error in full."""
    try:
        return mix_from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def numbers(text: str) -> list[int]:
    """Parse numbers of pods."""
    found = text.split(",")
    if not all(number.isdecimal() and int(number) for number in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form N,... with numbers from 1")
    return [int(number) for number in found]


def route(text: str) -> tuple[str, str]:
    """Parse a route: a name and a URL."""
    name, _, url = text.partition("=")
    if not name or not url.startswith("http://"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a route; allowed is NAME=http://...")
    return name, url


def setting(text: str) -> tuple[str, str]:
    """Parse one of the service's settings."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form SETTING=VALUE")
    return name, value


def experiment(options: argparse.Namespace, source: Rung, destination: Rung) -> Experiment:
    """Create the experiment of the options."""
    return Experiment(
        source=replace(source, envoy_image=options.envoy_image),
        destination=replace(destination, envoy_image=options.envoy_image),
        clients={**options.clients, **(LONG_MIX if options.long else {})},
        target=options.target,
        host=options.host,
        inside=options.where == "in-cluster",
        load_image=options.load_image,
        timeout=options.timeout,
    )


def between(options: argparse.Namespace, source: Rung, destination: Rung) -> Experiment:
    """Create the experiment from one rung to another; onto itself a rung gets another version."""
    if destination == source:
        destination = onto_itself(source)
    return experiment(options, source, destination)


def folder(options: argparse.Namespace, name: str) -> Path:
    """Return the folder of the report."""
    if options.output:
        return Path(options.output)
    return Path("reports") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{name}"


def update(options: argparse.Namespace, stage: Stage, console: Terminal) -> int:
    """Run one update; return the exit status."""
    source = Rung(options.source, options.image, options.min_ready_seconds)
    destination = replace(source, name=options.destination, image=options.to_image or options.image)
    report = run(between(options, source, destination), stage, console)
    where = folder(options, f"{Path(report.source).stem}-{Path(report.target).stem}")
    write_report(where, report)
    sentence = (
        f"{report.load.lost} of {report.load.requests:,} requests lost; at most {options.max_lost} may be"
    )
    goal = Goal(sentence, report.problem is None and report.load.lost <= options.max_lost)
    finish([report], [goal], where)
    return HELD if goal.held else NOT_HELD


def streams(options: argparse.Namespace, stage: Stage, console: Terminal) -> int:
    """Run one update under event streams and WebSockets; return the exit status."""
    source = Rung(options.source, options.image, settings=tuple(options.set))
    asked = between(options, source, replace(source, name=options.destination))
    report = run_streams(asked, options.events, options.sockets, stage, console)
    print(report)
    return HELD if report.lossless else NOT_HELD


def course(options: argparse.Namespace, stage: Stage, console: Terminal) -> int:
    """Run all rungs in turn; return the exit status."""
    where = folder(options, "course")
    base = experiment(options, Rung("", options.image), Rung(""))
    found: list[tuple[str, Report]] = []
    shown: list[Part] = []
    for part in parts(base, options.part or PARTS):
        reports: list[Report] = []
        shown.append(Part(part.title, part.introduction, reports, part.name))
        for number, each in enumerate(part.experiments, 1):
            report = run(each, stage, console)
            reports.append(report)
            found.append((part.name, report))
            write_report(where / f"{part.name}-{number}-{report.source}-{report.target}", report)
            # Written after each, so that an interrupted course has its page too.
            title = "The seven Deployments under load"
            write_collection(where, Collection(title, shown, goals(found), published()))
    held = goals(found)
    finish([report for _, report in found], held, where)
    return HELD if all(goal.held for goal in held) else NOT_HELD


def growth(options: argparse.Namespace, stage: Stage, console: Terminal) -> int:
    """Run an update for each number of pods; return the exit status."""
    source = Rung(options.rung, options.image, options.min_ready_seconds)
    base = experiment(options, source, source)
    try:
        planned = list(replicas.updates(base, options.numbers, options.strategy))
    except ValueError as error:
        console.say(f"--strategy: {error}")
        return COULD_NOT_RUN
    where = folder(options, "replicas")
    rows = []
    for each, pace in planned:
        report = run(each, stage, console)
        write_report(where / f"{len(report.old)}-pods", report)
        rows.append(replicas.Row.of(report, each.source, pace))
        console.say(f"{each.name}: {rows[-1]}")
    print(terminal.table([replicas.HEADINGS, *(row.cells() for row in rows)]))
    print(f"\n{where}", flush=True)
    return HELD if all(row.lost == 0 and row.old_gone is not None for row in rows) else NOT_HELD


def propagation(options: argparse.Namespace, stage: Stage, console: Terminal) -> int:
    """Measure how long a terminating pod still gets new connections; return the exit status."""
    if options.pods < 1:
        console.say(f"--pods is {options.pods}; allowed are whole numbers from 1")
        return COULD_NOT_RUN
    survey = Survey(
        Rung(options.rung, options.image, envoy_image=options.envoy_image),
        options.pods,
        dict(options.route),
        inside=options.inside,
        load_image=options.load_image,
        timeout=options.timeout,
    )
    found = measure(survey, stage, console)
    where = folder(options, "propagation")
    where.mkdir(parents=True, exist_ok=True)
    (where / "propagation.json").write_text(found.to_json())
    (where / "propagation.svg").write_text(timeline(found))
    print(terminal.table(found.table()))
    print(f"\n{sum(found.lost.values())} of {found.requests:,} requests lost")
    if found.lost:
        print(f"The times are too short, or the cluster is overloaded: lost on {'; '.join(found.lost)}")
        return NOT_HELD
    print(f"DRAIN_MIN (or preStop sleep) of at least {found.drain_min} s: {MARGIN:g} times the longest")
    print(f"\n{where}/propagation.svg", flush=True)
    return HELD


def asker(options: argparse.Namespace, console: Terminal) -> Callable[[str], bool]:
    """Return the function that asks whether to go ahead: --yes is a yes, a stdin that is no terminal a no."""

    def ask(fact: str) -> bool:
        if options.yes:
            console.say(fact)
            return True
        if not sys.stdin.isatty():
            return False
        console.say(f"{fact}\nGo ahead? [y/N]")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask


def finish(reports: list[Report], held: list[Goal], where: Path) -> None:
    """Print the outcome, and the path of the page."""
    print(terminal.text(reports, held, published()))
    print(f"\n{where}/index.html", flush=True)


def interrupted(*_: object) -> None:
    """End the experiment, on SIGTERM as on Ctrl-C; a second signal does not end the restoration."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run one command; return the exit status."""
    options = parser().parse_args()
    if options.command == "page":
        return page_command.build(options.report)
    commands: dict[str, Callable[[argparse.Namespace, Stage, Terminal], int]] = {
        "update": update,
        "streams": streams,
        "course": course,
        "propagation": propagation,
        "replicas": growth,
    }
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    console = Terminal()
    try:
        with contextlib.ExitStack() as stack:
            stage = Stage(
                named(options.context),
                options.manifests,
                keep=options.keep,
                ask=asker(options, console),
                say=console.say,
            )
            return commands[options.command](options, stack.enter_context(stage), console)
    except KeyboardInterrupt:
        console.say("interrupted")
        return INTERRUPTED
    except (KubectlError, RolloutError, LoadError, TimeoutError) as error:
        console.say(str(error))
        return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
