"""A Django project of one view, with the middleware of `startproject` except for sessions and messages.

Those need a database, whose cost would be measured instead.
"""

from __future__ import annotations

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.configure(
    SECRET_KEY="a key for benchmarks on loopback",  # noqa: S106 - signs nothing
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)


def index(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 - Django's signature
    """Respond at once."""
    return JsonResponse({"message": "Hello from Flask", "version": "dev", "pod": "baseline"})


urlpatterns = [path("api", index)]
app = get_wsgi_application()
