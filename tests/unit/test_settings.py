"""Tests of app/settings.py, and of the table of the settings in docs/settings.md."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import ORDERED, Settings, SettingsError

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
        ("BIND", "[::1", "IP addresses, separated by commas"),
        ("BIND", "[127.0.0.1]", "IP addresses, separated by commas"),
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
