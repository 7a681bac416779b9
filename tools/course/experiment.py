"""One rolling update under load, from one rung to the next."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kubectl_lossless.measure.load import LoadError, Local, Mix
from kubectl_lossless.measure.load.job import Job
from kubectl_lossless.measure.load.process import Place
from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.report import Report
from kubectl_lossless.measure.rollout import wait_for_rollout
from kubectl_lossless.measure.run import Console
from kubectl_lossless.measure.watch import Watch
from kubectl_lossless.measure.workload import RolloutError
from tools.course.load import DEFAULT_MIX, Load
from tools.course.namespace import EXPERIMENT, MADE_BY
from tools.course.stage import Rung, Stage, StageError, first_to_respond
from tools.course.streams import Streams, StreamStats

LEAD = 5.0  # seconds of steady load before the update
TAIL = 5.0  # seconds of load after the end of the last old pod
PROGRESS_EVERY = 0.5  # seconds

NODEPORT, DNS, CLUSTERIP = "nodeport", "dns", "clusterip"


@dataclass(frozen=True)
class Experiment:
    """A rolling update and its load.

    `target`: destination of the requests: "nodeport" (a node's address, from here), "dns" or "clusterip" (the
    Service, from inside the cluster), or a URL. `inside` runs the load as a Job in the cluster, which dns
    and clusterip do anyway; so does nodeport if no node can be reached from here. `timeout`: of each of the
    two rollouts, in seconds.
    """

    source: Rung
    destination: Rung
    title: str = ""
    clients: Mix = field(default_factory=lambda: dict(DEFAULT_MIX))
    target: str = NODEPORT
    host: str | None = None
    inside: bool = False
    load_image: str = "localhost:5000/flask-load:latest"
    timeout: float = 240.0

    @property
    def name(self) -> str:
        """Title of the experiment; the names of its rungs if none was given."""
        return self.title or f"{self.source.name} → {self.destination.name}"


@dataclass(frozen=True)
class StreamsReport:
    """Report of one update under event streams and WebSockets."""

    stats: StreamStats
    complete: float
    """Seconds from the update's start until it was complete."""
    old_gone: float
    """Seconds from the update's start until the last old pod was gone."""

    @property
    def lossless(self) -> bool:
        """True if every client got every tick, once."""
        return self.stats.lost == self.stats.repeated == 0

    def __str__(self) -> str:
        return (
            f"{self.stats}\nold pods gone after {self.old_gone:.1f} s, complete after {self.complete:.1f} s"
        )


def run(experiment: Experiment, stage: Stage, console: Console | None = None) -> Report:
    """Run one experiment and return its report, also if the update itself fails (`Report.problem`).

    Raises StageError, KubectlError, LoadError if there is nothing to report.
    """
    console = console or Console()
    url, place = set_up(experiment, stage, console)
    with Watch(stage.kubectl, stage.namespace, stage.deployment) as watch:
        old = {pod.name for pod in watch.present()}
        where = "" if isinstance(place, Local) else ", as a Job in the cluster"
        console.say(f"{experiment.name}: {len(old)} pods are ready; starting the load on {url}{where}")
        load = Load(url, clients=experiment.clients, host=experiment.host, place=place)
        complete: float | None = None
        problem: str | None = None
        with load:
            tick = ticker(lambda: console.progress(progress(load, watch, old)))
            run_for(load, LEAD, tick)
            console.say(f"{experiment.name}: load is steady; applying {experiment.destination.name}")
            zero = time.time()
            generation = stage.apply(experiment.destination)
            try:
                complete = wait_for_rollout(watch, generation, experiment.timeout, tick)
            except RolloutError as error:
                problem = str(error)
                if "Does the image exist" in problem:
                    problem += " `make push` builds and pushes it; --image names another."
            run_for(load, TAIL, tick)
    return Report(
        title=experiment.name,
        source=experiment.source.name,
        target=experiment.destination.name,
        zero=zero,
        complete=complete,
        problem=problem,
        where="in the cluster" if isinstance(place, Job) else "outside the cluster",
        kubernetes=stage.server_version,
        load=load.result,
        pods=watch.pods,
        old=sorted(old),
    )


