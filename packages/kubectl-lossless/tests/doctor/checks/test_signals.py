"""Checks of the signal that ends a server."""

from __future__ import annotations

from doctor.helpers import UNKNOWN, base, brief, container, dump, findings, of


def test_stop_signal_needs_a_feature_gate() -> None:
    found = findings(dump(base(lambda objects: container(objects)["lifecycle"].update(stopSignal="SIGQUIT"))))
    assert (UNKNOWN, "stop-signal") in brief(found)
    assert of("stop-signal", found).path[-2:] == ("lifecycle", "stopSignal")
    assert (UNKNOWN, "stop-signal") not in brief(findings(dump(base())))
