"""The drain in somebody else's service: what docs/adopt.md tells to do, done."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.process.clients import Crowd, Kind, get
from tests.process.service import ROOT, Service, wait_until

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

DJANGO = """
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    SECRET_KEY="of a test",
)
application = get_wsgi_application()

def index(request):
    return JsonResponse({"message": "Hello"})

def healthz(request):
    return JsonResponse({"alive": True})
"""

DJANGO_URLS = """
urlpatterns = [path("", index), path("healthz", healthz), path("ready", ready)]
"""

BARE = """
def application(environ, start_response):
    found = environ["PATH_INFO"] in ("/", "/healthz")
    body = b"Hello" if found else b"Nothing there"
    start_response("200 OK" if found else "404 Not Found", [("Content-Length", str(len(body)))])
    return [body]
"""

CLIENTS = (
    Kind("kept", path="/"),
    Kind("new", path="/", kept=False),
    Kind("idle", path="/", pause=(0.3, 1.0)),
    Kind("session", path="/", session=True),
)


def example(name: str) -> str:
    """Take the block of docs/adopt.md that has `name` in it."""
    text = (ROOT / "docs" / "adopt.md").read_text()
    blocks = re.findall(r"(?:^ {8}.*\n|^\n(?= {8}))+", text, re.MULTILINE)
    (block,) = (textwrap.dedent(each) for each in blocks if name in each)
    return block.strip() + "\n"


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} in\n{text}"
    return text.replace(old, new)


# What stands before and after the page's own lines in a service of each kind.
FRAMEWORKS = {
    "Flask": (FLASK, "@app.get", ""),
    "Django": (DJANGO, "def ready(request)", DJANGO_URLS),
    "bare WSGI": (BARE, "def with_readiness", ""),
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("worker_class", ["gthread", "worker.ProbeLaneWorker"])
def test_it_drains(worker_class: str, framework: str, tmp_path: Path) -> None:
    for name in ("lifecycle.py", "probe_rule.py", "reload.py", "worker.py"):
        text = (ROOT / "app" / name).read_text()
        (tmp_path / name).write_text(
            re.sub(r"^from app\.(\w+) import", r"from \1 import", text, flags=re.MULTILINE)
        )
    configuration = replaced(example("when_ready"), "minimum=5, quiet=1, maximum=15", "minimum=2, quiet=0.3")
    configuration = replaced(configuration, '"gthread"', repr(worker_class))
    (tmp_path / "gunicorn.conf.py").write_text(configuration)
    before, in_page, after = FRAMEWORKS[framework]
    (tmp_path / "service.py").write_text(before + example(in_page) + after)

    with Service("service:application", directory=tmp_path) as service:
        port = service.ready("/ready").port
        with Crowd(lambda: port, CLIENTS) as crowd:
            wait_until(crowd.everyone_answered, "every kind answered")
            service.begin_drain("/ready")
            assert (get(port, "/ready").status, get(port, "/healthz").status) == (503, 200)
            assert get(port, "/").closes
            answered = crowd.answered
            wait_until(lambda: crowd.answered > answered + 100, "traffic while draining")
        assert (crowd.lost, crowd.unannounced) == (0, 0), str(crowd)
        assert service.wait() >= 2
        assert service.said("Drain ended: quiet") == 1
        assert service.said("Stopped: every request answered") == 1
