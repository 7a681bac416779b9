"""`docker stop` under load, of an image with gunicorn-drain. Skipped without Docker and its base image."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.ports import reserve_port
from tests.process.clients import Crowd, Lost, get
from tests.process.plain import APPLICATION, KINDS
from tests.process.service import ROOT
from tests.waiting import wait_until

BASE = "python:3.13-slim"

TIMEOUT = 300
"""Timeout of one command of docker, in seconds; the build installs from the package index."""

DOCKERFILE = f"""
FROM {BASE}
COPY package /package
RUN pip install --no-cache-dir /package
WORKDIR /srv
COPY service.py ./
CMD ["gunicorn", "-c", "python:gunicorn_drain.config", "--threads=8", "--keep-alive=75", "service"]
"""


def docker(*arguments: str) -> str:
    """Run docker and return its output, stderr included."""
    done = subprocess.run(
        ["docker", *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def has_base() -> bool:
    """Return whether a Docker with the base image is at hand; nothing is pulled."""
    try:
        docker("image", "inspect", BASE)
    except (OSError, AssertionError, subprocess.TimeoutExpired):
        return False
    return True


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not has_base():
        pytest.skip(f"needs Docker, with {BASE}")
    context = tmp_path_factory.mktemp("image")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "service.py").write_text(APPLICATION)
    package = ROOT / "packages" / "gunicorn-drain"
    whole = [package / each for each in ("pyproject.toml", "README.md", "LICENSE")]
    for file in [*whole, *package.glob("src/**/*.py")]:
        target = context / "package" / file.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    name = f"drain-test:{uuid.uuid4().hex}"
    docker("build", "--quiet", "--network=host", "--tag", name, str(context))
    try:
        yield name
    finally:
        docker("image", "rm", name)


@contextmanager
def container(image: str, flags: str = "", **environ: str) -> Iterator[tuple[str, int]]:
    """Run the image; yield the container's name and its port, once it is ready."""
    name, port = f"drain-test-{uuid.uuid4().hex}", reserve_port()
    variables = [f"--env={each}={value}" for each, value in environ.items()]
    command = f"--env=GUNICORN_CMD_ARGS=--bind 127.0.0.1:{port} {flags}"
    docker("run", "--detach", "--network=host", "--name", name, command, *variables, image)

    def ready() -> bool:
        try:
            return get(port, "/ready").status == 200
        except (Lost, OSError):
            return False

    try:
        wait_until(ready, "readiness")
        yield name, port
    finally:
        docker("rm", "--force", name)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("stop", "flags", "environ"),
    [
        (("--time=30",), "", {"DRAIN_MIN": "2"}),
        ((), "--graceful-timeout 2", {"DRAIN_MIN": "0", "DRAIN_MAX": "6"}),
    ],
    ids=["-t 30", "default 10 s"],
)
def test_docker_stop_loses_nothing(
    image: str, stop: tuple[str, ...], flags: str, environ: dict[str, str]
) -> None:
    """Stop while clients send, which then follow the announcement to the service that replaces this one."""
    with container(image, flags, **environ) as (old, port), container(image) as (_, successor):
        destination = port
        with Crowd(lambda: destination, KINDS) as crowd:
            wait_until(crowd.everyone_served, "a response to every kind")
            destination = successor  # as a load balancer does before it stops a service
            docker("stop", *stop, old)
            crowd.wait_for_responses(50, "responses of the successor")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        log = docker("logs", old)
        assert re.search("Drain ended: quiet", log), log
        assert re.search("Stopped: every request completed", log), log
        assert docker("inspect", "--format={{.State.ExitCode}}", old) == "0"
