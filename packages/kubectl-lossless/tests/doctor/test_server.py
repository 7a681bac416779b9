"""Known facts of servers."""

from __future__ import annotations

import pytest

from gunicorn_drain import config
from kubectl_lossless.doctor import own
from kubectl_lossless.doctor.server import Start, known, program, serves, takes_work_from_a_queue, wrapper


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["gunicorn", "app:app"], "Gunicorn"),
        (["/venv/bin/gunicorn", "app:app"], "Gunicorn"),
        (["python3.13", "-u", "-m", "gunicorn", "app:app"], "Gunicorn"),
        (["python", "-m", "gunicorn.app.wsgiapp", "app:app"], "Gunicorn"),
        (["tini", "--", "env", "A=1", "poetry", "run", "gunicorn", "app:app"], "Gunicorn"),
        (["sh", "-c", "pip install gunicorn && exec uvicorn app:app"], "Uvicorn"),
        (["sh", "-c", "pip install gunicorn && gunicorn -k gevent app"], "Gunicorn"),
        (["python", "-m", "uvicorn", "app:app"], "Uvicorn"),
        (["fastapi", "run", "app.py"], "Uvicorn"),
        (["hypercorn", "app:app"], "Hypercorn"),
        (["granian", "app:app"], "Granian"),
        (["daphne", "app:app"], "Daphne"),
        (["waitress-serve", "app:app"], "Waitress"),
        (["uwsgi", "--ini", "x"], "uWSGI"),
        (["nginx", "-g", "daemon off;"], "nginx"),
        (["flask", "--app", "x", "run"], "Flask's development server"),
        (["flask", "db", "upgrade"], ""),
        (["python", "manage.py", "runserver"], "Django's development server"),
        (["python", "manage.py", "migrate"], ""),
        (["python", "-m", "http.server"], "Python's http.server"),
        (["python", "app.py"], "A Python program"),
        (["/srv/server"], ""),
    ],
)
def test_server_is_recognized_by_its_command(words: list[str], name: str) -> None:
    assert known(Start(words), {}).name == name


def test_gunicorns_settings_are_read_as_by_gunicorn() -> None:
    line = ["python", "-m", "gunicorn", "app:app", "-k", "gthread", "--keep-alive", "5"]
    found = known(Start(line), {"GUNICORN_CMD_ARGS": "--keep-alive 9 --graceful-timeout=12"})
    assert (found.keepalive, found.graceful, found.drain) == (5, 12, 0)  # the command line wins
    assert known(Start(["gunicorn", "app:app"]), {}).keepalive == 0  # sync closes after each response
    assert (
        known(Start(["gunicorn", "app:app", "--threads", "4"]), {}).keepalive == 2
    )  # which makes it gthread
    assert known(Start(["gunicorn", "--keep-alive", "long"]), {}).wrong
    assert known(Start(["gunicorn", "-c", "file.py", "app:app"]), {}).keepalive is None


PACKAGE = ["gunicorn", "-c", "python:gunicorn_drain.config", "-k", "gthread", "--threads", "8", "app:app"]


def test_drain_of_the_package_is_recognized_by_the_command_alone() -> None:
    found = known(Start(PACKAGE), {})
    assert (found.name, found.drain, found.graceful, found.keepalive) == ("Gunicorn", 15, 10, 2)
    assert (found.file, found.wrong, found.ignored) == ("", (), ())


def test_drain_of_the_package_has_its_settings_from_the_environment() -> None:
    environment = {"DRAIN_MAX": "40", "DRAIN_READINESS": "/up", "DRAIN_PROBES": "/healthz", "WORKERS": "many"}
    found = known(Start([*PACKAGE, "--graceful-timeout", "20", "--keep-alive", "75"]), environment)
    assert (found.drain, found.graceful, found.keepalive) == (40, 20, 75)
    assert (found.wrong, found.ignored) == ((), ())
    assert known(Start(PACKAGE), {"DRAIN": "off"}).drain == 0
    assert known(Start(PACKAGE), {"DRAIN_MAX": "soon"}).wrong == (
        "DRAIN_MAX is 'soon'; allowed is seconds from 0 to 3600, whole or decimal",
    )
    assert known(Start(PACKAGE), {"DRAIN_MAXIMUM": "9"}).ignored


def test_configuration_of_the_package_is_the_one_that_the_doctor_knows() -> None:
    assert f"python:{config.__name__}" == own.PACKAGE
    assert config.graceful_timeout == own.PACKAGE_GRACEFUL


@pytest.mark.parametrize("value", ["$WORKERS", "${WORKERS:-3}", "$(nproc)", "$(WORKERS)"])
def test_value_that_only_the_shell_knows_is_not_known(value: str) -> None:
    found = known(
        Start(["gunicorn", "app", "--graceful-timeout", value, "--keep-alive", "5", "--threads", "2"]), {}
    )
    assert (found.graceful, found.keepalive, found.wrong) == (None, 5, ())


def test_uwsgi_ends_at_sigterm_only_with_its_option() -> None:
    without, with_option = (known(Start(["uwsgi", *more]), {}).kind for more in ([], ["--die-on-term"]))
    assert without is not None
    assert without.ignores_sigterm
    assert with_option is not None
    assert not with_option.ignores_sigterm


def test_program_behind_an_init_is_ended_by_sigterm() -> None:
    kind = known(Start(["tini", "--", "python", "app.py"]), {}).kind
    assert kind is not None
    assert not kind.ignores_sigterm
    assert kind.drops_in_flight


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (["tini", "-g", "--", "a", "b"], ["a", "b"]),
        (["/usr/bin/env", "-i", "A=1", "a"], ["a"]),
        (["gosu", "www", "a"], ["a"]),
        (["uv", "run", "a"], ["a"]),
        (["dumb-init", "gosu", "x", "poetry", "run", "a"], ["a"]),
        (["a"], ["a"]),
        ([], []),
    ],
)
def test_programs_that_exec_the_rest_are_taken_off(words: list[str], rest: list[str]) -> None:
    assert program(words) == rest


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["celery", "-A", "x", "worker"], True),
        (["celery", "-A", "x", "beat"], True),
        (["celery", "-A", "x", "flower"], False),
        (["python", "-m", "celery", "-A", "x", "worker"], True),
        (["python", "manage.py", "qcluster"], True),
        (["sh", "-c", "sleep 3; exec rq worker"], True),
        (["airflow", "scheduler"], True),
        (["airflow", "webserver"], False),
        (["gunicorn", "app"], False),
    ],
)
def test_worker_is_recognized(words: list[str], expected: bool) -> None:
    assert takes_work_from_a_queue(Start(words)) is expected


@pytest.mark.parametrize(("words", "says"), [(["npm", "start"], "npm"), (["conda", "run", "x"], "conda")])
def test_wrapper_is_named(words: list[str], says: str) -> None:
    assert says in wrapper(Start(words))
    assert not wrapper(Start(["gunicorn"]))


def test_a_python_program_may_be_anything() -> None:
    assert serves(["gunicorn", "app"])
    assert not serves(["python", "prepare.py"])
