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
from gunicorn_drain.prometheus import DrainCollector, WorkersCollector, directory
from flask import Flask
from prometheus_client import CollectorRegistry, generate_latest

app = Flask(__name__)
app.wsgi_app = with_request_ids(app.wsgi_app)

@app.get("/")
def index():
    app.logger.warning("asked")
    return "hello"

@app.get("/metrics")
def metrics():
    registry = CollectorRegistry()
    registry.register(DrainCollector(gunicorn_drain.get_drain()))
    registry.register(WorkersCollector(CollectorRegistry(), directory()))
    return generate_latest(registry)
"""


def test_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="log_format is 'xml'; allowed is one of text, json"):
        logs.install({}, log_format="xml")


@pytest.mark.slow
def test_any_service_logs_json_lines_with_request_ids_and_counts_refusals(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    (tmp_path / "service.py").write_text(SERVICE)
    with Service("service:app", "--pythonpath", str(tmp_path), directory=tmp_path, WORKERS=2) as service:
        port = service.ready("/ready").port
        assert get(port, "/", "X-Request-ID: one").headers["x-request-id"] == "one"
        with Connection(port) as malformed:
            malformed.socket.sendall(b"GET / HTTP/1.1\r\nbroken header\r\n\r\n")
            refused = malformed.answer()
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
