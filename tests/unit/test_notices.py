"""Tests of app/notices.py."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.notices import notices
from app.settings import NAMES, Settings
from tests.service_links import service_links


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


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(1, 65535))
@example("drain", 80)
@example("drain-min", 80)
@example("port", 80)
@example("workers", 80)
@example("log-level", 80)
def test_service_of_any_name_changes_no_setting(service: str, port: int) -> None:
    environ = service_links(service, port)
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
