"""Load balancers. More of these checks: doctor/kinds.py and doctor/kinds_of_pods.py."""

from __future__ import annotations

from doctor.helpers import RISKS, base, dump, findings, of
from doctor.kinds import hook


def test_group_of_endpoints_is_deregistered_later_than_a_short_hook_waits() -> None:
    objects = base(hook("sleep", "6"))
    objects[1]["metadata"]["annotations"] = {"cloud.google.com/neg": '{"ingress": true}'}
    found = of("pod-targets", findings(dump(objects)))
    assert (found.severity, found.related) == (RISKS, ("Service web",))
    assert found.changes[0].value == {"sleep": {"seconds": 15}}