def run_streams(
    experiment: Experiment, events: int, sockets: int, stage: Stage, console: Console | None = None
) -> StreamsReport:
    """Run one update under `events` event streams and `sockets` WebSockets instead of requests, from here.

    Raises StageError, KubectlError, and TimeoutError if a client has no stream any more.
    """
    console = console or Console()
    url, place = set_up(experiment, stage, console)
    if isinstance(place, Job):
        raise StageError(f"Streams are opened from here, and {url} cannot be reached from here.")
    with Watch(stage.kubectl, stage.namespace, stage.deployment) as watch:
        old = {pod.name for pod in watch.present()}
        console.say(f"{experiment.name}: opening {events} event streams and {sockets} WebSockets on {url}")
        with Streams(url, events=events, sockets=sockets, host=experiment.host) as streams:
            console.say(f"{experiment.name}: all are open; applying {experiment.destination.name}")
            zero = time.time()
            generation = stage.apply(experiment.destination)
            tick = ticker(lambda: console.progress(f"{time.time() - zero:4.0f} s | {streams.stats}"))
            complete = wait_for_rollout(watch, generation, experiment.timeout, tick)
            streams.wait_until_current()
    gone = max(pod.since(State.GONE) or 0 for pod in watch.pods if pod.name in old)
    return StreamsReport(streams.stats, complete - zero, gone - zero)


def set_up(experiment: Experiment, stage: Stage, console: Console) -> tuple[str, Place]:
    """Deploy the source; return the URL to load, and the place of the load.

    Raises StageError, KubectlError.
    """
    console.say(f"{experiment.name}: applying {experiment.source.name}")
    stage.apply(experiment.source, clean=True)
    stage.wait_until_settled(experiment.timeout)
    return find_route(experiment, stage)


def find_route(experiment: Experiment, stage: Stage) -> tuple[str, Place]:
    """Return the URL to load, and the place of the load.

    Raises StageError if the service does not respond there.
    """
    job = Job(stage.kubectl, stage.namespace, experiment.load_image, annotations={MADE_BY: EXPERIMENT})
    if experiment.target in (DNS, CLUSTERIP):
        return stage.service_url(experiment.target), job
    if experiment.target != NODEPORT:
        if experiment.inside:
            return experiment.target, job
        if not first_to_respond([experiment.target], experiment.host):
            raise StageError(
                f"{experiment.target} does not respond to GET /api from here: is it the right --target?"
            )
        return experiment.target, Local()
    urls = stage.node_urls()
    if experiment.inside and urls:
        return urls[0], job
    url = first_to_respond(urls, experiment.host)
    return (url, Local()) if url else (stage.service_url(DNS), job)


def run_for(load: Load, seconds: float, tick: Callable[[], None]) -> None:
    """Continue the load for `seconds`.

    Raises LoadError if the load ends.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not load.running:
            load.stop()  # raises with the reason
            raise LoadError("The load ended unexpectedly.")
        tick()
        time.sleep(0.1)


def ticker(action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that runs `action`, but not more often than progress is shown."""
    due = 0.0

    def tick() -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + PROGRESS_EVERY
            action()

    return tick


def progress(load: Load, watch: Watch, old: set[str]) -> str:
    """Return one line with the counts so far."""
    result = load.result
    present = watch.present()
    new = [pod for pod in present if pod.name not in old]
    parts = [
        f"{time.time() - result.started:4.0f} s",
        f"{result.requests} requests",
        f"{result.lost} lost",
        *(f"{version} {count}" for version, count in sorted(result.versions().items())),
        f"old pods {len(present) - len(new)}"
        f" ({sum(pod.state is State.DRAINING for pod in present if pod.name in old)} terminating)",
        f"new pods {sum(pod.state is State.READY for pod in new)}/{len(new)} ready",
    ]
    return " | ".join(parts)
