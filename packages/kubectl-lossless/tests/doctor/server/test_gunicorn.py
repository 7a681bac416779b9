"""Gunicorn's settings, and those of the drain."""

from __future__ import annotations

import pytest

from gunicorn_drain import config
from kubectl_lossless.doctor import own
from kubectl_lossless.doctor.server.known import known
from kubectl_lossless.doctor.server.start import Start


def test_gunicorns_settings_are_read_as_by_gunicorn() -> None:
    line = ["python", "-m", "gunicorn", "app:app", "-k", "gthread", "--keep-alive", "5"]
    found = known(Start(line), {"GUNICORN_CMD_ARGS": "--keep-alive 9 --graceful-timeout=12"})
    assert (found.keepalive, found.graceful, found.drain) == (5, 12, 0)  # the command line wins
    assert known(Start(["gunicorn", "app:app"]), {}).keepalive == 0  # sync closes after each response
    assert (
        known(Start(["gunicorn", "app:app", "--threads", "4"]), {}).keepalive == 2
    )  # which makes it gthread
    assert known(Start(["gunicorn", "--keep-alive", "long"]), {}).wrong
    assert known(Start(["gunicorn", "-c", "file.py", "app:app"]), {}).keepalive is None


PACKAGE = ["gunicorn", "-c", "python:gunicorn_drain.config", "-k", "gthread", "--threads", "8", "app:app"]


def test_drain_of_the_package_is_recognized_by_the_command_alone() -> None:
    found = known(Start(PACKAGE), {})
    assert (found.name, found.drain, found.graceful, found.keepalive) == ("Gunicorn", 15, 10, 2)
    assert (found.file, found.wrong, found.ignored) == ("", (), ())


def test_drain_of_the_package_has_its_settings_from_the_environment() -> None:
    environment = {"DRAIN_MAX": "40", "DRAIN_READINESS": "/up", "DRAIN_PROBES": "/healthz", "WORKERS": "many"}
    found = known(Start([*PACKAGE, "--graceful-timeout", "20", "--keep-alive", "75"]), environment)
    assert (found.drain, found.graceful, found.keepalive) == (40, 20, 75)
    assert (found.wrong, found.ignored) == ((), ())
    assert known(Start(PACKAGE), {"DRAIN": "off"}).drain == 0
    assert known(Start(PACKAGE), {"DRAIN_MAX": "soon"}).wrong == (
        "DRAIN_MAX is 'soon'; allowed is seconds from 0 to 3600, whole or decimal",
    )
    assert known(Start(PACKAGE), {"DRAIN_MAXIMUM": "9"}).ignored


def test_configuration_of_the_package_is_the_one_that_the_doctor_knows() -> None:
    assert f"python:{config.__name__}" == own.PACKAGE
    assert config.graceful_timeout == own.PACKAGE_GRACEFUL


@pytest.mark.parametrize("value", ["$WORKERS", "${WORKERS:-3}", "$(nproc)", "$(WORKERS)"])
def test_value_that_only_the_shell_knows_is_not_known(value: str) -> None:
    found = known(
        Start(["gunicorn", "app", "--graceful-timeout", value, "--keep-alive", "5", "--threads", "2"]), {}
    )
    assert (found.graceful, found.keepalive, found.wrong) == (None, 5, ())
