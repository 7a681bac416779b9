"""gunicorn_drain.policy: the end of a drain, and its policy in the environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_drain.policy import DrainPolicy, DrainStatus, EndReason, PolicyError, end_reason

seconds = st.floats(0, 1000)
counts = st.integers(0, 9)
statuses = st.builds(
    DrainStatus, elapsed=seconds, quiet=seconds, in_flight=counts, backlog=counts, streams=counts
)
policies = st.tuples(seconds, seconds, seconds).map(
    lambda three: DrainPolicy(
        minimum=min(three[0], three[2]), quiet=three[1], maximum=max(three[0], three[2])
    )
)


@given(policies, statuses)
def test_drain_ends_at_its_maximum_or_when_nothing_is_left(policy: DrainPolicy, status: DrainStatus) -> None:
    nothing_left = status.quiet >= policy.quiet and not (status.in_flight or status.backlog or status.streams)
    if status.elapsed >= policy.maximum:
        assert end_reason(policy, status) is EndReason.MAXIMUM
    elif status.elapsed >= policy.minimum and nothing_left:
        assert end_reason(policy, status) is EndReason.QUIET
    else:
        assert end_reason(policy, status) is None


@given(policies, statuses, seconds)
def test_ended_drain_stays_ended_while_time_passes(
    policy: DrainPolicy, status: DrainStatus, more: float
) -> None:
    later = replace(status, elapsed=status.elapsed + more, quiet=status.quiet + more)
    assert end_reason(policy, status) is None or end_reason(policy, later) is not None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"minimum": -1}, "minimum"),
        ({"quiet": float("nan")}, "quiet"),
        ({"maximum": float("inf")}, "maximum"),
        ({"minimum": 16}, "minimum"),
        ({"minimum": "5"}, "minimum is '5'; allowed are seconds from 0"),
        ({"quiet": None}, "quiet is None; allowed are seconds from 0"),
    ],
)
def test_impossible_policy_is_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DrainPolicy(**arguments)


def test_policy_comes_from_the_environment() -> None:
    environ = {"DRAIN_MIN": "2", "DRAIN_QUIET": "0.3", "DRAIN_MAX": "9"}
    assert DrainPolicy.from_environment(environ) == DrainPolicy(2, 0.3, 9)
    assert DrainPolicy.from_environment({"DRAIN": "", "DRAIN_MIN": ""}) == DrainPolicy()
    assert DrainPolicy.from_environment({"DRAIN": "off", **environ}) is None


def test_variables_of_a_service_called_drain_are_no_settings() -> None:
    injected = {
        "DRAIN_SERVICE_HOST": "10.43.0.9",
        "DRAIN_SERVICE_PORT": "80",
        "DRAIN_PORT": "tcp://10.43.0.9:80",
        "DRAIN_PORT_80_TCP_ADDR": "10.43.0.9",
        "DRAIN_MIN_SERVICE_HOST": "10.43.0.10",
    }
    assert DrainPolicy.from_environment(injected) == DrainPolicy()


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"DRAIN": "yes"}, "DRAIN is 'yes'; allowed is one of on, off"),
        ({"DRAIN_MIN": "1e3"}, "DRAIN_MIN is '1e3'; allowed are seconds from 0 to 3600, whole or decimal"),
        ({"DRAIN_MAX": "3601"}, "DRAIN_MAX is '3601'; allowed are seconds from 0 to 3600, whole or decimal"),
        (
            {"DRAIN_MIN": "20", "DRAIN_MAX": "10"},
            "DRAIN_MIN is 20; allowed is at most DRAIN_MAX, which is 10",
        ),
        (
            {"DRAIN_MIN": "20"},
            "DRAIN_MIN is 20; allowed is at most DRAIN_MAX, which is 15 where it is not set",
        ),
        (
            {"DRAIN_MAX": "3"},
            "DRAIN_MIN is 5 where it is not set; allowed is at most DRAIN_MAX, which is 3",
        ),
    ],
)
def test_wrong_variable_is_named_with_allowed_values(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(PolicyError) as caught:
        DrainPolicy.from_environment(environ)
    assert str(caught.value) == sentence
