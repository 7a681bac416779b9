"""gunicorn_drain.logs and gunicorn_drain.prometheus in another service than the sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gunicorn_drain import logs
from tests.process.clients import Connection, get
from tests.process.service import Service
from tests.waiting import wait_until

CONFIGURATION = """
import gunicorn_drain.logs, gunicorn_drain.prometheus
workers, worker_class, threads, graceful_timeout = 2, "gthread", 2, 3
gunicorn_drain.logs.install(globals(), log_format="json", access_log=True)
gunicorn_drain.prometheus.install(globals())
gunicorn_drain.install(globals(), readiness="/ready", policy=gunicorn_drain.DrainPolicy(0.2, 0.1, 5))
"""

SERVICE = """
import gunicorn_drain
from gunicorn_drain.logs import with_request_ids
from gunicorn_drain.prometheus import scrape_registry
from flask import Flask
from prometheus_client import generate_latest

app = Flask(__name__)
app.wsgi_app = with_request_ids(app.wsgi_app)

@app.get("/")
def index():
    app.logger.warning("asked")
    return "hello"

@app.get("/metrics")
def metrics():
    return generate_latest(scrape_registry(gunicorn_drain.get_drain()))
"""


def test_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="log_format is 'xml'; allowed is one of text, json"):
        logs.install({}, log_format="xml")


def test_exit_reports_each_sentence_in_the_format_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        logs.exit_with("PORT is 'x'\nWORKERS is 'y'", "settings", "json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["logger"], line["message"]) for line in lines] == [
        ("CRITICAL", "settings", "settings: PORT is 'x'"),
        ("CRITICAL", "settings", "settings: WORKERS is 'y'"),
    ]


@pytest.mark.slow
def test_any_service_logs_json_lines_with_request_ids_and_counts_refusals(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    (tmp_path / "service.py").write_text(SERVICE)
    with Service("service:app", "--pythonpath", str(tmp_path), directory=tmp_path, WORKERS=2) as service:
        port = service.ready("/ready").port
        assert get(port, "/", "X-Request-ID: one").headers["x-request-id"] == "one"
        with Connection(port) as malformed:
            malformed.socket.sendall(b"GET / HTTP/1.1\r\nbroken header\r\n\r\n")
            refused = malformed.response()
        assert (refused.status, json.loads(refused.body)["status"]) == (400, 400)
        wait_until(lambda: "Refused a request" in service.log, "the line about a refused request")

        def of_request() -> list[str]:
            lines = [json.loads(line) for line in service.log.splitlines()]
            return [each["message"] for each in lines if each.get("request_id") == "one"]

        # The access log follows the response, and the client has the response first.
        wait_until(
            lambda: any('"GET / HTTP/1.1" 200' in each for each in of_request()), "the access log's line"
        )
        assert "asked" in of_request()
        metrics = get(port, "/metrics").body
        assert b'http_requests_refused_total{status="400"} 1.0' in metrics
        assert b"http_responses_stalled_total 0.0" in metrics


WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]
"""

ASGI = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"Hello"})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker_class", "application"),
    [
        ("asgi", ASGI),
        ("uvicorn_worker.UvicornWorker", ASGI),
        ("tornado", WSGI),
        ("gevent", WSGI),
        ("sync", WSGI),
    ],
)
def test_every_worker_class_serves_with_the_logs(worker_class: str, application: str, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(application)
    (tmp_path / "gunicorn.conf.py").write_text(
        f"import gunicorn_drain.logs\nworker_class, graceful_timeout = {worker_class!r}, 3\n"
        "gunicorn_drain.logs.install(globals(), log_format='text', access_log=True)\n"
        "policy = gunicorn_drain.DrainPolicy(0.2, 0.1, 5)\n"
        "gunicorn_drain.install(globals(), readiness='/ready', policy=policy)\n"
    )
    with Service("service:app", directory=tmp_path) as service:
        assert get(service.ready("/ready").port, "/").body == b"Hello"
        service.begin_drain("/ready")
        service.wait()
        assert service.said("Stopped: every request completed") == 1, service.log
