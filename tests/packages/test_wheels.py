"""The wheel of each package, installed into an empty environment, with the first example of its README."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.clients import get
from tests.process.service import ROOT, Service

pytestmark = pytest.mark.slow

PACKAGES = ("gunicorn-drain", "gunicorn-fast", "kubectl-lossless")

FLASK = """
from flask import Flask

app = Flask(__name__)

@app.get("/healthz")
def healthz():
    return {"alive": True}
"""


def shared(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Return the path that `build` has filled once for all processes of `pytest -n`."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    built = root / f"{name}.built"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            build(root / name)
            built.touch()
    return root / name


def build_wheels(directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory)]
    # Otherwise pip creates an environment for each package, and downloads the same backend into it.
    command.append("--no-build-isolation")
    subprocess.run([*command, *(str(ROOT / "packages" / name) for name in PACKAGES)], check=True, timeout=200)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "wheels", build_wheels)


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin directory of an environment with the packages and Flask, without the checkout."""

    def install(home: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=100)
        command = [
            *(sys.executable, "-m", "pip", "--python", str(home)),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--find-links",
            str(wheels),
        ]
        subprocess.run([*command, "flask", *PACKAGES], check=True, timeout=250)

    return shared(tmp_path_factory, "environment", install) / "bin"


def example(package: str, text: str) -> str:
    """Return the code block of a package's README that contains `text`, fenced or indented."""
    readme = (ROOT / "packages" / package / "README.md").read_text()
    blocks: list[str] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    for indented in re.findall(r"(?:^ {4}.*\n)+", readme, re.MULTILINE):
        blocks.append(re.sub("^ {4}", "", indented, flags=re.MULTILINE))
    return next(each for each in blocks if text in each)


def test_wheels_are_typed(wheels: Path) -> None:
    for name in PACKAGES:
        (wheel,) = wheels.glob(name.replace("-", "_") + "-*.whl")
        listed = subprocess.run(
            [sys.executable, "-m", "zipfile", "-l", wheel], check=True, capture_output=True, text=True
        ).stdout
        assert name.replace("-", "_") + "/py.typed" in listed
        assert "LICENSE" in listed
        assert "tests/" not in listed


@pytest.mark.parametrize(
    ("package", "readiness"), [("gunicorn-drain", "/ready"), ("gunicorn-fast", "/healthz")]
)
def test_first_example_of_the_readme_serves_and_drains(
    environment: Path, tmp_path: Path, package: str, readiness: str
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(example(package, "gunicorn_drain.install"))
    (tmp_path / "service.py").write_text(FLASK)
    program = (str(environment / "python"), "-I", "-m", "gunicorn", "--pythonpath", str(tmp_path))
    drain: dict[str, Any] = {"DRAIN_MIN": "0.5", "DRAIN_QUIET": "0.2"}
    with Service("service:app", directory=tmp_path, program=program, **drain) as service:
        port = service.ready(readiness).port
        assert get(port, "/healthz").status == 200
        if readiness == "/ready":
            service.begin_drain("/ready")
            assert get(port, "/healthz").closes
        else:
            service.process.terminate()
        service.wait()
        assert service.said("Drain ended: quiet") == 1


@pytest.mark.parametrize(
    ("statement", "module", "extra"),
    [
        ("import gunicorn_drain.logs", "pythonjsonlogger", "logs"),
        ("import gunicorn_drain.streams", "wsproto", "streams"),
        ("from gunicorn_drain.streams.flask import DetachedResponse", "wsproto", "streams"),
        ("from gunicorn_drain.prometheus import DrainCollector", "prometheus_client", "prometheus"),
        ("import gunicorn_drain.prometheus as p; p.install({})", "prometheus_client", "prometheus"),
    ],
)
def test_missing_extra_is_named(environment: Path, statement: str, module: str, extra: str) -> None:
    ended = subprocess.run(
        [environment / "python", "-I", "-c", statement],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"ModuleNotFoundError: gunicorn_drain.{extra} needs {module}, which is not installed: "
        f"install gunicorn-drain[{extra}]"
    )


def test_packages_have_one_version(wheels: Path) -> None:
    versions = {wheel.name.split("-")[1] for wheel in wheels.glob("*.whl")}
    assert len(versions) == 1, versions


def test_pipx_installs_a_plugin_that_kubectl_finds_and_completes(wheels: Path, tmp_path: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    (wheel,) = wheels.glob("kubectl_lossless-*.whl")
    programs = tmp_path / "bin"
    environment = {
        **os.environ,
        **{name: str(tmp_path / name) for name in ("PIPX_HOME", "PIPX_MAN_DIR", "PIPX_COMPLETION_DIR")},
        "PIPX_BIN_DIR": str(programs),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }

    def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=check, capture_output=True, text=True, timeout=250, env=environment
        )

    run(sys.executable, "-m", "pipx", "install", wheel)
    assert str(programs / "kubectl-lossless") in run("kubectl", "plugin", "list").stdout
    version = wheel.name.split("-")[1]
    assert run(programs / "kubectl-lossless", "--version").stdout == f"kubectl-lossless {version}\n"
    manifest = ROOT / "k8s/flask-deployment-v1.yaml"
    found = run("kubectl", "lossless", "doctor", "-f", manifest, check=False)
    assert found.returncode == 1, found.stderr
    assert "flask-deployment" in found.stdout
    completed = run("kubectl", "__complete", "lossless", "doctor", "--fail-").stdout
    assert completed.splitlines()[0].startswith("--fail-on\t")


def test_program_runs_as_a_plugin_of_kubectl(environment: Path) -> None:
    manifest = ROOT / "k8s/flask-deployment-v1.yaml"
    found = subprocess.run(
        [environment / "kubectl-lossless", "doctor", "-f", manifest],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 1, found.stderr
    assert "flask-deployment" in found.stdout
    helped = subprocess.run(
        [environment / "kubectl-lossless", "measure", "--help"], check=True, capture_output=True, timeout=60
    )
    assert b"--url" in helped.stdout
