"""Facts of a server, at another signal and as the user states them."""

from __future__ import annotations

from kubectl_lossless.doctor.server.kinds import KINDS
from kubectl_lossless.doctor.server.model import Overrides, Server, overridden, with_signal

NGINX = Server("nginx", drain=0.0, kind=KINDS["nginx"])


def test_signal_at_which_a_server_finishes_changes_nothing_but_itself() -> None:
    assert with_signal(NGINX, "SIGQUIT").kind == NGINX.kind
    assert with_signal(NGINX, "").signal == ""


def test_quick_signal_drops_requests_in_flight() -> None:
    found = with_signal(NGINX, "SIGTERM")
    assert found.kind is not None
    assert (found.kind.drops_in_flight, found.better_signal) == (True, "SIGQUIT")


def test_statement_of_the_user_has_precedence() -> None:
    assert overridden(NGINX, Overrides(drain=0.0, graceful=9.0)) == Server(
        "nginx", drain=0.0, graceful=9.0, kind=KINDS["nginx"]
    )
    assert overridden(NGINX, Overrides()) == NGINX
