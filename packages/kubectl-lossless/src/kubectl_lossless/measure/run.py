"""One measurement: load, a rollout, the watch during both, and the verdict."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from textwrap import shorten

from kubectl_lossless.kubectl import Kubectl, KubectlError, Object
from kubectl_lossless.measure.diagnosis import diagnose
from kubectl_lossless.measure.evidence import Evidence
from kubectl_lossless.measure.load import Load, LoadError, Local, Lost, Plan, Target
from kubectl_lossless.measure.load.connection import Connection
from kubectl_lossless.measure.load.process import Place
from kubectl_lossless.measure.pod import State
from kubectl_lossless.measure.report import Report
from kubectl_lossless.measure.rollout import wait_for_rollout
from kubectl_lossless.measure.verdict import verdict
from kubectl_lossless.measure.watch import Watch
from kubectl_lossless.measure.workload import (
    Facts,
    Reference,
    RolloutError,
    grace_of,
    refuse_unrollable,
    template,
)

LEAD = 5.0
"""Duration of the steady load before the rollout, in seconds."""

TAIL = 5.0
"""Duration of the load after the last old pod is gone, in seconds."""

CHECKS = 3
"""Number of requests to each target before anything begins."""

GIVE_UP = 60.0
"""Time without a good response after which the load ends, in seconds. A failed service needs no load."""

STUCK_FOR = 45.0
"""Time after which a stuck pod ends the measurement, in seconds: some pods wait for others to start."""

BLIND_TAIL = 60.0
"""Maximum duration of the load while pods terminate unseen, in seconds."""

PROGRESS_INTERVAL = 0.5  # seconds


class Console:
    """Output of a measurement, which discards everything."""

    def say(self, text: str) -> None:
        """Print a step."""

    def progress(self, text: str) -> None:
        """Print the counts so far, in place of the previous ones."""


@dataclass(frozen=True)
class Action:
    """Action that rolls the workload: one of these."""

    restart: bool = False
    images: tuple[str, ...] = ()
    """CONTAINER=IMAGE each."""
    manifests: tuple[str, ...] = ()
    """Files to apply."""
    wait: float | None = None
    """Timeout for the begin of a rollout from elsewhere, in seconds."""

    def words(self, reference: Reference) -> str:
        """Return the action in words."""
        if self.wait is not None:
            return f"change nothing; wait {self.wait:g} s at most for a rollout of {reference} from elsewhere"
        if self.images:
            return f"set the image of {reference}: {' '.join(self.images)}"
        if self.manifests:
            return f"apply {' '.join(self.manifests)}"
        return f"restart {reference} (kubectl rollout restart): every pod of it is replaced"

    @property
    def title(self) -> str:
        """Short form of the action, for titles."""
        if self.wait is not None:
            return "a rollout from elsewhere"
        return " ".join(self.images) or ("apply" if self.manifests else "rollout restart")


@dataclass(frozen=True)
class Measurement:
    """A measurement to make."""

    reference: Reference
    namespace: str
    plan: Plan
    action: Action
    place: Place = field(default_factory=Local)
    timeout: float = 600.0
    """Timeout of the rollout, in seconds."""


@dataclass(frozen=True)
class Outcome:
    """A report, and the facts that the exit status needs in addition to the losses."""

    report: Report
    blind: bool = False
    """True where the rollout's end could not be seen."""


def check_targets(plan: Plan, place: Place) -> None:
    """Try every target; raises LoadError for one that does not give a good response.

    Only from here: a target of a load in the cluster is not reachable from elsewhere.
    """
    if not isinstance(place, Local):
        return
    for target in dict.fromkeys(plan.targets):  # a URL may be given several times, for more clients
        for _ in range(CHECKS):
            check_target(target, plan.timeout)


def check_target(target: Target, timeout: float) -> None:
    """Send one request; raises LoadError with the remedy for a response that is not a good one."""
    try:
        with contextlib.closing(Connection(target, timeout)) as connection:
            connection.get()
    except ValueError as error:
        raise LoadError(f"--ca: {error}") from error
    except Lost as lost:
        detail = shorten(lost.detail, 100, placeholder=" ...")
        said = f"Nothing was started: {target.url} gives no good response before the rollout: {detail}."
        if lost.status:
            said += f" If status {lost.status} is right: --expect {lost.status}."
        elif "certificate" in lost.detail:
            said += " --ca FILE trusts an authority of your own."
        raise LoadError(said) from None


