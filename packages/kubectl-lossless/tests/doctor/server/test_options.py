"""Servers whose facts are in the options of their command line."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.known import known
from kubectl_lossless.doctor.server.start import Start


def test_uwsgi_ends_at_sigterm_only_with_its_option() -> None:
    without, with_option = (known(Start(["uwsgi", *more]), {}).kind for more in ([], ["--die-on-term"]))
    assert without is not None
    assert without.ignores_sigterm
    assert with_option is not None
    assert not with_option.ignores_sigterm


@pytest.mark.parametrize(
    ("more", "graceful"),
    [
        (["--master"], True),
        (["-M"], True),
        (["--master=true"], True),
        ([], False),  # without a master nothing runs the hook: measured, uWSGI 2.0
        (["--master=false"], False),
    ],
)
def test_uwsgi_finishes_its_requests_with_a_hook_of_its_master(more: list[str], graceful: bool) -> None:
    words = ["uwsgi", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all", *more]
    kind = known(Start(words), {}).kind
    assert kind is not None
    assert (not kind.ignores_sigterm, not kind.drops_in_flight) == (graceful, graceful)


def test_hook_of_uwsgi_in_its_file_counts() -> None:
    text = "[uwsgi]\nmaster = true\nhook-master-start = unix_signal:15 gracefully_kill_them_all\n"
    kind = known(Start(["uwsgi", "/u.ini"], files={"/u.ini": text}), {}).kind
    assert kind is not None
    assert not kind.ignores_sigterm
    assert not kind.drops_in_flight


def test_idle_timeout_of_waitress_is_an_option_of_its_command_line() -> None:
    line = ["tini", "--", "waitress-serve", "--channel-timeout=30", "shop:app"]
    assert known(Start(line), {}).keepalive == 30


def test_program_behind_an_init_is_ended_by_sigterm() -> None:
    kind = known(Start(["tini", "--", "python", "app.py"]), {}).kind
    assert kind is not None
    assert not kind.ignores_sigterm
    assert kind.drops_in_flight
