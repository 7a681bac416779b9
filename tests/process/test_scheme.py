"""The headers of proxies about scheme and path: one rule for peers on loopback and all other peers."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import WORKER_CLASSES
from tests.process.clients import Connection, Response
from tests.process.families import namespace, within
from tests.process.service import ROOT, Service
from tests.waiting import wait_until

PEERS = ("127.0.0.1", "192.0.2.1", "::1", "2001:db8::1")
"""Addresses of the service. A client has the same address as the service it connects to."""

PORT = 8080

COMMANDS = ("ip address add 192.0.2.1/32 dev lo", "ip address add 2001:db8::1/128 dev lo nodad")

HEADERS = {
    "none": (),
    "https": ("X-Forwarded-Proto: https",),
    "http": ("X-Forwarded-Proto: http",),
    "two that agree": ("X-Forwarded-Proto: https", "X-Forwarded-Ssl: on"),
    "two habits": ("X-Forwarded-Proto: https", "X-Forwarded-Protocol: https"),
    "contradictory": ("X-Forwarded-Proto: http", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl"),
    "twice": ("X-Forwarded-Proto: https", "X-Forwarded-Proto: http"),
    "list": ("X-Forwarded-Proto: https, http",),
    "unknown": ("X-Forwarded-Proto: \xff", "X-Forwarded-Ssl:"),
    "prefix": ("SCRIPT_NAME: /api",),
    "prefix of no route": ("SCRIPT_NAME: /nowhere",),
    "path": ("PATH_INFO: /health",),
    "Forwarded": ("Forwarded: proto=https;host=example.com", "X-Forwarded-Host: example.com"),
}

EXTERNAL = """
from flask import Flask, request, url_for

app = Flask(__name__)

@app.get("/health/ready")
def ready():
    return "", 200

@app.get("/external")
def external():
    return url_for("external", _external=True)
"""


def ask(service: Service, peer: str, path: str, *headers: str) -> Response:
    with within(service.process.pid, lambda: Connection(PORT, host=peer)) as connection:
        return connection.ask(path, *headers)


def readiness(service: Service) -> bool:
    assert service.process.poll() is None, service.log
    try:
        return ask(service, "127.0.0.1", "/health/ready").status == 200
    except OSError:
        return False


@pytest.fixture(params=WORKER_CLASSES)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    program = (*namespace(*COMMANDS), sys.executable, "-m", "gunicorn")
    with Service(program=program, bind=False, WORKER_CLASS=request.param) as started:
        wait_until(lambda: readiness(started), "readiness")
        yield started


def test_proxy_headers_have_the_same_effect_from_every_peer(service: Service) -> None:
    for name, headers in HEADERS.items():
        responses = {peer: ask(service, peer, "/api", *headers) for peer in PEERS}
        assert {each.status for each in responses.values()} == {200}, name
        redirects = {peer: ask(service, peer, "/api//sleep/0?a=b", *headers) for peer in PEERS}
        assert {each.status for each in redirects.values()} == {308}, name
        assert {each.headers["location"] for each in redirects.values()} == {"/api/sleep/0?a=b"}, name
    assert "contradict" not in service.log.lower()


def test_proxy_fix_of_the_page_creates_https_urls_for_every_peer(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    block = re.search(r"^ {4}from werkzeug.*?\n(?=\S)", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    (tmp_path / "external.py").write_text(EXTERNAL + textwrap.dedent(block[0]))
    program = (*namespace(*COMMANDS), sys.executable, "-m", "gunicorn")
    with Service(
        "--pythonpath", str(tmp_path), "external:app", program=program, bind=False, WORKERS=1
    ) as service:
        wait_until(lambda: readiness(service), "readiness")
        for peer in PEERS:
            host = "http://test/external", "https://test/external"
            assert ask(service, peer, "/external").body.decode() == host[0]
            assert ask(service, peer, "/external", "X-Forwarded-Proto: https").body.decode() == host[1]
            both = ("X-Forwarded-Proto: https", "X-Forwarded-Ssl: off")
            assert ask(service, peer, "/external", *both).body.decode() == host[1]