def prepare(asked: Measurement, kubectl: Kubectl) -> tuple[str, Object]:
    """Return the version of the cluster and the workload, where the measurement can be made.

    Raises RolloutError, KubectlError and LoadError where not.
    """
    kubernetes = kubectl.check()
    before = asked.reference.get(kubectl, asked.namespace)
    refuse_unrollable(asked.reference, before)
    check_targets(asked.plan, asked.place)
    return kubernetes, before


def measure(asked: Measurement, kubectl: Kubectl, console: Console) -> Outcome:
    """Measure one rollout.

    Raises RolloutError, KubectlError and LoadError when there is nothing to report.
    """
    reference, namespace = asked.reference, asked.namespace
    kubernetes, before = prepare(asked, kubectl)
    findings, unasked = diagnose(kubectl, reference, namespace)
    with Watch(kubectl, namespace, reference.name, reference.kind, wide=True) as watch:
        if not watch.rolled_out():
            raise RolloutError(f"A rollout of {reference} is under way already: measure when it is complete.")
        old = {pod.uid for pod in watch.present()}
        tell_unseen(watch, console)
        load = Load(asked.plan, place=asked.place)
        console.say(f"starting the load on {load.result.url}")
        with load:
            run = Run(asked, kubectl, console, watch, load, old)
            run.keep(LEAD)
            zero = run.begin(before)
            complete, problem, blind = run.follow()
            ended = run.finish(blind)
            problem = problem or ended
        after = watch.deployment
    report = made(asked, load, watch, old, zero, complete, problem, kubernetes)
    evidence = Evidence(
        load=load.result,
        pods=watch.pods,
        zero=zero,
        leaving=Facts.of(before),
        coming=Facts.of(after),
        findings=findings,
        events=watch.events,
        unseen=dict(watch.unseen),
        listed=dict(watch.listed),
    )
    found = verdict(evidence)
    notes = [*found.notes, *([unasked] if unasked else []), *stale_template(before, after, found.lost)]
    return Outcome(replace(report, verdict=replace(found, notes=notes)), blind)


def tell_unseen(watch: Watch, console: Console) -> None:
    """Report the resources that are not watched."""
    for what, said in watch.unseen.items():
        instead = "; their EndpointSlices show them in part" if what == "pods" and watch.sees_pods else ""
        console.say(
            f"the {what} cannot be watched, so the verdict does without them{instead}: {said.splitlines()[0]}"
        )


def stale_template(before: Object, after: Object, lost: int) -> list[str]:
    """Note that a rollout's losses are often those of the template that it replaced."""
    old, new = Facts.of(before), Facts.of(after)
    if not lost or (old.pre_stop, old.grace, old.image) == (new.pre_stop, new.grace, new.image):
        return []
    return [
        "The pods that terminated had the template from before this rollout. A change of how pods stop shows "
        "from the next rollout on."
    ]


