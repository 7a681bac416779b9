"""No command changes a cluster that was not named.

tests/kubectl_guard.py replaces kubectl for each whole session, which fails for a call that may change a
cluster. These tests check the guard, and a fact beyond its reach: the tests that `make test` runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_lossless.kubectl import Kubectl, KubectlError, changes
from tests import kubectl_guard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
MAKE = shutil.which("make") or "make"

RECORDER = """#!{python} -IS
import json, pathlib, sys
with pathlib.Path({record!r}).open("a") as record:
    record.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["config", "get-contexts"]:
    print("production")
elif "version" in sys.argv:
    print(json.dumps({{"serverVersion": {{"gitVersion": "v1.35.4"}}}}))
elif "namespace" in sys.argv:
    print(json.dumps({namespace}))
"""


class Recorded:
    """A kubectl, first on PATH, that has a cluster behind it and records every call."""

    def __init__(self, folder: Path, namespace: str = "") -> None:
        self._record = folder / "record"
        program = folder / "kubectl"
        found = {"metadata": {"name": namespace}} if namespace else ""
        text = RECORDER.format(python=sys.executable, record=str(self._record), namespace=found)
        program.write_text(text)
        program.chmod(0o755)
        self.environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        # As in an operator's shell, without a test session.
        for name in (kubectl_guard.HOME, kubectl_guard.CONTEXT):
            self.environment.pop(name, None)

    @property
    def calls(self) -> list[list[str]]:
        return (
            [json.loads(line) for line in self._record.read_text().splitlines()]
            if self._record.exists()
            else []
        )

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@pytest.fixture
def inner() -> Iterator[Path]:
    """Yield the path of a test file below tests/, so that the file has the conftest of all tests."""
    folder = Path(tempfile.mkdtemp(prefix="inner_", dir=ROOT / "tests"))  # tmp_path's name is each worker's
    yield folder / "test_inner.py"
    shutil.rmtree(folder)


INNER = """
import subprocess

def test_a_call():
    done = subprocess.run({command!r}, capture_output=True, text=True)
    print(done)
"""


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "xdist"])
@pytest.mark.parametrize(
    "command", [["kubectl", "delete", "namespace", "x"], ["kubectl", "get", "pods"]], ids=" ".join
)
def test_session_with_a_change_fails_and_no_call_reaches_the_cluster(
    recorded: Recorded, inner: Path, command: list[str], options: tuple[str, ...]
) -> None:
    """Also where the test that made the call passes."""
    inner.write_text(INNER.format(command=command))
    if options:
        pytest.importorskip("xdist")
    done = recorded.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(inner))
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    if "delete" in command:
        assert done.returncode == 1
        assert "kubectl delete namespace x: it may change a cluster, and no test here may" in done.stdout
        assert recorded.calls == []
    else:
        assert done.returncode == 0
        assert recorded.calls == [["get", "pods"]]  # the positive control: a read passes the guard


@pytest.mark.long
def test_make_test_runs_no_cluster_test_and_calls_no_kubectl(recorded: Recorded) -> None:
    """Every test that `make test` runs has the guard."""
    # Lint and types, which `make test` does first, read files only.
    collect = {"PYTEST_ADDOPTS": "--collect-only -q"}
    done = recorded.run(MAKE, "-o", "check", "test", "CONTEXT=production", **collect)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tools/course/tests/test_no_cluster_is_changed.py::test_make_test_runs" in done.stdout
    assert "tests/cluster/" not in done.stdout
    assert recorded.calls == []


def test_cluster_tests_are_skipped_without_a_context(recorded: Recorded) -> None:
    tests = "tests/cluster/test_streams.py"
    done = recorded.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tests)
    assert "no cluster is named: make test-cluster CONTEXT=name" in done.stdout
    assert "passed" not in done.stdout
    assert recorded.calls == []


CHANGING = ("test-cluster", "test-matrix", "rollout", "course", "deploy")


@pytest.mark.parametrize("target", CHANGING)
def test_target_that_changes_a_cluster_needs_its_name_on_the_command_line(
    recorded: Recorded, target: str
) -> None:
    from_elsewhere = recorded.run(MAKE, "-s", target, CONTEXT="production")
    assert from_elsewhere.returncode != 0
    assert (
        "CONTEXT is not set on the command line; write CONTEXT=name; allowed are: production"
        in from_elsewhere.stderr
    )
    assert "kind create cluster && kind load docker-image" in from_elsewhere.stderr
    unknown = recorded.run(MAKE, "-s", target, "CONTEXT=prod")
    assert unknown.returncode != 0
    assert "CONTEXT is 'prod'; allowed are: production" in unknown.stderr
    assert not any(changes(call) for call in recorded.calls)


@pytest.mark.parametrize("target", ["test-cluster", "test-matrix", "deploy"])
def test_namespace_that_is_not_labelled_is_refused(tmp_path: Path, target: str) -> None:
    recorded = Recorded(tmp_path, namespace="flask-cluster")
    done = recorded.run(MAKE, "-s", target, "CONTEXT=production")
    assert done.returncode != 0
    assert "app.kubernetes.io/part-of=rolling-updates" in done.stdout + done.stderr
    assert "nothing was changed" in (done.stdout + done.stderr).lower()
    assert recorded.calls[-1][:2] == ["--context", "production"]
    assert not any(changes(call) for call in recorded.calls)


@pytest.mark.parametrize(
    ("line", "changing"),
    [
        ("get pods -n x", False),
        ("--context a get pods", False),
        ("--context=a -n delete get pods", False),
        ("get --raw /api", False),
        ("create --dry-run=client -f x", False),
        ("rollout status deployment/x", False),
        ("config get-contexts -o name", False),
        ("exec p -n x -c c -- cat /proc/1/cmdline", False),
        ("version -o json", False),
        ("", False),
        ("--context get delete pod x", True),
        ("--some-option get delete pod x", True),
        ("exec p -- rm -rf /", True),
        ("exec p", True),
        ("rollout undo deployment/x", True),
        ("rollout", True),
        ("config use-context x", True),
        ("create --dry-run=none -f x", True),
        *(
            (f"{verb} x", True)
            for verb in ("apply", "delete", "drain", "cordon", "label", "patch", "scale", "edit")
        ),
        *(
            (f"{verb} x", True)
            for verb in ("replace", "set", "taint", "annotate", "cp", "run", "debug", "proxy")
        ),
        ("a-verb-of-tomorrow x", True),
    ],
)
def test_command_that_may_change_a_cluster_is_known(line: str, changing: bool) -> None:
    assert changes(line.split()) is changing


def test_kubectl_without_a_context_refuses_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(tmp_path)
    monkeypatch.setenv("PATH", recorded.environment["PATH"])
    with pytest.raises(KubectlError, match="not run, because no context was named"):
        Kubectl()("delete", "pod", "x")
    with pytest.raises(KubectlError, match="not run, because no context was named"):
        Kubectl().start("delete", "pod", "x")
    assert recorded.calls == []
    Kubectl()("get", "pods")
    Kubectl("mine")("delete", "pod", "x")
    assert recorded.calls == [["get", "pods"], ["--context", "mine", "delete", "pod", "x"]]
