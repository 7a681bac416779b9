"""The command line."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

from doctor.helpers import CASES, base, dump
from kubectl_lossless.doctor import __main__ as program
from kubectl_lossless.doctor.__main__ import main
from kubectl_lossless.doctor.checks import NAMES

BASE = str(CASES / "00-base.yaml")
LOSING = str(CASES / "h02-prestop-1s.yaml")
RISKY = str(CASES / "n07-cpu-limit.yaml")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["-f", BASE], 0),
        (["-f", BASE, "--strict"], 1),
        (["-f", BASE, "--fail-on", "advice"], 1),
        (["-f", LOSING], 1),
        (["-f", LOSING, "--fail-on", "never"], 0),
        (["-f", RISKY], 1),
        (["-f", RISKY, "--fail-on", "loses"], 0),
        (["-f", RISKY, "--ignore", "cpu-limit"], 0),
        (["-f", BASE, LOSING], 1),
        (["-f", BASE, "-f", str(CASES / "b-70-envsubst.yaml")], 2),
        (["web", "-f", BASE], 0),
        (["-f", BASE, "-n", "demo"], 0),
        (["-f", BASE, "-n", "other"], 2),
        (["--list"], 0),
    ],
)
def test_exit_status(options: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options) == status
    assert bool(capsys.readouterr().err) == (status == 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--drain-max", "soon"], "'soon'; allowed are seconds from 0 to 86400"),
        (["--keepalive", "nan"], "'nan'; allowed are seconds"),
        (["-o", "yaml"], "choose from"),
        (["--ignore", "everything"], "choose from"),
        (["--fail-on", "x"], "choose from"),
    ],
)
def test_wrong_option_is_refused(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_list_has_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(NAMES)


def test_options_state_facts_that_only_the_user_knows(capsys: pytest.CaptureFixture[str]) -> None:
    well_kept = str(CASES.parent / "examples" / "well-kept.yaml")
    assert main(["-f", well_kept, "--strict", "--ignore", "spread"]) == 1
    told = ["--drain-max", "15", "--graceful-timeout", "20", "--keepalive", "75"]
    assert main(["-f", well_kept, "--strict", "--ignore", "spread", *told]) == 0


def test_fault_of_a_check_is_no_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr(program, "examine", fault)
    assert main(["-f", BASE]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"cannot check: {BASE}:1: Deployment web cannot be checked, because of an error in the doctor"
    )
    assert "Traceback" not in said


def test_interrupt_has_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "load", interrupt)
    assert main(["-f", BASE]) == 130


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(dump(base()).encode())))
    assert main(["-f", "-", "web"]) == 0
    assert "Deployment web in demo (stdin:1)" in capsys.readouterr().out


def test_reader_that_has_seen_enough_gets_no_traceback() -> None:
    command = [
        sys.executable,
        "-m",
        "kubectl_lossless",
        "doctor",
        "-f",
        *[str(each) for each in CASES.iterdir()],
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 2
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