class Run:
    """The load and the rollout while they run."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that run together
        self, asked: Measurement, kubectl: Kubectl, console: Console, watch: Watch, load: Load, old: set[str]
    ) -> None:
        self._asked = asked
        self._kubectl = kubectl
        self._console = console
        self._watch = watch
        self._load = load
        self._old = old
        self._due = 0.0
        self._generation = 0
        self._template: Object = {}

    def keep(self, seconds: float) -> None:
        """Continue the load for `seconds`.

        Raises LoadError if the load ends or the service fails.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tick()
            time.sleep(0.1)

    def tick(self) -> None:
        """Show progress; raise LoadError where the load must not continue."""
        if not self._load.running:
            self._load.stop()  # raises with the reason
            raise LoadError("The load ended unexpectedly.")
        result = self._load.result
        last = max(result.started, result.responses[-1].at if result.responses else 0.0)
        if result.failures and time.time() - last > GIVE_UP:
            raise ServiceDownError
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + PROGRESS_INTERVAL
            self._console.progress(self._progress())

    def _progress(self) -> str:
        result = self._load.result
        parts = [
            f"{time.time() - result.started:4.0f} s",
            f"{result.requests} requests",
            f"{result.lost} lost",
        ]
        if self._watch.sees_pods:
            present = self._watch.present()
            new = [pod for pod in present if pod.uid not in self._old]
            draining = sum(pod.state is State.DRAINING for pod in present)
            parts.append(f"old pods {len(present) - len(new)} ({draining} terminating)")
            parts.append(f"new pods {sum(pod.state is State.READY for pod in new)}/{len(new)} ready")
        return " | ".join(parts)

    def begin(self, before: Object) -> float:
        """Begin the rollout, or wait until somebody does; return when it began.

        Raises RolloutError where none begins.
        """
        asked, action = self._asked, self._asked.action
        name, namespace = f"{asked.reference.kind}/{asked.reference.name}", asked.namespace
        self._template = template(before)
        if action.wait is not None:
            return self._wait_for_another(action.wait)
        self._console.say(f"the rollout of {asked.reference} begins")
        zero = time.time()
        if action.images:
            self._kubectl("set", "image", name, *action.images, "-n", namespace)
        elif action.manifests:
            files = [word for path in action.manifests for word in ("-f", path)]
            self._kubectl("apply", *files, "-n", namespace, timeout=60)
        else:
            self._kubectl("rollout", "restart", name, "-n", namespace)
        try:
            after = asked.reference.get(self._kubectl, namespace)
        except KubectlError:
            # The change is made: the rollout is measured, and reported even if its end cannot be observed.
            self._generation = int(before["metadata"]["generation"]) + 1
            return zero
        if template(after) == self._template:
            raise RolloutError(
                f"No rollout began: {action.title} did not change the pod template of {asked.reference}."
            )
        self._generation = int(after["metadata"]["generation"])
        return zero

    def _wait_for_another(self, seconds: float) -> float:
        self._console.say(
            f"waiting {seconds:g} s at most for a rollout of {self._asked.reference} from elsewhere"
        )
        until = time.monotonic() + seconds
        while not self._watch.wait(lambda: template(self._watch.deployment) != self._template, 0.25):
            self.tick()
            if time.monotonic() > until:
                raise RolloutError(
                    f"No rollout of {self._asked.reference} began within {seconds:g} s (--wait)."
                )
        self._generation = int(self._watch.deployment["metadata"]["generation"])
        self._console.say(f"a rollout of {self._asked.reference} has begun")
        return time.time()

    def follow(self) -> tuple[float | None, str | None, bool]:
        """Follow the rollout to its end.

        Return the time at which it was complete, the reason if it failed, and true if the watch of it failed.
        """
        try:
            complete = wait_for_rollout(
                self._watch, self._generation, self._asked.timeout, self.tick, STUCK_FOR
            )
        except ServiceDownError:
            return None, self._down(), False
        except RolloutError as error:
            return None, str(error), self._watch.trouble is not None
        if template(self._watch.deployment) == self._template:
            return (
                complete,
                f"The rollout of {self._asked.reference} was undone before it was complete.",
                False,
            )
        return complete, None, False

    def finish(self, blind: bool) -> str | None:
        """Let the load run until the last old pod has had its time to end; return the reason of a failure."""
        seconds = TAIL
        if not self._watch.sees_pods or blind:
            seconds += min(grace_of(self._watch.deployment), BLIND_TAIL)
        try:
            self.keep(seconds)
        except ServiceDownError:
            return self._down()
        return None

    def _down(self) -> str:
        return (
            f"The service gave no good response for {GIVE_UP:.0f} s, so the load was ended. The rollout of "
            f"{self._asked.reference} is as it is: `kubectl rollout undo` takes it back."
        )


class ServiceDownError(LoadError):
    """The service fails, and the load must not continue."""

    def __init__(self) -> None:
        super().__init__(f"The service gave no good response for {GIVE_UP:.0f} s, so the load was ended.")


def made(  # noqa: PLR0913, PLR0917 - the parts of a report
    asked: Measurement,
    load: Load,
    watch: Watch,
    old: set[str],
    zero: float,
    complete: float | None,
    problem: str | None,
    kubernetes: str,
) -> Report:
    """Put the report together."""
    pods = watch.pods
    old_names = sorted(pod.name for pod in pods if pod.uid in old)
    versions = set(load.result.versions()) - {""}
    if not versions & {pod.version for pod in pods}:
        # The service does not name the version that its pods have: then only old and new are known.
        pods = [replace(pod, version="old" if pod.uid in old else "new") for pod in pods]
    return Report(
        title=f"{asked.reference}: {asked.action.title}",
        source="old",
        target="new",
        zero=zero,
        complete=complete,
        problem=problem,
        where="outside the cluster" if isinstance(asked.place, Local) else "in the cluster",
        kubernetes=kubernetes,
        load=load.result,
        pods=pods,
        old=old_names,
        events=watch.events,
        scaled=watch.scaled,
    )
