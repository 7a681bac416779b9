"""`kubectl lossless measure`: the command line."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from kubectl_lossless.completers import choices, complete_with, contexts, files, namespaces, workloads
from kubectl_lossless.kubectl import Kubectl, KubectlError
from kubectl_lossless.measure.load import KINDS, LoadError, Local, Plan, Target, general, ranges, slow
from kubectl_lossless.measure.load.job import Job
from kubectl_lossless.measure.load.process import Place
from kubectl_lossless.measure.report import formats
from kubectl_lossless.measure.report.page import write_report
from kubectl_lossless.measure.run import Action, Console, Measurement, measure, prepare
from kubectl_lossless.measure.workload import ROLLOUT, Reference, RolloutError

HELD, NOT_HELD, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130
PROGRESS_LINE_INTERVAL = 5.0  # seconds, where the output is no terminal
MOST_RPS, MOST_CONNECTIONS = 1000.0, 1000
LARGEST_BODY = 65536
"""Bytes."""


class Terminal(Console):
    """Output on stderr: steps as lines, progress as one line that is overwritten."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._due = 0.0

    def say(self, text: str) -> None:
        """Print a step."""
        print(f"{self._clear()}{text}", file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """Print the counts so far."""
        if self._terminal:
            print(f"{self._clear()}{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + PROGRESS_LINE_INTERVAL
            print(f"  {text}", file=sys.stderr, flush=True)

    def result(self, text: str) -> None:
        """Print the result to stdout, in place of the counts."""
        print(self._clear(), end="", file=sys.stderr, flush=True)
        print(text, flush=True)

    def _clear(self) -> str:
        return "\r\033[K" if self._terminal else ""


def number(low: float, high: float, *, whole: bool = False) -> Callable[[str], float]:
    """Return the argument type of a number in a range."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high or (whole and value != int(value)):
            kind = "whole numbers" if whole else "numbers"
            raise argparse.ArgumentTypeError(f"{text!r}; allowed are {kind} from {low:g} to {high:g}")
        return int(value) if whole else value

    return read


def argument(read: Callable[[str], object]) -> Callable[[str], object]:
    """Return an argument type whose ValueError argparse prints in full.

    Of its own accord argparse does so only for ArgumentTypeError.
    """

    def checked(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def header(text: str) -> tuple[str, str]:
    """Read NAME: VALUE."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or any(ord(each) < 32 for each in text):
        raise ValueError(f"{text!r} is no header; allowed is NAME: VALUE")
    return name.strip(), value.strip()


def kinds(text: str) -> tuple[str, ...]:
    """Read KIND,..."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for each in found:
        if each not in KINDS:
            raise ValueError(f"{each!r} is no kind of client; allowed are {', '.join(KINDS)}")
    return found


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Add the options that name the workload."""
    complete_with(
        command.add_argument(
            "workload",
            metavar="KIND/NAME",
            type=argument(Reference.of),
            help="deploy/NAME, statefulset/NAME or rollout/NAME",
        ),
        workloads("deployments", "statefulsets"),
    )
    complete_with(
        command.add_argument("-n", "--namespace", help="namespace (default: the context's)"), namespaces
    )
    complete_with(
        command.add_argument("--context", help="kubectl context (default: the current one)"), contexts
    )
    command.add_argument("-y", "--yes", action="store_true", help="do not ask before the cluster is changed")


def add_requests(command: argparse.ArgumentParser) -> None:
    """Add the options of a request."""
    request = command.add_argument_group("the request")
    request.add_argument(
        "--url",
        action="append",
        required=True,
        metavar="URL",
        help="URL to request, http or https (may be repeated)",
    )
    request.add_argument(
        "--host", help="Host header, and the name in TLS: for an ingress that is reached by its address"
    )
    complete_with(
        request.add_argument("--ca", metavar="FILE", help="also trust the certificates in this PEM file"),
        files,
    )
    request.add_argument(
        "--insecure", action="store_true", help="do not check certificates; the report notes it"
    )
    request.add_argument("-X", "--method", default="GET", help="HTTP method (default: GET)")
    request.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        type=argument(header),
        metavar="NAME: VALUE",
        help="may be repeated",
    )
    request.add_argument("-d", "--data", metavar="TEXT", help="body; @FILE reads it from a file")
    request.add_argument(
        "--expect",
        type=argument(ranges),
        metavar="STATUS,...",
        help="statuses of a good response (default: 200-399)",
    )
    request.add_argument(
        "--version-header", metavar="NAME", help="header that names the version of the responding pod"
    )
    request.add_argument(
        "--version-field", metavar="NAME", help="field of a JSON response with the version (default: version)"
    )
    request.add_argument(
        "--request-timeout",
        type=number(0.1, 300),
        default=10.0,
        metavar="S",
        help="timeout of a response, in seconds (default: 10)",
    )


def add_rollout(command: argparse.ArgumentParser) -> None:
    """Add the options of the rollout."""
    action = command.add_argument_group(
        "the rollout (default: kubectl rollout restart)"
    ).add_mutually_exclusive_group()
    action.add_argument(
        "--image", action="append", metavar="CONTAINER=IMAGE", help="set this image (may be repeated)"
    )
    complete_with(
        action.add_argument(
            "--apply", action="append", metavar="FILE", help="apply this manifest (may be repeated)"
        ),
        files,
    )
    action.add_argument(
        "--wait",
        nargs="?",
        const=600.0,
        type=number(1, 86400),
        metavar="S",
        help="change nothing; wait for a rollout that something else starts (default: 600 seconds at most)",
    )
    command.add_argument(
        "--timeout",
        type=number(1, 7200),
        default=600.0,
        metavar="S",
        help="timeout of the rollout, in seconds (default: 600)",
    )


def add_load(command: argparse.ArgumentParser) -> None:
    """Add the options of the load."""
    load = command.add_argument_group("the load")
    load.add_argument(
        "--rps",
        type=number(0.5, MOST_RPS),
        default=20.0,
        help="requests per second, of all clients together (default: 20)",
    )
    load.add_argument(
        "--connections",
        type=number(1, MOST_CONNECTIONS, whole=True),
        default=10,
        help="connections that are kept open (default: 10)",
    )
    complete_with(
        load.add_argument(
            "--clients",
            type=argument(kinds),
            default=("new", "busy", "idle"),
            metavar="KIND,...",
            help="kinds of clients (default: new,busy,idle): new connects for each request, busy keeps its "
            "connection, idle keeps it and pauses, slow sends the requests of --slow-url",
        ),
        choices(*KINDS),
    )
    load.add_argument(
        "--slow-url",
        action="append",
        default=[],
        metavar="URL",
        help="a URL whose response takes long by design; two clients request it, or one for each --slow-url",
    )
    load.add_argument(
        "--slow-takes",
        type=number(0.1, 300),
        default=5.0,
        metavar="S",
        help="duration of its response, in seconds (default: 5)",
    )
    load.add_argument(
        "--in-cluster", action="store_true", help="run the load as a Job in the workload's namespace"
    )
    load.add_argument(
        "--load-image", metavar="IMAGE", help="image of that Job; docs/lossless.md says how to build it"
    )


def add_result(command: argparse.ArgumentParser) -> None:
    """Add the options of the goal and the report."""
    result = command.add_argument_group("the result")
    result.add_argument(
        "--max-lost",
        type=number(0, 1e9, whole=True),
        default=0,
        metavar="N",
        help="requests lost at most (default: 0)",
    )
    complete_with(
        result.add_argument(
            "-o",
            "--output",
            choices=formats.FORMATS,
            default="text",
            help="format written to stdout (default: text)",
        ),
        choices(*formats.FORMATS),
    )
    complete_with(
        result.add_argument(
            "--report",
            type=Path,
            metavar="DIR",
            help="folder of the page and the other files (default: lossless-NAME-TIME)",
        ),
        files,
    )


def parser() -> argparse.ArgumentParser:
    """Return the options of `measure`."""
    command = argparse.ArgumentParser(
        prog="kubectl lossless measure",
        description="Roll a workload under a light load and report how many requests the rollout loses, and "
        "why.",
        epilog="Exit status: 0 the rollout completed and lost no more than --max-lost, 1 it did not, 2 it "
        "could not be measured, 130 interrupted. Nothing in the cluster is changed but what you ask for; a "
        "load in the cluster is removed at the end.",
    )
    add_cluster(command)
    add_requests(command)
    add_rollout(command)
    add_load(command)
    add_result(command)
    return command


def targets_of(options: argparse.Namespace) -> tuple[list[Target], int]:
    """Return the targets, those of --slow-url last, and the number of the others.

    Raises ValueError, OSError.
    """
    body = options.data or ""
    if body.startswith("@"):
        body = Path(body[1:]).read_text()
    if len(body.encode()) > LARGEST_BODY:
        raise ValueError(f"--data is {len(body.encode())} bytes; allowed are {LARGEST_BODY}")
    if options.ca and options.insecure:
        raise ValueError("--ca and --insecure contradict each other: leave one out")
    shared: dict[str, object] = {
        "ca": Path(options.ca).read_text() if options.ca else "",
        "insecure": options.insecure,
        "method": options.method.upper(),
        "headers": tuple(options.header),
        "body": body,
    }
    if not options.method.isalpha():
        raise ValueError(f"--method is {options.method!r}; allowed are letters, as in POST")
    if options.expect:
        shared["expect"] = options.expect
    if options.version_header:
        shared |= {"version_headers": (options.version_header,), "version_fields": ()}
    if getattr(options, "pod_header", None):
        shared |= {"pod_headers": (options.pod_header,), "pod_fields": ()}
    if getattr(options, "pod_field", None):
        shared |= {"pod_fields": (options.pod_field,), "pod_headers": ()}
    if options.version_field:
        shared |= {"version_fields": (options.version_field,), "version_headers": ()}
    found = [Target.of(url, options.host, **shared) for url in (*options.url, *options.slow_url)]
    if options.ca:
        try:
            found[0].context()
        except ValueError as error:
            raise ValueError(f"--ca {options.ca}: {error}") from None
    return found, len(options.url)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the load that the options ask for. Raises ValueError, OSError."""
    targets, usual = targets_of(options)
    wanted = options.clients
    if options.slow_url and "slow" not in wanted:
        wanted = (*wanted, "slow")
    if "slow" in wanted and not options.slow_url:
        raise ValueError("the client slow needs --slow-url, a URL whose response takes long by design")
    clients = general(options.rps, options.connections, wanted, range(usual))
    if options.slow_url:
        clients.append(slow(range(usual, len(targets)), options.slow_takes))
    return Plan(tuple(targets), tuple(clients), options.request_timeout)


def action_of(options: argparse.Namespace) -> Action:
    """Return the action that rolls the workload. Raises ValueError."""
    for image in options.image or ():
        container, equals, name = image.partition("=")
        if not (container and equals and name):
            raise ValueError(f"--image is {image!r}; allowed is CONTAINER=IMAGE")
    for path in options.apply or ():
        if not Path(path).exists():
            raise ValueError(f"--apply is {path!r}: there is no such file")
    return Action(
        restart=not (options.image or options.apply or options.wait),
        images=tuple(options.image or ()),
        manifests=tuple(options.apply or ()),
        wait=options.wait,
    )


def cluster_of(options: argparse.Namespace) -> tuple[Kubectl, str]:
    """Return kubectl of the context, by its name, and the namespace. Raises KubectlError."""
    reader = Kubectl()
    context = options.context or reader("config", "current-context").strip()
    kubectl = Kubectl(context)
    namespace = options.namespace
    if not namespace:
        path = f'jsonpath={{.contexts[?(@.name=="{context}")].context.namespace}}'
        namespace = kubectl("config", "view", "-o", path).strip() or "default"
    return kubectl, namespace


def ask(question: str, console: Console, *, yes: bool) -> bool:
    """Return whether to go ahead: --yes is a yes, a stdin that is no terminal a no."""
    console.say(question)
    if yes:
        return True
    if not sys.stdin.isatty():
        return False
    print("Go ahead? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def place_of(options: argparse.Namespace, kubectl: Kubectl, namespace: str) -> Place:
    """Return where the load runs. Raises ValueError."""
    if not options.in_cluster:
        return Local()
    if not options.load_image:
        raise ValueError("--in-cluster needs --load-image, the image of the load (docs/lossless.md)")
    return Job(
        kubectl,
        namespace,
        options.load_image,
        name=f"lossless-load-{options.workload.name}"[:50].rstrip("-."),
    )


def words(asked: Measurement, kubectl: Kubectl, options: argparse.Namespace) -> str:
    """Return the action and its cluster, as a sentence."""
    load = ", ".join(f"{count} {kind}" for kind, count in asked.plan.mix.items())
    lines = [
        f"context {kubectl.context} ({kubectl.server}), namespace {asked.namespace}",
        asked.action.words(asked.reference),
        f"load: {options.rps:g} requests/s by {load}, on "
        f"{', '.join(dict.fromkeys(t.url for t in asked.plan.targets))}",
    ]
    if options.in_cluster:
        lines.append("a Job and a Secret of the load are created there, and deleted at the end")
    if options.insecure and any(target.tls for target in asked.plan.targets):
        lines.append("certificates are NOT checked (--insecure)")
    return "\n".join(lines)


def interrupted(*_: object) -> None:
    """End as Ctrl-C does; one more signal does not end the cleaning up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(options: argparse.Namespace, console: Terminal) -> int:
    """Measure, report; return the exit status."""
    plan, action = plan_of(options), action_of(options)
    kubectl, namespace = cluster_of(options)
    place = place_of(options, kubectl, namespace)
    if options.workload.kind == ROLLOUT and (action.restart or action.images):
        raise ValueError(
            f"{options.workload} cannot be rolled by kubectl, which knows no Argo Rollouts: --wait "
            "waits for a rollout that something else starts, --apply FILE applies a manifest"
        )
    asked = Measurement(options.workload, namespace, plan, action, place, options.timeout)
    prepare(asked, kubectl)  # before the question: who says yes should not get a refusal then
    if not ask(words(asked, kubectl, options), console, yes=options.yes or action.wait is not None):
        console.say("Nothing was changed; --yes continues without asking.")
        return COULD_NOT_RUN
    outcome = measure(asked, kubectl, console)
    report = outcome.report
    held = report.problem is None and report.load.lost <= options.max_lost
    folder = options.report or Path(
        f"lossless-{options.workload.name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    )
    summary = formats.Summary(
        report, kubectl.context or "", namespace, str(options.workload), options.max_lost, held
    )
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    write_report(folder, report, summary.goal)
    for name, text in summary.files().items():
        (folder / name).write_text(text)
    console.result(summary.text_of(options.output))
    console.say(f"{folder}/index.html")
    return COULD_NOT_RUN if outcome.blind else HELD if held else NOT_HELD


def guarded(work: Callable[[Terminal], int], what: str) -> int:
    """Run the work; return its exit status, or that of the error that ended it, printed as a sentence."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupted)
    console = Terminal()
    try:
        return work(console)
    except KeyboardInterrupt:
        console.say(f"interrupted; {what}")
        return INTERRUPTED
    except KubectlError as error:
        console.say(error.short)
    except (ValueError, OSError, RolloutError, LoadError) as error:
        console.say(str(error))
    return COULD_NOT_RUN


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    options = parser().parse_args(arguments)
    return guarded(
        lambda console: run(options, console),
        f"the load has ended. A rollout of {options.workload} that has begun continues: `kubectl rollout "
        f"undo` takes it back.",
    )
