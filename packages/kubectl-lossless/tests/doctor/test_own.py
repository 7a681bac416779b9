"""The settings of a service with the drain."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.own import is_own, read


@pytest.mark.parametrize(
    ("environment", "gunicorn", "expected"),
    [
        ({"DRAIN": "on", "APP_VERSION": "v1"}, False, True),
        ({"DRAIN_MIN": "1", "DRAIN_MAX": "9"}, False, True),
        ({"DRAIN_MAX": "9"}, True, True),
        ({"DRAIN": "on"}, True, True),
        ({"DRAIN": "true"}, True, False),
        ({"DRAIN": "on"}, False, False),
        ({"DRAIN": "yes", "APP_VERSION": "v1"}, False, False),
        ({}, True, False),
    ],
)
def test_service_is_recognized_by_more_than_a_switch(
    environment: dict[str, str], gunicorn: bool, expected: bool
) -> None:
    assert is_own(environment, gunicorn) is expected


def test_defaults_apply_to_empty_variables() -> None:
    found = read({"DRAIN_MAX": ""})
    assert (found.drains, found.values["DRAIN_MAX"], found.wrong) == (True, 15, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [("DRAIN_MAX", "soon"), ("KEEPALIVE", "7.5"), ("WORKERS", "0"), ("DRAIN", "yes"), ("DRAIN_MIN", "20")],
)
def test_wrong_value_is_named(name: str, value: str) -> None:
    (wrong,) = read({name: value}).wrong
    assert wrong.startswith(f"{name} is ")
    assert "; allowed is " in wrong


def test_misspelt_setting_is_named_and_injected_variables_are_not() -> None:
    (found,) = read(
        {"DRAIN_MAXX": "1", "DRAIN_SERVICE_HOST": "10.0.0.1", "DRAIN_PORT": "tcp://10.0.0.1:80"}
    ).ignored
    assert found == "DRAIN_MAXX is not a setting and has no effect; DRAIN_MAX may be meant"
