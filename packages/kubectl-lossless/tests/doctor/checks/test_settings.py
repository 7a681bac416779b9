"""Checks of a server's settings."""

from __future__ import annotations

from doctor.helpers import base, container, dump, findings, of
from doctor.kinds import command


def test_option_is_changed_in_place() -> None:
    objects = base(command("gunicorn", "app", "--max-requests=100", "--threads", "2", "--reload"))
    found = findings(dump(objects))
    assert of("max-requests", found).changes[0].value == "--max-requests=0"
    assert of("reload", found).changes[0].path[-1] == 5
    assert [each.value for each in of("keepalive", found).changes] == ["--keep-alive", "75"]
    assert container(objects)["command"][0] == "gunicorn"
