"""Setup of every test session: signals, Hypothesis, the guard of kubectl, slow tests, the order of tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import kubectl_guard
from tests.order import long_first
from tests.selection import has_exceptions, is_slow, may_hold

# A shell without job control starts background commands with SIGINT and SIGQUIT ignored, and their child
# processes inherit that. The tests send both signals to child processes, which start with the default
# actions thanks to these two lines.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# The same generated inputs in every run, so that a new failure comes from the change under test. Use
# pytest --hypothesis-profile=default for other inputs. No deadline: a busy machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the cluster tests, which `make test-cluster` sets."""
    group = parser.getgroup("cluster", "tests on a real cluster")
    group.addoption("--cluster-context", metavar="NAME", default="", help="kubectl context to run them on")
    group.addoption(
        "--disruptive", action="store_true", help="also those that drain a node, evict, or stop a kube-proxy"
    )
    for name in ("image", "envoy-image", "load-image"):
        group.addoption(f"--{name}", default="", help=f"the {name} of the pods, instead of the manifests'")


def pytest_configure(config: pytest.Config) -> None:
    """Put the guard ahead of kubectl on PATH, for this process and all processes that the tests start."""
    context = config.getoption("--cluster-context")
    if context and not hasattr(config, "workerinput"):
        from tests.cluster.beforehand import check

        check(context)  # before the guard, so that its errors are about kubectl's own contexts
    kubectl_guard.install(context)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a test that `-m slow` or `-m "not slow"` selects."""
    return None if may_hold(collection_path, config.getoption("markexpr")) else True


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Mark slow tests by their directory; start with the long ones, once the others are deselected."""
    for item in items:
        exception = "fast" if is_slow(item.path) else "slow"
        if item.get_closest_marker(exception) is not None and not has_exceptions(item.path):
            raise pytest.UsageError(
                f"{item.nodeid} is marked {exception} without mark.{exception} in its file"
            )
        if is_slow(item.path) and item.get_closest_marker("fast") is None:
            item.add_marker(pytest.mark.slow)
    yield
    jobs = int(getattr(config, "workerinput", {}).get("workercount", 1))
    items[:] = long_first(items, lambda item: item.get_closest_marker("long") is not None, jobs)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Announce the cluster and the changes that the tests will make to it."""
    if context := session.config.getoption("--cluster-context"):
        from tests.cluster.beforehand import announce

        announce(context, disruptive=session.config.getoption("--disruptive"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a call of kubectl was refused, even if the test that made the call passed."""
    if not hasattr(session.config, "workerinput") and kubectl_guard.refused(kubectl_guard.install()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


LONG = 15.0
"""Seconds of a test, among others that run beside it, after which the marker long is missing."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the refused calls of kubectl, and tests that should start before the others."""
    unmarked = [
        each
        for each in terminalreporter.getreports("passed")
        if each.when == "call" and each.duration > LONG and "long" not in each.keywords
    ]
    if unmarked and terminalreporter.config.getoption("numprocesses", None):
        terminalreporter.section("long tests without the marker long, which may run last")
        for each in unmarked:
            terminalreporter.line(f"{each.duration:.0f} s  {each.nodeid}")
    if calls := kubectl_guard.refused(kubectl_guard.install()):
        terminalreporter.section("calls of kubectl that were refused", red=True)
        for call in calls:
            terminalreporter.line(call)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the guard."""
    if not hasattr(config, "workerinput") and kubectl_guard.HOME in os.environ:
        kubectl_guard.remove(kubectl_guard.install())
