"""Checks of whether a server serves on."""

from __future__ import annotations

from doctor.helpers import ADVICE, RISKS, UNKNOWN, base, brief, dump, findings, of
from doctor.kinds import command, env, no_hook
from kubectl_lossless.doctor.server.model import Overrides


def test_drain_that_the_user_knows_of_needs_no_hook() -> None:
    text = dump(base(no_hook))
    assert (RISKS, "drain") in brief(findings(text))
    told = findings(text, Overrides(drain=15, graceful=10, keepalive=75))
    assert not {each.check for each in told} & {"drain", "grace-period", "keepalive"}
    short = findings(text, Overrides(drain=50, graceful=20, keepalive=75))
    assert of("grace-period", short).changes[0].value == 73


def test_configuration_file_is_not_known() -> None:
    found = findings(dump(base(command("gunicorn", "-c", "/etc/g.py", "app"), no_hook)))
    unknown = {each.check for each in found if each.severity is UNKNOWN}
    assert unknown == {"drain", "grace-period", "keepalive"}
    assert not of("drain", found).changes


def test_hook_on_top_of_a_drain_is_removed() -> None:
    found = findings(dump(base(env(DRAIN="on", APP_VERSION="v1"))))
    assert of("prestop-on-top", found).severity is ADVICE
