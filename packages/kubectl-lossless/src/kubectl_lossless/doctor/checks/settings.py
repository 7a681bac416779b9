"""Checks of a server's settings: with which it starts, and with which it ends its workers."""

from __future__ import annotations

from collections.abc import Iterator

from kubectl_lossless.doctor.container import Container
from kubectl_lossless.doctor.finding import Change, Finding, Severity
from kubectl_lossless.doctor.server.images import wrong_image
from kubectl_lossless.doctor.server.in_front import RELOADERS
from kubectl_lossless.doctor.server.start import AS_EXECUTABLE, cannot_execute, cannot_start
from kubectl_lossless.doctor.shell.dash import not_in_dash
from kubectl_lossless.doctor.shell.tokens import Shell
from kubectl_lossless.doctor.workload import Workload

SH = ("sh", "/bin/sh")
"""Ways to write an image's sh in a command."""


def settings(workload: Workload) -> Iterator[Finding]:
    """The server refuses its settings, or its command or image cannot start, so no new pod does; or a setting
    is misspelt, so its default applies.
    """
    # Those that serve no requests are checked once.
    first = workload.app.name == workload.servers[0].name
    names = {each.name for each in workload.servers} - {workload.app.name}
    for each in [*workload.containers, *workload.init_containers]:
        if each.name == workload.app.name or (first and each.name not in names):
            yield from _not_started(each, workload)
    yield from _lacking_in_dash(workload.app)
    for wrong in workload.server.wrong:
        yield Finding(
            Severity.LOSES,
            f"The container {workload.app.name} does not start: {wrong}.",
            "A pod that never becomes ready stops the rollout; with maxUnavailable, or where pods are "
            "evicted, the remaining ones have to carry everything.",
            (*workload.app.path, workload.server.setting),
            advice="a value that is allowed",
        )
    for ignored in workload.server.ignored:
        yield Finding(
            Severity.ADVICE,
            f"{ignored}.",
            "A setting under another name leaves its default in force.",
            (*workload.app.path, workload.server.setting),
            advice="the name of the setting",
        )


def _not_started(each: Container, workload: Workload) -> Iterator[Finding]:
    """Yield the command of a container that cannot run, and an image that the kubelet cannot pull."""
    written = cannot_start(each.start) if each.spec.get("command") else ""
    denied = bool(written) and bool(cannot_execute(each.start))
    if each.bare and each.start.shell is not None:
        written, denied = f"an image of distroless has no {each.start.program[0]}", False
    if written:
        yield Finding(
            Severity.LOSES,
            f"The container {each.name} does not start: {written}.",
            "A pod that never becomes ready stops the rollout.",
            (*each.path, "command"),
            advice=AS_EXECUTABLE
            if denied
            else "a command that runs in the foreground, each word an entry of its own",
        )
    triggers = workload.kind == "DeploymentConfig" or IMAGE_TRIGGERS in workload.document.annotations
    if each.image and not triggers and (wrong := wrong_image(each.image)):
        yield Finding(
            Severity.LOSES,
            f"The container {each.name} does not start: its image {each.image!r} {wrong}.",
            "The kubelet reports InvalidImageName. A pod that never becomes ready stops the rollout.",
            (*each.path, "image"),
            advice="a name such as registry.example/shop/web:1.2",
        )


IMAGE_TRIGGERS = "image.openshift.io/triggers"
"""Annotation with which OpenShift replaces the images."""


def _lacking_in_dash(app: Container) -> Iterator[Finding]:
    """Yield a script for bash that the container gives to dash, which ends before the server has started."""
    start = app.start
    script = start.script if start.shell is Shell.DASH and app.has_dash else None
    lacking = not_in_dash(script) if script else ""
    if not lacking:
        return
    at = len(start.words) - len(start.program)
    written = app.spec.get("command") or []
    change = (
        Change((*app.path, "command", at), "/bin/bash") if at < len(written) and written[at] in SH else None
    )
    yield Finding(
        Severity.LOSES,
        f"The container {app.name} does not start: the sh of {app.image} is dash, which has no {lacking}.",
        "A pod that never becomes ready stops the rollout.",
        app.script_path,
        (change,) if change and not start.script_file else (),
        advice="" if change and not start.script_file else "bash, which that image has too",
    )


def max_requests(workload: Workload) -> Iterator[Finding]:
    """With --max-requests a threaded worker that is recycled closes kept connections without notice. Before
    Gunicorn 27.0.1 gthread also resets requests: 190 of 8,000 were lost in 35 recycles of 23.0.0, 70 of
    27.0.0, none of 27.0.1. Uvicorn's --limit-max-requests closes them too, and without workers it ends the
    container.
    """
    kind = workload.server.kind
    if workload.server.max_requests and kind is not None and kind.max_requests_option:
        yield Finding(
            Severity.LOSES,
            f"{kind.max_requests_option} ends {kind.name} after {workload.server.max_requests:,} requests.",
            "Kept connections are closed without notice; a server without workers refuses new ones until the "
            "container has been started again.",
            (*workload.app.path, workload.server.setting),
            advice=f"remove {kind.max_requests_option}",
        )
        return
    if workload.server.max_requests:
        yield Finding(
            Severity.LOSES,
            f"--max-requests {workload.server.max_requests} closes kept connections at each recycling.",
            "What is sent at that moment is lost; before Gunicorn 27.0.1 other requests are reset too.",
            (*workload.app.path, workload.server.setting),
            workload.app.with_option("--max-requests", "0"),
            advice="--max-requests 0",
        )


def reload(workload: Workload) -> Iterator[Finding]:
    """--reload is for development: workers stop whenever a file changes, with what they serve. So are
    programs such as nodemon, which start the server again then.
    """
    name = workload.app.start.first_program
    if name in RELOADERS:
        yield Finding(
            Severity.RISKS,
            f"{workload.app.name} is started by {name}, which is for development.",
            "A file that changes stops the server with what it serves.",
            (*workload.app.path, "command"),
            advice="the server itself as the command",
        )
    elif workload.server.reloads and not any(
        word == "--reload" for words in workload.app.start.commands for word in words
    ):
        yield Finding(
            Severity.RISKS,
            f"{workload.server.name} runs in its development mode, which reloads.",
            "A file that changes stops the server with what it serves.",
            (*workload.app.path, "command"),
            advice="`fastapi run` in place of `fastapi dev`",
        )
    elif workload.server.reloads:
        yield Finding(
            Severity.RISKS,
            f"{workload.server.name} runs with --reload, which is for development.",
            "A file that changes stops the workers with what they serve.",
            (*workload.app.path, workload.server.setting),
            workload.app.without_option("--reload"),
            advice="remove --reload",
        )
