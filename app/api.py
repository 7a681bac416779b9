"""Endpoints for clients: a quick request and slow ones."""

from __future__ import annotations

import json
import socket
import time

from flask import Blueprint, Response
from werkzeug.exceptions import BadRequest

from app.settings import Settings
from gunicorn_drain.policy import DECIMAL

DEFAULT_SLEEP = 1.0
"""Default duration of a request of /api/sleep, in seconds."""


def blueprint(settings: Settings) -> Blueprint:
    """Create the routes under /api."""
    api = Blueprint("api", __name__)
    pod = socket.gethostname()  # in Kubernetes the pod's name

    def body(**more: object) -> bytes:
        fields = {"message": "Hello from Flask", "version": settings.app_version, "pod": pod}
        return json.dumps(fields | more).encode() + b"\n"

    # Every load test requests this body, and it never changes: encoded once.
    hello = body()

    @api.get("/api")
    def index() -> Response:
        return Response(hello, mimetype="application/json")

    @api.get("/api/sleep", defaults={"seconds": f"{DEFAULT_SLEEP:g}"})
    @api.get("/api/sleep/<seconds>")
    def sleep(seconds: str) -> Response:
        duration = _duration(seconds, settings.sleep_limit)
        time.sleep(duration)
        return Response(body(slept=duration), mimetype="application/json")

    return api


def _duration(seconds: str, limit: float) -> float:
    allowed = f"whole or decimal seconds from 0 to {limit:g}"
    if not DECIMAL.fullmatch(seconds) or (duration := float(seconds)) > limit:
        raise BadRequest(f"The time to sleep is {seconds!r}; allowed are {allowed}.")
    return duration
