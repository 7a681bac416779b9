"""Fixtures and options of all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests import kubectl_guard

# A shell without job control has what it runs in the background ignore SIGINT and SIGQUIT, and whatever
# that starts. The tests send both to programs of theirs; with these here, those start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# The same generated inputs in every run: a change is judged by what it changed. Others are tried with
# pytest --hypothesis-profile=default. No deadline, because a busy machine is no fault of the inputs.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the cluster's tests; `make test-cluster` gives them."""
    group = parser.getgroup("cluster", "tests on a real cluster")
    group.addoption("--cluster-context", metavar="NAME", default="", help="kubectl context to run them on")
    group.addoption(
        "--disruptive", action="store_true", help="also those that drain a node, evict, or stop a kube-proxy"
    )
    for name in ("image", "envoy-image", "load-image"):
        group.addoption(f"--{name}", default="", help=f"the {name} of the pods, instead of the manifests'")


def pytest_configure(config: pytest.Config) -> None:
    """Put the guard before kubectl, for this process and all that the tests start."""
    context = config.getoption("--cluster-context")
    if context and not hasattr(config, "workerinput"):
        from tests.cluster.beforehand import check

        check(context)  # before the guard, so that its sentence comes from kubectl's own contexts
    kubectl_guard.install(context)


SLOW_DIRECTORIES = [
    Path(__file__).parent / "tests" / name for name in ("process", "browser", "examples", "cluster")
]
"""Directories whose tests are slow, except those marked fast."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests by their directory."""
    for item in items:
        is_slow = any(item.path.is_relative_to(each) for each in SLOW_DIRECTORIES)
        if is_slow and item.get_closest_marker("fast") is None:
            item.add_marker(pytest.mark.slow)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what will be done to which cluster."""
    if context := session.config.getoption("--cluster-context"):
        from tests.cluster.beforehand import announce

        announce(context, disruptive=session.config.getoption("--disruptive"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session for a call of kubectl that was refused, whatever the test that made it expected."""
    if not hasattr(session.config, "workerinput") and kubectl_guard.refused(kubectl_guard.install()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the refused calls."""
    if calls := kubectl_guard.refused(kubectl_guard.install()):
        terminalreporter.section("calls of kubectl that were refused", red=True)
        for call in calls:
            terminalreporter.line(call)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the guard away again."""
    if not hasattr(config, "workerinput") and kubectl_guard.HOME in os.environ:
        kubectl_guard.remove(kubectl_guard.install())
