"""Applications without Flask, as adopters of gunicorn-drain have them, and the kinds of their clients."""

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

ASGI_APPLICATION = """
import asyncio

async def application(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"Hello"})
"""

DJANGO_PROJECT = """
import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    SECRET_KEY="of a test",
)

def index(request):
    return JsonResponse({"message": "Hello"})
"""
"""A Django project in one file, without its application and URLs."""


def kinds(pause: tuple[float, float] = Kind.pause) -> tuple[Kind, ...]:
    """Return the kinds of clients; `pause` is that of the busy ones after a response, in seconds."""
    return (
        Kind("kept", path="/", pause=pause),
        Kind("new", path="/", kept=False, pause=pause),
        Kind("slow", path="/slow"),
        Kind("idle", path="/", pause=(0.3, 0.8)),
    )


KINDS = kinds()
