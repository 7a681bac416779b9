"""Check of the time that a pod has to terminate."""

from __future__ import annotations

from doctor.helpers import base, dump, findings, of
from doctor.kinds import THREADS, command, grace, hook, no_hook


def test_suggested_grace_period_includes_the_suggested_hook() -> None:
    found = findings(dump(base(command(*THREADS), no_hook, grace(30))))
    (hook_change, grace_change) = of("drain", found).changes
    assert hook_change.value == {"sleep": {"seconds": 15}}
    assert grace_change.value == 15 + 20 + 2 + 1


def test_endless_hook_is_replaced() -> None:
    found = of("grace-period", findings(dump(base(hook("sleep", "infinity")))))
    assert found.what == "preStop takes for ever; the pod is killed after 60 s."
    assert found.changes[0].value == {"sleep": {"seconds": 15}}


def test_grace_that_was_left_out_is_30_seconds() -> None:
    objects = base(command(*THREADS), hook("sleep", "10"))
    del objects[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    found = of("grace-period", findings(dump(objects)))
    assert (
        found.what
        == "preStop 10 s + graceful timeout 20 s + 2 s margin is 32 s; the pod is killed after 30 s."
    )
