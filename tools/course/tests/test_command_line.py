"""Command line if nothing can be rolled out: a clear sentence, and an exit status."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import kubectl_guard
from tools.course.__main__ import main

RECORDED = Path(__file__).parents[3] / "packages/kubectl-lossless/tests/recorded-v2-v3.json"

needs_kubectl = pytest.mark.skipif(not kubectl_guard.real(), reason="kubectl is not installed")


@dataclass(frozen=True)
class Ended:
    """The end of a command."""

    returncode: object
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture
def rollout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Yield a function that runs the program in this process, with arguments and variables."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str, **environment: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["course", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            status: object = main()
        except SystemExit as ended:
            status = ended.code
        return Ended(status, capsys.readouterr().err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@needs_kubectl
def test_missing_cluster_is_reported_with_a_remedy(rollout: Run, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # no process listens
        config = tmp_path / "config"
        config.write_text(
            f"""apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{sock.getsockname()[1]}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: ""}}}}]
current-context: c
"""
        )
        done = rollout("update", "v1", "v2", "--context", "c", KUBECONFIG=str(config))
    assert done.returncode == 2
    assert "kubectl said:" in done.stderr
    assert "No cluster answers there" in done.stderr
    assert "Traceback" not in done.stderr


@needs_kubectl
@pytest.mark.parametrize(
    "command", [("update", "v1", "v2"), ("streams", "v1", "v2"), ("course",), ("propagation",)]
)
def test_missing_or_unknown_context_is_refused_with_the_existing_contexts(
    command: tuple[str, ...], rollout: Run, tmp_path: Path
) -> None:
    """Also if the kubeconfig has a current context."""
    config = tmp_path / "config"
    config.write_text(
        """apiVersion: v1
kind: Config
contexts: [{name: mine, context: {cluster: c, user: ""}}, {name: production, context: {cluster: p, user: ""}}]
current-context: production
"""
    )
    unnamed = rollout(*command, KUBECONFIG=str(config))
    assert unnamed.returncode == 2
    assert unnamed.stderr == (
        "The context of the cluster is not named (--context NAME, make CONTEXT=NAME); "
        "allowed are: mine, production\n"
    )
    unknown = rollout(*command, "--context", "nowhere", KUBECONFIG=str(config))
    assert unknown.returncode == 2
    assert unknown.stderr == "The context is 'nowhere'; allowed are: mine, production\n"


@needs_kubectl
def test_two_commands_create_a_cluster_where_there_is_none(rollout: Run) -> None:
    done = rollout("course")
    assert done.returncode == 2
    assert "`kind create cluster` and `kind load docker-image IMAGE` create one" in done.stderr


def test_missing_kubectl_is_reported(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.course", "update", "v1", "v2"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 2
    assert "kubectl is not installed" in done.stderr


def test_wrong_mix_is_refused_with_the_allowed_kinds(rollout: Run) -> None:
    done = rollout("update", "v1", "v2", "--clients", "old=3")
    assert done.returncode == 2
    assert "'old=3' names no clients: write KIND=NUMBER,... with the kinds new, busy" in done.stderr


def test_page_is_built_again_from_a_kept_report(rollout: Run, tmp_path: Path) -> None:
    kept = tmp_path / "report.json"
    kept.write_text(RECORDED.read_text())
    done = rollout("page", str(kept))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "index.html", "chart.svg"}


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99}'])
def test_file_without_a_report_is_refused(rollout: Run, tmp_path: Path, text: str) -> None:
    kept = tmp_path / "report.json"
    kept.write_text(text)
    done = rollout("page", str(kept))
    assert done.returncode == 2
    assert f"{kept} is no report" in done.stderr
    assert kept.read_text() == text
