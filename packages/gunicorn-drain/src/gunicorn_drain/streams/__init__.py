"""Connections that outlive their request: event streams and WebSockets, in every WSGI worker class.

Needs the extra `streams`: `pip install gunicorn-drain[streams]`. A view of Flask responds with a
`gunicorn_drain.streams.flask.DetachedResponse`, and the connection continues in a StreamLoop:

    loop = StreamLoop(get_drain(), GoAwaySchedule.from_policy(policy), limit=4096)

    class Clock(EventStream):
        def update(self):  # once a second
            self.write(self.encode(time.ctime()))

    @app.get("/clock")
    def clock():
        return DetachedResponse(Clock(loop, request.environ["SERVER_PROTOCOL"]), request.environ)

`last_event_ids(request)` has the ids after which a client resumes, `handshake_key(request)` the key that a
WebSocket needs, both in `gunicorn_drain.streams.flask`.

The drain counts the connections by kind, asks each client to reconnect at a separate moment, and waits for
them.
"""

from gunicorn_drain.streams.detach import ConnectionOwner, StreamRefusedError
from gunicorn_drain.streams.events import EventStream
from gunicorn_drain.streams.loop import Stream, StreamLoop
from gunicorn_drain.streams.schedule import GoAwaySchedule
from gunicorn_drain.streams.websocket import WebSocket, WebSocketLimits

__all__ = [
    "ConnectionOwner",
    "EventStream",
    "GoAwaySchedule",
    "Stream",
    "StreamLoop",
    "StreamRefusedError",
    "WebSocket",
    "WebSocketLimits",
]
