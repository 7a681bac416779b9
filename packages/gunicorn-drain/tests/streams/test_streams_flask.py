"""gunicorn_drain.streams in another service than the sample: Gunicorn's own workers, real connections."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from flask import Flask, request

from gunicorn_drain.streams.flask import last_event_ids
from tests.process.clients import Connection
from tests.process.service import Service

pytestmark = pytest.mark.slow

CONFIGURATION = """
import gunicorn_drain
threads, graceful_timeout = 2, 3
gunicorn_drain.install(globals(), readiness="/ready", policy=gunicorn_drain.DrainPolicy(0.2, 0.1, 5))
"""

CLOCK = """
import time

from flask import Flask, request

from gunicorn_drain import DrainPolicy, get_drain
from gunicorn_drain.streams import EventStream, GoAwaySchedule, StreamLoop
from gunicorn_drain.streams.flask import DetachedResponse, UpgradeRequired

app = Flask(__name__)
loop = StreamLoop(get_drain(), GoAwaySchedule.from_policy(DrainPolicy(0.2, 0.1, 5)), limit=3)

class Clock(EventStream):
    def update(self):
        self.write(self.encode(time.ctime()))

@app.get("/clock")
def clock():
    return DetachedResponse(
        Clock(loop, request.environ["SERVER_PROTOCOL"]), request.environ, content_type="text/event-stream"
    )

@app.get("/socket")
def socket():
    raise UpgradeRequired
"""


@pytest.mark.parametrize("worker_class", ["gthread", "sync", "gevent"])
def test_event_streams_of_any_service_hold_no_thread_and_are_notified(
    tmp_path: Path, worker_class: str
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION + f"worker_class = {worker_class!r}\n")
    (tmp_path / "service.py").write_text(CLOCK)
    with Service("service:app", "--pythonpath", str(tmp_path), directory=tmp_path) as service:
        port = service.ready("/ready").port
        # More streams than threads, and the service still serves.
        streams = [Connection(port) for _ in range(3)]
        for stream in streams:
            stream.send("/clock")
            assert stream.socket.recv(1, socket.MSG_PEEK)
        with Connection(port) as fourth:
            refused = fourth.ask("/clock")
        assert refused.status == 503
        assert b"maximum of long-lived connections, 3 (limit)" in refused.body
        upgrade = service.get("/socket")
        assert (upgrade.status, upgrade.headers["upgrade"]) == (426, "websocket")
        assert upgrade.headers["connection"].split(", ")[1:] == ["Upgrade"]
        service.process.terminate()
        for stream in streams:
            sent = stream.rest()
            assert b"text/event-stream" in sent
            assert b"data: " in sent.partition(b"event: restart")[0]
            assert sent.endswith(b"0\r\n\r\n")
            stream.close()
        service.wait()
        assert (
            service.said("3 asked to reconnect, 3 closed in time, 0 closed at the deadline, 0 still open")
            == 1
        )


@pytest.mark.parametrize(
    ("header", "query", "expected"),
    [
        ("7", "last=9", [["7"], ["9"]]),
        ("", "", [[], []]),
        (" 7, 8 ", "lastEventId=&cache=1", [["7", "8"], []]),
        ("", "evs_last_event_id=1&Last-Event-ID=2&lastEventID=3", [[], ["1", "2", "3"]]),
    ],
)
def test_last_event_ids_are_those_of_the_header_then_the_query(
    header: str, query: str, expected: list[list[str]]
) -> None:
    with Flask("service").test_request_context(f"/?{query}", headers={"Last-Event-ID": header}):
        assert [ids for _, ids in last_event_ids(request)] == expected
