"""Published applications with the drain installed in the three lines, replaced under load."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.process.clients import Crowd, Kind, Router, get
from tests.process.service import Service
from tests.waiting import wait_until
from tools.matrix.scenario import DRAIN, TORNADO_PACKAGE, UVICORN_PACKAGES, UVICORN_WORKER
from tools.matrix.wagtail import PASSWORD, USER, Editing

FASTAPI = """
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
import asyncio

application = FastAPI()

@application.get("/")
async def index():
    return {"message": "Hello"}

@application.get("/slow")
async def slow():
    await asyncio.sleep(1)
    return {"message": "slow"}

@application.get("/sync")
def in_a_thread():
    return {"message": "of a thread"}
"""

STARLETTE = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def index(request):
    return JSONResponse({"message": "Hello"})

async def slow(request):
    await asyncio.sleep(1)
    return JSONResponse({"message": "slow"})

application = Starlette(routes=[Route("/", index), Route("/slow", slow)])
"""

TORNADO = """
import asyncio
from tornado.web import Application, RequestHandler

class Index(RequestHandler):
    def get(self):
        self.write({"message": "Hello"})

class Slow(RequestHandler):
    async def get(self):
        await asyncio.sleep(1)
        self.write({"message": "slow"})

application = Application([("/", Index), ("/slow", Slow)])
"""


@dataclass(frozen=True)
class Published:
    """An application from PyPI, or one that its own command creates."""

    name: str
    application: str
    """Gunicorn's APP_MODULE."""
    worker_class: str
    paths: tuple[str, ...]
    """Paths that get 200, or a redirect as Django's admin gives it."""
    create: Callable[[Path, str], None]
    """Function that writes the needed files into a directory, with an interpreter that has REQUIREMENTS."""
    smoke_test: Callable[[Callable[[], int]], Editing] | None = None
    """Test that runs during the replacement, in addition to the other clients; gets the port's function."""


def _nothing(directory: Path, python: str) -> None:
    del directory, python


def _file(text: str) -> Callable[[Path, str], None]:
    def write(directory: Path, python: str) -> None:
        del python
        (directory / "service.py").write_text(text)

    return write


def _django_project(directory: Path, python: str) -> None:
    subprocess.run([python, "-m", "django", "startproject", "site1", str(directory)], check=True)
    settings = directory / "site1/settings.py"
    settings.write_text(settings.read_text() + "\nALLOWED_HOSTS = ['*']\n")
    subprocess.run([python, "manage.py", "migrate", "-v", "0"], check=True, cwd=directory)


def _wagtail_site(directory: Path, python: str) -> None:
    wagtail = str(Path(python).with_name("wagtail"))
    subprocess.run([wagtail, "start", "site1", str(directory)], check=True, stdout=subprocess.DEVNULL)
    (directory / "site1/settings/local.py").write_text(
        "from .base import DATABASES\n"
        "DATABASES['default']['OPTIONS'] = {'timeout': 20}  # SQLite has one writer at a time\n"
    )
    manage = [python, "manage.py"]
    subprocess.run([*manage, "migrate", "-v", "0"], check=True, cwd=directory)
    account = ["--noinput", "--username", USER, "--email", "editor@example.org", "-v", "0"]
    environ = {**os.environ, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    subprocess.run([*manage, "createsuperuser", *account], check=True, cwd=directory, env=environ)


ADMIN = ("/admin/login/",)
REQUIREMENTS = (
    "httpbin==0.10.4",
    "django==5.2.19",
    "fastapi==0.165.0",
    *UVICORN_PACKAGES,
    TORNADO_PACKAGE,
    "wagtail==8.0.1",
)

APPLICATIONS = (
    Published(
        "httpbin",
        "httpbin:app",
        "gthread",
        ("/get", "/delay/1", "/bytes/70000"),
        _nothing,
    ),
    Published("Django startproject, WSGI", "site1.wsgi", "gthread", ADMIN, _django_project),
    Published("Django startproject, ASGI", "site1.asgi:application", UVICORN_WORKER, ADMIN, _django_project),
    Published("FastAPI", "service:application", UVICORN_WORKER, ("/", "/slow", "/sync"), _file(FASTAPI)),
    Published("FastAPI", "service:application", "asgi", ("/", "/slow", "/sync"), _file(FASTAPI)),
    Published("Starlette", "service:application", "asgi", ("/", "/slow"), _file(STARLETTE)),
    Published("tornado", "service:application", "tornado", ("/", "/slow"), _file(TORNADO)),
    Published(
        "Wagtail",
        "site1.wsgi",
        "gthread",
        ("/", "/admin/login/", "/search/?query=home"),
        _wagtail_site,
        smoke_test=Editing,
    ),
)


def replaced_under_load(published: Published, python: str, directory: Path) -> None:
    """Replace a service by a second one under load, as a rolling update does: nothing is lost."""
    published.create(directory, python)
    (directory / "gunicorn.conf.py").write_text(
        "import gunicorn_drain\n"
        f"worker_class, threads, graceful_timeout, keepalive = {published.worker_class!r}, 16, 10, 75\n"
        "gunicorn_drain.install(globals(), readiness='/ready')\n"
    )

    def start() -> Service:
        return Service(
            published.application, directory=directory, program=(python, "-m", "gunicorn"), **DRAIN
        )

    kinds = [Kind(f"kept {path}", path=path) for path in published.paths]
    kinds += [Kind(f"new {path}", path=path, kept=False) for path in published.paths]
    with start() as old, start() as new:
        router = Router(old.ready("/ready").port)
        for path in published.paths:
            assert get(old.port, path).status == 200, path
        with ExitStack() as stack:
            crowd = stack.enter_context(Crowd(lambda: router.port, tuple(kinds), each=1))
            editing = published.smoke_test and stack.enter_context(published.smoke_test(lambda: router.port))
            wait_until(crowd.everyone_served, "a response to every kind")
            if editing:
                wait_until(lambda: editing.has_passed(1), "the smoke test")
            new.ready("/ready")
            old.begin_drain("/ready")
            crowd.wait_for_responses(10, "requests that still arrive at the old one")
            router.switch(new.port)
            old.wait(60)
            if editing:
                passes = editing.passes
                wait_until(lambda: editing.has_passed(passes + 2), "the smoke test after the replacement")
            crowd.stop()
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        assert old.said("Drain ended: quiet") == 1, old.log
        new.begin_drain("/ready")
        new.wait(60)
