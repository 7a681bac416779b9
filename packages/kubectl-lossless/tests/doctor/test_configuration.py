"""Gunicorn's configuration file, read without being executed."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.configuration import Configuration, read
from kubectl_lossless.doctor.server.gunicorn import configuration_file
from kubectl_lossless.doctor.server.known import known, with_readiness
from kubectl_lossless.doctor.server.model import Server
from kubectl_lossless.doctor.server.start import Start

GUNICORN = Start(["gunicorn", "-c", "conf/prod.py", "--keep-alive", "20", "app:app"])

THREE_LINES = """
import gunicorn_drain
worker_class, threads, graceful_timeout = "gthread", 16, 10
keepalive = 75
gunicorn_drain.install(globals(), probes=["/healthz"], readiness="/ready")
"""


def seen(text: str) -> Configuration:
    found = read(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import gunicorn_drain\ngunicorn_drain.install(globals())", (True, None, True)),
        ("import gunicorn_drain as drain\ndrain.install(globals(), readiness='/r')", (True, None, True)),
        ("from gunicorn_drain import install\ninstall(globals())", (True, None, True)),
        ("from gunicorn_drain import install as put\nput(globals(), policy=None)", (True, False, True)),
        (
            "from gunicorn_drain import *\nimport gunicorn_drain\ngunicorn_drain.install(globals(),"
            " policy=gunicorn_drain.DrainPolicy(minimum=1, quiet=1, maximum=8))",
            (True, 8.0, False),
        ),
        ("import gunicorn_drain\ngunicorn_drain.install(globals(), policy=mine())", (True, None, False)),
        ("import gunicorn_drain\ngunicorn_drain.install(globals(), **options)", (True, None, False)),
        ("def install(namespace): pass\ninstall(globals())", (False, None, True)),
        ("import gunicorn_drain.logs\ngunicorn_drain.logs.install(globals())", (False, None, True)),
        ("from shared import *", (False, None, False)),
    ],
)
def test_call_of_install_is_recognized(text: str, expected: tuple[bool, object, bool]) -> None:
    found = seen(text)
    assert (found.installs, found.policy, found.is_complete) == expected


def test_values_that_only_python_computes_are_unknown() -> None:
    found = seen(
        "import os\nthreads = int(os.environ['T'])\nkeepalive: int = 75\nif x:\n    timeout = 3\nbind = 'a'"
    )
    assert found.values == {"keepalive": 75, "bind": "a"}
    assert found.unknown == {"threads", "timeout"}


@pytest.mark.parametrize("text", ["def", "\0", "[nginx]\nlisten 80;"])
def test_other_text_is_no_configuration(text: str) -> None:
    assert read(text) is None


def test_installed_drain_has_its_durations_from_the_environment() -> None:
    found = known(GUNICORN, {"DRAIN_MAX": "20"}, "", seen(THREE_LINES))
    # The command line has precedence over the file, as in Gunicorn.
    assert (found.name, found.drain, found.graceful, found.keepalive) == ("Gunicorn", 20, 10, 20)
    assert (found.file, found.wrong) == ("", ())


def test_policy_in_the_file_has_precedence_over_the_environment() -> None:
    text = THREE_LINES.replace("globals(),", "globals(), policy=gunicorn_drain.DrainPolicy(2, 1, 8),")
    assert known(GUNICORN, {"DRAIN_MAX": "20"}, "", seen(text)).drain == 8
    off = THREE_LINES.replace("globals(),", "globals(), policy=None,")
    assert known(GUNICORN, {}, "", seen(off)).drain == 0


def test_file_without_the_drain_is_known_to_have_none() -> None:
    found = known(GUNICORN, {}, "", seen("graceful_timeout, threads = 12, 8\n"))
    assert (found.drain, found.graceful, found.keepalive, found.file) == (0, 12, 20, "")


def test_file_with_settings_from_elsewhere_leaves_the_drain_unknown() -> None:
    found = known(GUNICORN, {}, "", seen("from shared import *\n"))
    assert (found.drain, found.graceful, found.file) == (None, None, "conf/prod.py")


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["gunicorn", "app:app"], "/proc/1/cwd/gunicorn.conf.py"),
        (["tini", "--", "gunicorn", "-c", "./conf/prod.py", "app:app"], "/proc/1/cwd/conf/prod.py"),
        (["gunicorn", "-c", "file:/srv/conf.py", "app:app"], "/srv/conf.py"),
        (["/usr/local/bin/python", "/usr/local/bin/gunicorn", "-c/srv/conf.py"], "/srv/conf.py"),
        (["gunicorn", "-c", "python:gunicorn_drain.config", "app:app"], ""),
        (["gunicorn: master [app]"], ""),
        (["uvicorn", "app:app"], ""),
    ],
)
def test_configuration_file_is_named_by_the_command(words: list[str], path: str) -> None:
    assert configuration_file(Start(words), {}) == path


@pytest.mark.parametrize(
    ("response", "drain"),
    [
        ('{"state": "ready", "drain": {"min": 5.0, "quiet": 1.0, "max": 15.0}}\n', 15),
        ('{"state": "blocked", "drain": null}\n', 0),
        ('{"state": "ready"}\n', None),
        ('{"state": "ready", "drain": {"max": "15"}}', None),
        ('{"state": "ready", "drain": []}', None),
        ('{"drain": {"max": 15}}', None),
        ("ok", None),
        ("[1]", None),
        ("", None),
    ],
)
def test_drain_is_recognized_by_its_response_to_the_readiness_probe(
    response: str, drain: float | None
) -> None:
    assert with_readiness(Server(), response).drain == drain
