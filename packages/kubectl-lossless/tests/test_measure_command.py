"""`kubectl lossless measure` where nothing can be measured: one sentence, and exit status 2."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl_lossless.cli import main

BASE = ("deploy/web", "--url", "http://127.0.0.1:1/")


def run(command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kubectl_lossless", command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env=environment or None,
    )


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restore the handlers of the signals that a command handles."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cronjob/web", *BASE[1:]), "allowed are deployment/NAME, statefulset/NAME and rollout/NAME"),
        (("deploy/web",), "the following arguments are required: --url"),
        ((*BASE, "--rps", "0"), "'0'; allowed are numbers from 0.5 to 1000"),
        ((*BASE, "--rps", "many"), "allowed are numbers from 0.5 to 1000"),
        ((*BASE, "--connections", "2.5"), "allowed are whole numbers from 1 to 1000"),
        ((*BASE, "--connections", "1"), "1 kept connections are too few"),
        ((*BASE, "--clients", "old"), "'old' is no kind of client; allowed are new, busy, idle, slow"),
        ((*BASE, "--clients", "slow"), "the client slow needs --slow-url"),
        ((*BASE, "--expect", "20"), "allowed are 100 to 599"),
        ((*BASE, "-H", "Accept"), "'Accept' is no header; allowed is NAME: VALUE"),
        ((*BASE, "--method", "GET /"), "--method is 'GET /'"),
        ((*BASE, "--ca", "/nowhere/ca.crt"), "No such file or directory: '/nowhere/ca.crt'"),
        ((*BASE, "--ca", __file__), "no certificate can be read"),
        ((*BASE, "--ca", __file__, "--insecure"), "contradict each other"),
        ((*BASE, "--data", "@/nowhere"), "No such file or directory: '/nowhere'"),
        ((*BASE, "--image", "web"), "--image is 'web'; allowed is CONTAINER=IMAGE"),
        ((*BASE, "--apply", "/nowhere.yaml"), "there is no such file"),
        ((*BASE, "--apply", __file__, "--wait"), "not allowed with argument"),
        (("deploy/web", "--url", "ftp://x"), "'ftp://x' is no URL"),
    ],
)
def test_bad_argument_is_reported_in_a_sentence(
    arguments: tuple[str, ...], says: str, handlers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(["measure", *arguments])
    except SystemExit as ended:  # argparse
        status = ended.code
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert says in " ".join(said.err.split())


@pytest.mark.parametrize("command", ["measure", "propagation"])
def test_missing_kubectl_is_reported(command: str, tmp_path: Path) -> None:
    done = run(command, *BASE, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "kubectl is not installed, or not on PATH" in done.stderr


def test_file_that_is_no_report_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for text in ("", "{", "[]", "{}", '{"format": 99}'):
        path.write_text(text)
        done = run("page", str(path))
        assert (done.returncode, done.stdout) == (2, "")
        assert "is no report" in done.stderr
        assert "Traceback" not in done.stderr


def test_result_takes_the_place_of_the_counts_on_a_terminal() -> None:
    program = (
        "from kubectl_lossless.measure.command import Terminal; terminal = Terminal(); "
        "terminal.progress('9 requests'); terminal.result('1 of 10 lost')"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stdout=theirs, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert shown == "\r\033[K9 requests\r\033[K1 of 10 lost\r\n"
