"""The image: its files, and the user that it runs as."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.image_files import docker, files, python_packages, text
from tests.process.service import ROOT
from tests.waiting import wait_until

IMAGE = "localhost:5000/flask:test-image-"
"""Beginning of the image's name, followed by an ID of the test run: concurrent runs share one Docker."""

OWN = ("srv/", "venv/", "root/", "home/", "tmp/", "etc/", "run/", "var/tmp/", "usr/local/")
"""Directories in which a build may leave files; all others belong to the base image."""

SECRET_NAMES = re.compile(
    r"(^|/)(\.env|\.git|\.git-credentials|\.netrc|\.npmrc|\.pypirc|\.dockercfg|\.docker/config\.json|\.kube/.*"
    r"|id_(rsa|dsa|ecdsa|ed25519)|kubeconfig.*|[^/]*\.(pem|key|p12|pfx|jks|kdbx)|\.bash_history)$"
)
SECRETS = {
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}"),
    "AWS key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36}|xox[abprs]-[A-Za-z0-9-]{20,}|glpat-[\w-]{20,})"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "password in a URL": re.compile(r"\b[a-z][a-z0-9+]{2,8}://[^\s:/@'\"{}<>]+:[^\s:/@'\"{}<>]+@[a-z0-9]"),
    "named secret": re.compile(
        r"^\s*(?:export )?[A-Z_]*(?:PASSWORD|SECRET|API_KEY|TOKEN)[A-Z_]*=['\"]?[^\s'\"$]{6}", re.MULTILINE
    ),
}
LIBRARIES = re.compile(r"/site-packages/|/lib/python3[^/]*/|/dist-info/")
"""Paths of libraries, whose sources and documents contain examples of URLs with passwords."""

needs_docker = pytest.mark.skipif(
    not shutil.which("docker")
    or subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0,
    reason="needs docker",
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str, worker_id: str) -> Iterator[str]:
    """Build the image once for all workers of this test run; the others wait, and reuse its layers."""
    networks = docker("network", "ls", "--format", "{{.Name}}").split()
    if "bridge" not in networks and "DOCKER_BUILD_ARGS" not in os.environ:
        pytest.skip("docker has no bridge for builds: set DOCKER_BUILD_ARGS=--network=host")
    name = f"{IMAGE}{testrun_uid}-{worker_id}"
    command = [
        "docker",
        "build",
        *shlex.split(os.environ.get("DOCKER_BUILD_ARGS", "")),
        "-q",
        "-t",
        name,
        ".",
    ]
    with (tmp_path_factory.getbasetemp().parent / f"image-{testrun_uid}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    if built.returncode and "pull" in built.stderr:
        pytest.skip(f"the base image cannot be had: {built.stderr.strip()}")
    assert built.returncode == 0, built.stderr
    yield name
    subprocess.run(["docker", "image", "rm", "-f", name], capture_output=True, check=False)


def secrets(path: str, content: str) -> list[str]:
    """Return the kinds of likely secrets in a file."""
    kinds = [kind for kind, pattern in SECRETS.items() if pattern.search(content)]
    if LIBRARIES.search(path):
        kinds = [kind for kind in kinds if kind in ("private key", "AWS key", "token")]
    # Certificates of authorities are public; a private key in such a file would be found by its content.
    if SECRET_NAMES.search(path) and not re.search(r"cacert\.pem$|^etc/ssl/certs/", path):
        kinds.append("name")
    return kinds


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("srv/key.txt", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7", "private key"),
        ("venv/lib/python3.13/site-packages/x.py", "AKIA" + "ABCDEFGHIJKLMNOP", "AWS key"),
        ("srv/settings", "DB_PASSWORD=hunter22", "named secret"),
        ("srv/pip.ini", "index-url = https://me:hunter22@pypi.example/simple", "password in a URL"),
        ("root/.netrc", "", "name"),
        ("home/me/.kube/config", "", "name"),
        ("srv/.env", "", "name"),
    ],
)
def test_secret_is_found(path: str, content: str, kind: str) -> None:
    assert secrets(path, content) == [kind]


