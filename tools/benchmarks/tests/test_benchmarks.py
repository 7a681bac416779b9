"""Computations of the benchmarks: wrk's output, tables, spreads, limits. No test measures anything."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.benchmarks.__main__ import FIGURES, by_application, table
from tools.benchmarks.applications import APPLICATIONS
from tools.benchmarks.checks import LIMITS, failures
from tools.benchmarks.figures import Spread
from tools.benchmarks.instructions import total
from tools.benchmarks.load import parse
from tools.benchmarks.scenarios import SCENARIOS
from tools.benchmarks.servers import FLOOR_NAME, LANE, LEADER, STOCK, contenders, on_each_python

WRK = """Running 2s test @ http://127.0.0.1:8080/api
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   651.21us  312.44us   9.12ms   93.12%
    Req/Sec    12.41k   601.10    13.20k    80.00%
  Latency Distribution
     50%  612.00us
     75%  711.00us
     90%    0.89ms
     99%    1.52ms
  24702 requests in 2.00s, 5.51MB read
Requests/sec:  12350.75
Transfer/sec:      2.75MB
"""


def test_output_of_wrk_is_read() -> None:
    read = parse(WRK)
    assert (read.rate, read.errors) == (12350.75, 0)
    assert (read.median, read.p99) == pytest.approx((612e-6, 1.52e-3))


def test_errors_of_wrk_are_added_up() -> None:
    errors = "  Socket errors: connect 1, read 2, write 0, timeout 4\n  Non-2xx or 3xx responses: 30\n"
    assert parse(errors + WRK).errors == 37


def test_other_output_is_shown_in_the_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:8080")


def test_instructions_of_all_processes_are_added_up() -> None:
    profile = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) a\n1 12\n\ntotals: 12\n"
    assert total([profile, profile.replace("12", "30")]) == 42
    with pytest.raises(ValueError, match="no profile"):
        total(["a log"])


def test_table_is_markdown() -> None:
    rows: list[dict[str, Any]] = [{"server": "a", "ratio": Spread(1.234, 1, 2)}]
    assert table(rows) == "| server | ratio |\n| --- | --- |\n| a | 1.23 (1.00-2.00) |"


def test_table_of_an_application_has_a_line_for_each_server() -> None:
    rows: list[dict[str, Any]] = [
        {"application": "a", "server": server, "connections": count, **dict.fromkeys(FIGURES, count)}
        for server in ("x", "y")
        for count in (8, 64)
    ]
    lines = by_application(rows).splitlines()
    assert lines[0].startswith("| server with a | requests/s, 8 | ")
    assert lines[2:] == [
        f"| {server} | " + " | ".join(["8"] * 4 + ["64"] * 4) + " |" for server in ("x", "y")
    ]


def test_limits_belong_to_scenarios() -> None:
    assert set(LIMITS) <= set(SCENARIOS)


@pytest.mark.parametrize(
    ("scenario", "row", "sentence"),
    [
        ("idle", {"rate ratio": Spread(0.5, 0.4, 0.9)}, "is 0.50; at least 0.8 is expected"),
        ("streams", {"p99 ratio": Spread(2.5, 1, 9)}, "is 2.50; at most 2 is expected"),
        ("lazy", {"p99 ratio": "no response"}, "is 'no response'"),
        ("probes", {"unanswered": 1}, "is 1.00; at most 0 is expected"),
    ],
)
def test_figure_beyond_its_limit_is_a_failure(scenario: str, row: dict[str, Any], sentence: str) -> None:
    (column,) = row
    failed = failures(scenario, [{"server": LANE.name, **row}])
    assert failed == [f"{scenario}: {column} of {LANE.name} {sentence}"]
    assert failures(scenario, [{"server": STOCK.name, **row}]) == []


def test_figure_at_its_limit_is_no_failure() -> None:
    assert failures("idle", [{"server": LEADER.name, "rate ratio": Spread(0.8, 0.1, 1)}]) == []
    assert failures("fairness", [{"greedy clients": "64", "p99 ratio": Spread(2, 1, 9)}]) == []
    assert failures("memory", [{"server": LEADER.name, "PSS MB": Spread(9e9, 1, 9e9)}]) == []


def test_fairness_beyond_its_limit_names_the_load() -> None:
    failed = failures("fairness", [{"greedy clients": "64 busy", "p99 ratio": Spread(2.1, 1, 9)}])
    assert failed == ["fairness: p99 ratio of 64 busy is 2.10; at most 2 is expected"]


@pytest.mark.parametrize(
    "contender",
    [each for application in APPLICATIONS for each in contenders(application)],
    ids=lambda each: f"{each.name}, {each.application.name}",
)
def test_command_of_a_server_has_nothing_left_to_fill_in(contender: Any) -> None:
    fill = {"port": 1, "workers": 2, "threads": 3, "metrics": "metrics"}
    words = [each.format(**fill) for each in (*contender.command, *contender.environment.values())]
    assert not any("{" in word for word in words)
    assert any("127.0.0.1" in word for word in words) or contender.name == FLOOR_NAME


def test_contender_runs_on_the_python_of_each_environment(tmp_path: Path) -> None:
    for name in (".venv", ".venv-3.99.1", ".venv-27.0.0"):
        programs = tmp_path / name / "bin"
        programs.mkdir(parents=True)
        programs.joinpath("python").symlink_to(sys.executable)
        programs.joinpath("gunicorn").touch()
    tmp_path.joinpath(".venv-3.99.2/bin").mkdir(parents=True)  # not set up
    found = list(on_each_python(LEADER, tmp_path))
    assert {each.name.partition(",")[0] for each in found} == {platform.python_version()}
    assert {each.command[0] for each in found} == {
        str(tmp_path / name / "bin/python") for name in (".venv", ".venv-3.99.1")
    }
    assert all(each.command[1:] == ("-m", *LEADER.command) for each in found)
    assert {each.environment["PYTHON_JIT"] for each in found if "JIT" not in each.name} == {"0"}


def test_servers_that_are_compared_are_the_same_for_every_application() -> None:
    names = {tuple(each.name for each in contenders(application)) for application in APPLICATIONS}
    assert len(names) == 1
