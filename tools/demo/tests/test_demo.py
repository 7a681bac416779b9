"""`make demo`: without the drain an update loses requests, with it none."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.ports import port_of, reservation

DEMO = (sys.executable, "-m", "tools.demo")


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.long
@pytest.mark.slow
def test_update_loses_requests_only_without_the_drain() -> None:
    with reservation() as off, reservation() as on:
        done = demo("--updates", "1", "--pause", "1", "--ports", str(port_of(off)), str(port_of(on)))
    assert (done.returncode, done.stderr) == (0, "")
    total = done.stdout.partition("In total:")[2]
    counts = {
        drain: (version, int(lost.replace(",", "")))
        for drain, version, lost in re.findall(r"DRAIN=(off|on) +(v\d+) .* ([\d,]+) lost", total)
    }
    assert counts["off"][0] == counts["on"][0] == "v2"
    assert counts["off"][1] > 0 == counts["on"][1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_demonstration_and_its_services(number: signal.Signals) -> None:
    with reservation() as off, reservation() as on:
        ports = [port_of(off), port_of(on)]
        with subprocess.Popen(
            [*DEMO, "--ports", *map(str, ports)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert "Open both pages" in process.stdout.readline()
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "\nEnded by a signal.\n")
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))


@pytest.mark.slow
def test_port_in_use_is_named_in_the_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, reservation() as free:
        port = str(taken.getsockname()[1])
        done = demo("--ports", str(port_of(free)), port)
    assert done.returncode == 2
    assert "address already in use" in done.stderr
    assert port in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--updates", "0"), "--updates is 0; allowed is a whole number from 1 to 100"),
        (("--pause", "-1"), "--pause is -1; allowed are seconds from 0 to 600"),
        (("--ports", "80", "70000"), "--ports has 70000; allowed are whole numbers from 1 to 65535"),
    ],
)
def test_wrong_argument_is_refused_with_the_allowed_values(arguments: tuple[str, ...], sentence: str) -> None:
    done = demo(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
