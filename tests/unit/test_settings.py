"""Tests of app/settings.py, and of the table of the settings in docs/settings.md."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.settings import ORDERED, Settings, SettingsError, notices

NAMES = [each.name.upper() for each in fields(Settings)]


def test_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_variables_are_read() -> None:
    settings = Settings.from_environment(
        {"PORT": "9000", "DRAIN": "off", "DRAIN_MIN": "0.5", "KEEPALIVE": "0", "APP_VERSION": "v3"}
    )
    assert (settings.port, settings.drain, settings.drain_min, settings.keepalive) == (9000, False, 0.5, 0)
    assert settings.app_version == "v3"
    assert settings.drain_policy is None


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("BIND", "localhost", "IP addresses, separated by commas"),
        ("BIND", "0.0.0.0:80", "IP addresses, separated by commas"),
        ("BIND", "127.0.0.1,", "IP addresses, separated by commas"),
        ("BIND", "fe80::1%eth0", "IP addresses, separated by commas"),
        ("PORT", "0", "1 to 65535"),
        ("PORT", "65536", "1 to 65535"),
        ("PORT", "tcp://10.96.0.7:80", "1 to 65535"),
        ("WORKERS", "two", "1 to 64"),
        ("THREADS", "0", "1 to 512"),
        ("WORKER_CLASS", "eventlet", "gthread, sync, gevent"),
        ("DRAIN", "yes", "on, off"),
        ("DRAIN_MIN", "nan", "0 to 3600"),
        ("DRAIN_QUIET", "-1", "0 to 600"),
        ("DRAIN_MAX", "1e3", "0 to 3600"),
        ("GRACEFUL_TIMEOUT", "1.5", "0 to 3600"),
        ("LOG_LEVEL", "INFO", "debug, info"),
        ("LOG_FORMAT", "xml", "text, json"),
        ("WEB_CONCURRENCY", "many", "1 to 64"),
        ("ACCESS_LOG", "1", "on, off"),
        ("SLEEP_LIMIT", "inf", "0 to 3600"),
        ("APP_VERSION", "v 1", "visible ASCII"),
        ("STREAM_TELL_FIRST", "1.1", "0 to 1"),
        ("STREAM_DEADLINE", "1", "0 to 0.95"),
        ("STREAM_REPLAY", "0", "1 to 3600"),
        ("WEBSOCKET_PING", "0", "1 to 3600"),
        ("STREAM_TELL_FIRST", "0.7", "at most STREAM_TELL_LAST, which is 0.6"),
        ("STREAM_TELL_LAST", "0.9", "at most STREAM_DEADLINE, which is 0.8"),
        ("STREAM_RETRY_MAX", "0.1", "at most STREAM_RETRY_MAX, which is 0.1"),
        ("DRAIN_MIN", "15.1", "at most DRAIN_MAX, which is 15"),
    ],
)
def test_error_names_the_setting_the_value_and_the_allowed_values(
    name: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({name: value})
    assert name in str(error.value)
    assert value in str(error.value)
    assert allowed in str(error.value)


def test_all_errors_are_reported_together() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({"PORT": "x", "THREADS": "y", "DRAIN_MIN": "-3"})
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all(any(name in line for line in lines) for name in ("PORT", "THREADS", "DRAIN_MIN"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DRAIN_MIM", "DRAIN_MIN"),
        ("GRACEFULL_TIMEOUT", "GRACEFUL_TIMEOUT"),
        ("KEEP_ALIVE", "KEEPALIVE"),
        ("SLEEP_LIMITS", "SLEEP_LIMIT"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("WORKER", "WORKERS"),
        ("log-level", "LOG_LEVEL"),
    ],
)
def test_typo_is_reported_and_has_no_effect(name: str, meant: str) -> None:
    environ = {name: "1"}
    assert Settings.from_environment(environ) == Settings()
    assert notices(environ) == [f"{name} is not a setting and has no effect; {meant} may be meant"]


def test_unknown_variable_of_the_drain_is_reported_with_the_known_ones() -> None:
    (sentence,) = notices({"DRAIN_FOO_BAR": "1"})
    assert sentence.startswith("DRAIN_FOO_BAR is not a setting")
    assert sentence.endswith("DRAIN, DRAIN_MIN, DRAIN_QUIET, DRAIN_MAX")


def test_foreign_variables_are_not_reported() -> None:
    assert notices({"PATH": "/bin", "HOSTNAME": "pod-1", "HOME": "/", "TZ": "UTC", "LANG": "C"}) == []


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(1, 65535))
@example("drain", 80)
@example("drain-min", 80)
@example("port", 80)
@example("workers", 80)
@example("log-level", 80)
def test_service_of_any_name_changes_no_setting(service: str, port: int) -> None:
    name = service.upper().replace("-", "_")
    environ = {
        f"{name}_SERVICE_HOST": "10.43.0.9",
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_DRAIN_MIN": str(port),
        f"{name}_PORT": f"tcp://10.43.0.9:{port}",
        f"{name}_PORT_{port}_UDP": f"udp://10.43.0.9:{port}",
        f"{name}_PORT_{port}_UDP_PROTO": "udp",
        f"{name}_PORT_{port}_UDP_PORT": str(port),
        f"{name}_PORT_{port}_UDP_ADDR": "10.43.0.9",
    }
    assert Settings.from_environment(environ) == Settings()
    assert notices(environ) == []


@pytest.mark.parametrize("name", NAMES)
def test_empty_variable_counts_as_not_set(name: str) -> None:
    assert Settings.from_environment({name: ""}) == Settings()
    (sentence,) = notices({name: ""})
    assert sentence.startswith(f"{name} is empty and has no effect; its default applies, ")


def test_web_concurrency_is_read_if_workers_is_not_set() -> None:
    assert Settings.from_environment({"WEB_CONCURRENCY": "5"}).workers == 5
    assert Settings.from_environment({"WEB_CONCURRENCY": "5", "WORKERS": ""}).workers == 5
    assert Settings.from_environment({"WEB_CONCURRENCY": "5", "WORKERS": "3"}).workers == 3
    assert notices({"WEB_CONCURRENCY": "5"}) == notices({"WEB_CONCURRENCY": "5", "WORKERS": "5"}) == []


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12)))
def test_any_text_is_read_or_refused_by_name(environ: dict[str, str]) -> None:
    try:
        settings = Settings.from_environment(environ)
    except SettingsError as error:
        assert any(name in str(error) for name in environ)  # noqa: PT017 - either outcome is right
    else:
        for lower, upper in ORDERED:
            assert getattr(settings, lower) <= getattr(settings, upper)
        assert all(re.fullmatch("[!-~]*", value) for value in environ.values())


def test_reference_page_has_each_setting_with_its_unit_default_and_range() -> None:
    page = (Path(__file__).parents[2] / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| `(.*?)` \| (.*?) \|", page, re.MULTILINE)
    assert rows == [
        (
            each.name.upper(),
            each.metadata["rule"].unit or "-",
            shown(each.default),
            each.metadata["rule"].allowed,
        )
        for each in fields(Settings)
    ]


def shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("leader.worker.LeaderWorker", "gunicorn_fast.LeaderWorker"),
        ("app.worker.ProbeLaneWorker", "gunicorn_fast.ProbeLaneWorker"),
    ],
)
def test_worker_class_of_an_earlier_release_gets_its_new_name(old: str, new: str) -> None:
    environ = {"WORKER_CLASS": old}
    assert Settings.from_environment(environ).worker_class == new
    assert notices(environ) == [f"WORKER_CLASS is {old}; its name is {new} now, which applies"]
