"""Completion in real shells, with the TAB key, and for kubectl."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_lossless.cli import COMMANDS

LIMIT = 30.0
"""Timeout of a shell for a completed line, in seconds."""

KUBECTL = """#!{shell}
case "$*" in
  *"config get-contexts"*) printf 'kind-kind\\nproduction\\n' ;;
  *"get namespaces"*) printf 'namespace/default\\nnamespace/shop\\n' ;;
  *"-n shop"*) printf 'deployment.apps/web\\ndeployment.apps/worker\\n' ;;
  *) echo 'error: the server is not reachable' >&2; exit 1 ;;
esac
"""
"""Prints names as kubectl does, because no cluster is needed to complete them."""

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
"""The functions that kubectl's script for bash calls."""


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    """Return a directory for PATH with the package's programs."""
    home = tmp_path / "bin"
    home.mkdir()
    for name, module, function in (
        ("kubectl-lossless", "cli", "main"),
        ("kubectl_complete-lossless", "cli", "main_plugin"),
    ):
        program = home / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nfrom kubectl_lossless.{module} import {function}\n"
            f"sys.exit({function}())\n"
        )
        program.chmod(0o755)
    return home


@pytest.fixture
def names(bin_directory: Path) -> Path:
    """Install a kubectl that lists some names."""
    program = bin_directory / "kubectl"
    program.write_text(KUBECTL.format(shell=shutil.which("sh")))
    program.chmod(0o755)
    return program


class Shell:
    """An interactive shell at a terminal."""

    def __init__(self, command: list[str], path: Path) -> None:
        self.text = ""
        environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}
        self._pid, self._file = pty.fork()
        if not self._pid:
            os.chdir(path.parent)
            os.execvpe(command[0], command, environment)

    def read_until(self, pattern: str) -> None:
        """Read until the terminal shows the pattern."""
        until = time.monotonic() + LIMIT
        while not re.search(pattern, self.text):
            assert time.monotonic() < until, self.text
            if select.select([self._file], [], [], 0.2)[0]:
                self.text += os.read(self._file, 65536).decode(errors="replace").replace("\a", "")

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self._file, text.encode())

    def run(self, line: str) -> None:
        """Run a line and wait for its end."""
        self.type(f"{line}; echo do''ne\n")
        self.read_until("\ndone\r\n")
        self.text = ""

    def end(self) -> None:
        """End the shell."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._file)


@contextlib.contextmanager
def shell(name: str, path: Path) -> Iterator[Shell]:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    commands = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
    started = Shell(commands[name], path)
    try:
        started.type("PS1='$ '\n")
        started.run("true")
        if name == "zsh":
            started.run("unsetopt zle; setopt zle; autoload -Uz compinit; compinit -u -D")
        yield started
    finally:
        started.end()


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_tab_completes_the_program(name: str, bin_directory: Path) -> None:
    with shell(name, bin_directory) as terminal:
        terminal.run(f'eval "$(kubectl-lossless completion {name})"')
        terminal.type("kubectl-lossless doc\t")
        terminal.read_until("doctor +")
        terminal.type("--stri\t")
        terminal.read_until("--strict ")
        terminal.type("-o sa\t")
        terminal.read_until("-o sarif ")
        (bin_directory.parent / "web.yaml").touch()
        terminal.type("-f we\t")
        terminal.read_until(r"-f web\.yaml")


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_tab_completes_names_of_the_cluster(name: str, bin_directory: Path, names: Path) -> None:
    with shell(name, bin_directory) as terminal:
        terminal.run(f'eval "$(kubectl-lossless completion {name})"')
        terminal.type("kubectl-lossless measure --context prod\t")
        terminal.read_until("--context production ")
        terminal.type("-n sh\t")
        terminal.read_until("-n shop ")
        terminal.type("deployment/wo\t")
        terminal.read_until("deployment/worker")


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_tab_completes_the_plugin_through_kubectl(name: str, bin_directory: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    if name == "bash" and not BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed")
    with shell(name, bin_directory) as terminal:
        if name == "bash":
            terminal.run(f". {BASH_COMPLETION}")
        terminal.run(f". <(kubectl completion {name})")
        terminal.type("kubectl lossless prop\t")
        terminal.read_until("propagation ")
        terminal.type("--pod-h\t")
        terminal.read_until("--pod-header ")


def complete(path: Path, *words: str) -> list[str]:
    """Return the completions that kubectl gets for these words, without descriptions, then the directive."""
    done = subprocess.run(
        ["kubectl_complete-lossless", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
    )
    assert done.stderr == ""
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


def test_commands_complete_the_first_word(bin_directory: Path) -> None:
    assert complete(bin_directory, "") == [*COMMANDS, ":4"]
    assert complete(bin_directory) == [*COMMANDS, ":4"]


def test_option_without_known_values_has_no_completions(bin_directory: Path) -> None:
    assert complete(bin_directory, "measure", "--rps", "") == [":4"]


def test_unknown_command_has_no_completions(bin_directory: Path) -> None:
    assert complete(bin_directory, "heal", "") == [":4"]


def test_folder_is_completed_without_a_trailing_space(bin_directory: Path) -> None:
    (bin_directory.parent / "manifests of the shop").mkdir()
    prefix = f"{bin_directory.parent}/manifests"
    assert complete(bin_directory, "doctor", "-f", prefix)[-1] == ":6"


def test_quote_in_an_earlier_word_does_not_end_the_completion(bin_directory: Path) -> None:
    assert complete(bin_directory, "measure", "-H", "X-Name: it's", "--slow-t") == ["--slow-takes", ":4"]


def test_unreachable_cluster_completes_nothing(bin_directory: Path, names: Path) -> None:
    assert complete(bin_directory, "doctor", "-n", "elsewhere", "") == [":4"]
    assert complete(bin_directory, "doctor", "-n", "shop", "") == [
        "deployment/web",
        "deployment/worker",
        ":4",
    ]
