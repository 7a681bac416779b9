"""tools.benchmarks.soak and soak_load: the report of a long run, and its load. No test measures anything."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.benchmarks import soak, soak_load
from tools.benchmarks.soak import (
    DISTURBED,
    GROWTH_LIMITS,
    SAMPLE_INTERVAL,
    UNDISTURBED,
    growth,
    read,
    report,
)
from tools.benchmarks.soak_load import TIMEOUT, Load


def run(change: Callable[[dict[str, Any], int], object] = lambda each, number: None) -> list[dict[str, Any]]:
    """Return two hours of samples in which nothing grows, each changed by `change`."""
    samples: list[dict[str, Any]] = []
    for number in range(240):
        each = dict.fromkeys(GROWTH_LIMITS, 50 + number % 3) | {"errors": {}, "requests": number}
        part = DISTURBED if number < 132 else UNDISTURBED
        samples.append(each | {"seconds": SAMPLE_INTERVAL * (number + 1), "part": part})
        change(samples[-1], number)
    return samples


def verdicts(samples: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return part and figure of each growth."""
    return {(row["part"].split(",")[0], row["figure"]) for row in growth(samples) if row["verdict"] != "flat"}


def test_run_in_which_nothing_grows_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(run()) == 0
    out, err = capsys.readouterr()
    assert "| requests | 239 |" in out
    assert "| disturbed, 33-66 min | memory MB | 66 | " in out
    assert err == ""


@pytest.mark.parametrize("figure", GROWTH_LIMITS)
def test_figure_that_grows_fails_the_run(figure: str, capsys: pytest.CaptureFixture[str]) -> None:
    samples = run(lambda each, number: each.update({figure: each[figure] + 3 * number}))
    assert verdicts(samples) == {(DISTURBED, figure), (UNDISTURBED, figure)}
    assert report(samples) == 1
    assert f"{figure} grows (disturbed" in capsys.readouterr().err


@pytest.mark.parametrize(("threads", "found"), [(1, set()), (2, {(UNDISTURBED, "threads")})])
def test_thread_that_is_first_needed_late_is_no_growth(threads: int, found: set[tuple[str, str]]) -> None:
    samples = run(lambda each, number: each.update(threads=30 + threads * (number > 220)))
    assert verdicts(samples) == found


def test_leak_of_old_workers_is_found_without_replacement() -> None:
    """A SIGHUP every five minutes, ten samples, hides the leak in the first part."""

    def leak(each: dict[str, Any], number: int) -> None:
        each["memory MB"] += (number % 10 if each["part"] == DISTURBED else number) * 0.1

    assert verdicts(run(leak)) == {(UNDISTURBED, "memory MB")}


def test_growth_at_the_beginning_of_each_part_is_no_leak() -> None:
    def warm_up(each: dict[str, Any], number: int) -> None:
        for start in (0, 132):
            if number in range(start, start + 15):
                each["threads"] = number - start

    assert verdicts(run(warm_up)) == set()


def test_growth_that_slows_down_is_no_leak() -> None:
    """Free memory that malloc keeps: 10 MB in each part, half of it in the first six of its minutes."""

    def warm_up(each: dict[str, Any], number: int) -> None:
        each["memory MB"] += 10 * (1 - 0.5 ** ((number % 132) / 12))

    assert verdicts(run(warm_up)) == set()


def test_lost_request_fails_the_run_and_one_of_a_killed_worker_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(run(lambda each, number: each.update({"requests failed by a SIGKILL": 3}))) == 0
    assert "| requests failed by a SIGKILL | 3 |" in capsys.readouterr().out
    assert report(run(lambda each, number: each.update(lost=1, errors={"new: Lost status 502": 1}))) == 1
    assert "beyond its limit: lost: 1 x new: Lost status 502" in capsys.readouterr().err


def test_run_that_was_interrupted_is_reported(tmp_path: Path) -> None:
    samples = run()[:90]
    path = tmp_path / "soak.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in samples))
    assert read(path) == samples
    assert report(read(path)) == 0


def test_load_multiplies_the_clients_and_not_the_probes() -> None:
    once, thrice = (Counter(each.__name__ for each in Load(0, times).clients()) for times in (1, 3))
    probes = once.pop("<lambda>")
    assert thrice == Counter({name: 3 * count for name, count in once.items()} | {"<lambda>": probes})


@pytest.mark.parametrize(
    ("timeout", "counted"), [(0, "headers later than their timeout"), (TIMEOUT, "lost")], ids=str
)
def test_headers_that_the_load_sends_too_late_are_not_lost(
    timeout: float, counted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three requests were lost in a long run, when the load itself had stalled."""
    monkeypatch.setattr(soak_load, "HEADER_TIMEOUT", timeout)
    monkeypatch.setattr(soak_load, "HEADER_PAUSE", (0, 0))

    async def send() -> Load:
        async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
            load = Load(server.sockets[0].getsockname()[1])
            await load.slow_headers()
            return load

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.close()

    counts = asyncio.run(send()).counts
    assert {name: counts[name] for name in ("headers later than their timeout", "lost")} == {
        "headers later than their timeout": 0,
        "lost": 0,
        counted: 1,
    }


MAPS_A_FILE = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
read = sum(mapped[::4096])
print("mapped", flush=True)
sys.stdin.readline()
allocated = b"x" * 8_000_000
print("allocated", flush=True)
sys.stdin.readline()
"""


def test_memory_is_that_of_the_process_alone(tmp_path: Path) -> None:
    file = tmp_path / "mapped"
    file.write_bytes(bytes(8_000_000))
    command = [sys.executable, "-c", MAPS_A_FILE, str(file)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start() as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "mapped\n"
        measured = psutil.Process(process.pid)
        alone = soak.own_memory(measured)
        with start() as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "mapped\n"
            assert soak.own_memory(measured) == pytest.approx(alone, abs=1)
            other.communicate()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "allocated\n"
        assert soak.own_memory(measured) == pytest.approx(alone + 8, abs=1)
        process.communicate()
