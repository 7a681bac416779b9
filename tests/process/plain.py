"""A WSGI application without Flask, as adopters of gunicorn-drain have one, and the kinds of its clients."""

from __future__ import annotations

from tests.process.clients import Kind

APPLICATION = """
import time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"Hello"]
"""


def kinds(pause: tuple[float, float] = (0.0, 0.01)) -> tuple[Kind, ...]:
    """Return the kinds of clients; `pause` is that of the busy ones after a response, in seconds."""
    return (
        Kind("kept", path="/", pause=pause),
        Kind("new", path="/", kept=False, pause=pause),
        Kind("slow", path="/slow"),
        Kind("idle", path="/", pause=(0.3, 0.8)),
    )


KINDS = kinds()
