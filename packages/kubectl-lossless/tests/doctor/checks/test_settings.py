"""Checks of a server's settings."""

from __future__ import annotations

from doctor.helpers import base, container, dump, findings, of
from doctor.kinds import command
from doctor.kinds_of_servers import second, second_service


def test_option_is_changed_in_place() -> None:
    objects = base(command("gunicorn", "app", "--max-requests=100", "--threads", "2", "--reload"))
    found = findings(dump(objects))
    assert of("max-requests", found).changes[0].value == "--max-requests=0"
    assert of("reload", found).changes[0].path[-1] == 5
    assert [each.value for each in of("keepalive", found).changes] == ["--keep-alive", "75"]
    assert container(objects)["command"][0] == "gunicorn"


def test_container_of_two_servers_that_does_not_start_is_named_once() -> None:
    image = "registry.test/Admin:1"
    helper = {"name": "prepare", "image": "registry.test/x:1", "command": ["chown -R 1000 /data"]}
    objects = base(second(image=image), second_service())
    objects[0]["spec"]["template"]["spec"]["initContainers"] = [helper]
    found = [each.what for each in findings(dump(objects)) if each.check == "settings"]
    assert found == [
        "The container prepare does not start: no program is called 'chown -R 1000 /data': each word is an "
        "entry of its own, or `sh -c` reads them.",
        f"The container admin does not start: its image {image!r} has capitals in its repository.",
    ]
