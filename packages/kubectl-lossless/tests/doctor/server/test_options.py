"""Servers whose facts are in the options of their command line."""

from __future__ import annotations

from kubectl_lossless.doctor.server.known import known
from kubectl_lossless.doctor.server.start import Start


def test_uwsgi_ends_at_sigterm_only_with_its_option() -> None:
    without, with_option = (known(Start(["uwsgi", *more]), {}).kind for more in ([], ["--die-on-term"]))
    assert without is not None
    assert without.ignores_sigterm
    assert with_option is not None
    assert not with_option.ignores_sigterm


def test_program_behind_an_init_is_ended_by_sigterm() -> None:
    kind = known(Start(["tini", "--", "python", "app.py"]), {}).kind
    assert kind is not None
    assert not kind.ignores_sigterm
    assert kind.drops_in_flight
