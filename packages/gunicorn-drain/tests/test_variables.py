"""Tests of variables.py. tests/unit/test_notices.py has those of another service's settings."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gunicorn_drain.policy import SETTINGS, DrainPolicy
from gunicorn_drain.variables import misspelt
from tests.service_links import service_links


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DRAIN_MIM", "DRAIN_MIN"),
        ("DRAINMIN", "DRAIN_MIN"),
        ("drain-max", "DRAIN_MAX"),
        ("DRAINS", "DRAIN"),
    ],
)
def test_typo_names_the_setting_that_may_be_meant(name: str, meant: str) -> None:
    assert misspelt({name: "1"}, SETTINGS) == [
        f"{name} is not a setting and has no effect; {meant} may be meant"
    ]


@pytest.mark.parametrize("name", ["DRAIN_FOO_BAR", "DRAIN_TIMEOUT", "DRAIN_PORT"])
def test_unknown_variable_of_the_drain_is_reported_with_the_known_ones(name: str) -> None:
    (sentence,) = misspelt({name: "10"}, SETTINGS)
    assert sentence.startswith(f"{name} is not a setting and has no effect")
    assert sentence.endswith("DRAIN, DRAIN_MIN, DRAIN_QUIET, DRAIN_MAX")


def test_settings_and_foreign_variables_are_not_reported() -> None:
    foreign = {"PATH": "/bin", "HOSTNAME": "drain-1", "HOME": "/", "TZ": "UTC", "LANG": "C", "TRAIN": "1"}
    assert misspelt({**foreign, **dict.fromkeys(SETTINGS, "1")}, SETTINGS) == []


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(1, 65535))
@example("drain", 80)
@example("drain-min", 80)
def test_service_of_any_name_is_neither_reported_nor_a_setting(service: str, port: int) -> None:
    environ = service_links(service, port)
    assert misspelt(environ, SETTINGS) == []
    assert DrainPolicy.from_environment(environ) == DrainPolicy()
