"""The keep-alive timeout. More of this check: doctor/kinds_of_neighbours.py."""

from __future__ import annotations

from doctor.helpers import RISKS, base, dump, findings
from doctor.kinds import THREADS, command, ingress


def test_keepalive_is_compared_with_the_controller_in_front() -> None:
    changes = (
        command(*THREADS[:4], "--keep-alive", "50", "--graceful-timeout", "20"),
        ingress("web", {"number": 80}),
    )
    (found,) = (each for each in findings(dump(base(*changes))) if each.check == "keepalive")
    assert (found.severity, found.changes[0].value) == (RISKS, "75")
    assert (
        found.what
        == "ingress-nginx keeps an idle connection to a pod for 60 s, the server closes it after 50 s."
    )
