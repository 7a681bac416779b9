"""Endpoints for the platform: liveness, readiness, and the version probe of the course."""

from __future__ import annotations

from flask import Blueprint, Response, json, request

from app.settings import VERSION_PROBE_HEADER, Settings
from gunicorn_drain import Drain


def blueprint(settings: Settings, drain: Drain) -> Blueprint:
    """Create the routes of the probes."""
    probes = Blueprint("probes", __name__)

    def respond(status: int, **fields: object) -> Response:
        return Response(json.dumps(fields) + "\n", status, mimetype="application/json")

    def readiness(**fields: object) -> Response:
        return respond(200 if drain.ready else 503, state=drain.state, **fields)

    @probes.get("/health")
    def health() -> Response:
        # A process that responds is alive, whatever its state: restarting a draining pod would lose requests.
        return respond(200, state=drain.state)

    @probes.get("/health/ready")
    def ready() -> Response:
        return readiness()

    @probes.get("/api/nowater/version")
    def version() -> Response:
        # Other clients request the version without the header of the course's readiness probe.
        if VERSION_PROBE_HEADER in request.headers:
            return readiness(version=settings.app_version)
        return respond(200, version=settings.app_version)

    return probes
