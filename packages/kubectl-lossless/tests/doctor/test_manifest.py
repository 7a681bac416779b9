"""Command lines of a workload's containers."""

from __future__ import annotations

import pytest

from doctor.helpers import base, container, dump, only
from doctor.kinds import command, env
from kubectl_lossless.doctor.manifest import Image, Observed
from kubectl_lossless.doctor.workload import Workload


def test_arguments_are_expanded_as_by_kubernetes() -> None:
    found = only(dump(base(command("x", "$(A)", "$(B)"), env(A="1"))))
    assert list(found.app.start.words) == ["x", "1", "$(B)"]


def test_image_provides_the_command_that_the_manifest_leaves_out() -> None:
    objects = base()
    del container(objects)["command"]
    found = only(dump(objects))
    seen = Workload(
        found.document, found.others, images={"registry.test/web:1": Image(["gunicorn"], ["app"])}
    )
    assert (found.server.name, seen.server.name) == ("", "Gunicorn")


@pytest.mark.parametrize("title", [["gunicorn: master [app]"], ["/pause"]])
def test_manifest_has_precedence_over_the_title_of_pid_1(title: list[str]) -> None:
    found = only(dump(base(command("gunicorn", "app"))))
    assert Workload(found.document, found.others, observed={"web": Observed(title)}).server.name == "Gunicorn"
