"""Servers that are recognized by their command lines."""

from __future__ import annotations

import pytest

from kubectl_lossless.doctor.server.known import known
from kubectl_lossless.doctor.server.programs import serves
from kubectl_lossless.doctor.server.start import Start


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


def test_a_python_program_may_be_anything() -> None:
    assert serves(["gunicorn", "app"])
    assert not serves(["python", "prepare.py"])