@needs_docker
@pytest.mark.timeout(600)
def test_image_contains_no_secret(image: str) -> None:
    found, looked = [], 0
    with files(image) as entries:
        for path, archive, entry in entries:
            if not path.startswith(OWN) or entry.size > 5_000_000:
                continue
            looked += 1
            found += [f"{path}: {kind}" for kind in secrets(path, text(archive, entry))]
    print(f"{looked} files")
    assert found == []
    assert looked > 1000
    config = docker("image", "inspect", "--format", "{{json .Config}}", image)
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert secrets("config", config.replace(",", "\n").replace('"', "\n") + "\n" + history) == []


@needs_docker
@pytest.mark.timeout(600)
def test_user_of_the_image_can_change_no_file(image: str) -> None:
    uid = int(
        json.loads(docker("image", "inspect", "--format", "{{json .Config.User}}", image)).split(":")[0]
    )
    assert uid > 0
    with files(image) as entries:
        changeable = [
            path for path, _, entry in entries if uid in (entry.uid, entry.gid) or entry.mode & stat.S_IWOTH
        ]
    assert changeable == []


@needs_docker
@pytest.mark.timeout(600)
def test_no_process_runs_as_root(image: str) -> None:
    flags = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    container = docker("run", "-d", "--network=none", *flags, image)
    try:

        def processes() -> Iterator[tuple[str, str]]:
            for line in docker("top", container, "-eo", "pid,uid,args").splitlines()[1:]:
                _, uid, program = line.split(maxsplit=2)
                yield uid, program

        wait_until(lambda: "Booting worker" in _logs(container), "workers", 60)
        wait_until(lambda: sum("gunicorn" in program for _, program in processes()) >= 3, "all of it", 60)
        assert {uid for uid, _ in processes()} == {"10001"}
        assert '"Traceback' not in _logs(container)
    finally:
        docker("rm", "-f", container)


def _logs(container: str) -> str:
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@needs_docker
@pytest.mark.timeout(600)
def test_image_contains_the_packages_of_the_bill_of_materials(image: str) -> None:
    """Compare the image with requirements.txt, which `make sbom` reads."""
    pins = re.findall(r"^([A-Za-z][\w.-]*)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    pinned = {(re.sub("[-_.]+", "-", name).lower(), version) for name, version in pins}
    installed = python_packages(image)
    assert pinned <= installed
    # A base image with Debian's Python also has a library of Debian's.
    assert {name for name, _ in installed - pinned} <= {"packaging"}


@needs_docker
@pytest.mark.timeout(600)
def test_doctor_reads_the_entry_point_of_an_image(
    image: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Detect the shell form, the result of an ENTRYPOINT without brackets in a Dockerfile."""
    shell_form = f"{image}-shell-form"
    dockerfile = f"FROM {image}\nENTRYPOINT export PORT=8080; gunicorn\n"
    subprocess.run(["docker", "build", "-q", "-t", shell_form, "-"], input=dockerfile, text=True, check=True)
    request.addfinalizer(lambda: subprocess.run(["docker", "image", "rm", "-f", shell_form], check=False))
    manifest = (ROOT / "k8s" / "flask-deployment-v5.yaml").read_text()

    def doctor(name: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "rung.yaml").write_text(manifest.replace("localhost:5000/flask:latest", name))
        command = [
            sys.executable,
            "-m",
            "kubectl_lossless",
            "doctor",
            "--docker",
            "-f",
            str(tmp_path / "rung.yaml"),
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert doctor(image).returncode == 0
    done = doctor(shell_form)
    assert done.returncode == 1
    assert "shell-entrypoint: PID 1 of flask stays a shell: export PORT=8080; gunicorn" in done.stdout
    done = doctor("localhost:5000/not-there:1")
    assert done.returncode == 2
    assert "docker does not have localhost:5000/not-there:1" in done.stderr
