"""The drain in other services, installed as docs/adopt.md shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from gunicorn_fast import PROBE_LANE_WORKER
from tests.process.clients import Crowd, Kind, get
from tests.process.plain import DJANGO_PROJECT
from tests.process.service import ROOT, Service
from tests.process.streams import EventStream
from tests.waiting import wait_until

FLASK = """
from flask import Flask

app = application = Flask(__name__)

@app.get("/")
def index():
    return {"message": "Hello"}

@app.get("/healthz")
def healthz():
    return {"alive": True}
"""

DJANGO = (
    DJANGO_PROJECT
    + """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

def healthz(request):
    return JsonResponse({"alive": True})
"""
)

DJANGO_URLS = """
urlpatterns = [path("", index), path("healthz", healthz)]
"""

BARE = """
def application(environ, start_response):
    found = environ["PATH_INFO"] in ("/", "/healthz")
    body = b"Hello" if found else b"Nothing there"
    start_response("200 OK" if found else "404 Not Found", [("Content-Length", str(len(body)))])
    return [body]
"""

FASTAPI = """
import asyncio
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()

@app.get("/healthz")
async def healthz():
    return {"alive": True}

async def next_event():
    await asyncio.sleep(0.1)
    return b"event: tick\\n\\n"
"""

CLIENTS = (
    Kind("kept", path="/"),
    Kind("new", path="/", kept=False),
    Kind("idle", path="/", pause=(0.3, 1.0)),
    Kind("session", path="/", session=True),
)


def example(name: str) -> str:
    """Return the code block of docs/adopt.md that contains `name`."""
    text = (ROOT / "docs" / "adopt.md").read_text()
    blocks = re.findall(r"(?:^ {8}.*\n|^\n(?= {8}))+", text, re.MULTILINE)
    (block,) = (textwrap.dedent(each) for each in blocks if name in each)
    return block.strip() + "\n"


APPLICATIONS = {"Flask": FLASK, "Django": DJANGO + DJANGO_URLS, "WSGI": BARE}
OWN_READINESS = {
    "Flask": FLASK + example('@app.get("/ready")'),
    "Django": DJANGO + example("def ready(request)") + DJANGO_URLS.replace("]", ', path("ready", ready)]'),
}
SHORT: dict[str, Any] = {"DRAIN_MIN": 2, "DRAIN_QUIET": 0.3}


def drains(service: Service) -> None:
    """Check that a service under load loses nothing in a drain and exits after its minimum."""
    port = service.ready("/ready").port
    with Crowd(lambda: port, CLIENTS) as crowd:
        wait_until(crowd.everyone_served, "a response to every kind")
        service.begin_drain("/ready")
        assert (get(port, "/ready").status, get(port, "/healthz").status) == (503, 200)
        assert get(port, "/").closes
        # So few that a slow machine, too, has them before the drain ends: then nothing listens any more.
        crowd.wait_for_responses(30, "traffic while draining")
    assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
    assert service.wait() >= SHORT["DRAIN_MIN"]
    assert service.said("Drain ended: quiet") == 1
    assert service.said("Stopped: every request completed") == 1


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("worker_class", ["gthread", PROBE_LANE_WORKER])
def test_installed_drain_loses_nothing(worker_class: str, application: str, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(example("gunicorn_drain.install"))
    (tmp_path / "service.py").write_text(APPLICATIONS[application])
    flags = ("-k", worker_class, "service:application")
    with Service(*flags, directory=tmp_path, **SHORT) as service:
        drains(service)


@pytest.mark.parametrize("application", OWN_READINESS)
def test_application_may_respond_to_its_readiness_probe(application: str, tmp_path: Path) -> None:
    configuration = example("gunicorn_drain.install")
    changed = configuration.replace('"/healthz"], readiness="/ready"', '"/healthz", "/ready"]')
    assert changed != configuration
    (tmp_path / "gunicorn.conf.py").write_text(changed)
    (tmp_path / "service.py").write_text(OWN_READINESS[application])
    with Service("service:application", directory=tmp_path, **SHORT) as service:
        drains(service)


def test_drain_of_djangos_asgi_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(example("gunicorn_drain.install"))
    (tmp_path / "service.py").write_text((DJANGO + DJANGO_URLS).replace("wsgi", "asgi"))
    with Service("-k", "asgi", "service:application", directory=tmp_path, **SHORT) as service:
        drains(service)


@pytest.mark.parametrize("worker_class", ["asgi", "uvicorn_worker.UvicornWorker"])
def test_event_stream_of_fastapi_ends_itself(worker_class: str, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(example("gunicorn_drain.install"))
    (tmp_path / "service.py").write_text(FASTAPI + example("gunicorn_drain.terminating"))
    with (
        Service("-k", worker_class, "service:app", directory=tmp_path, **SHORT) as service,
        EventStream(service.ready("/ready").port, path="/events") as stream,
    ):
        assert stream.part() == "event: tick"
        service.begin_drain("/ready")
        while stream.part() is not None:
            pass
        assert stream.ended
        service.wait()
        assert service.said("Drain ended: quiet") == 1


def test_drain_needs_no_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(BARE)
    flags = ("-c", "python:gunicorn_drain.config", "--threads", "4", "service:application")
    with Service(*flags, directory=tmp_path, DRAIN_PROBES="/healthz", **SHORT) as service:
        drains(service)
