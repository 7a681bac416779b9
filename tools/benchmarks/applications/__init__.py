"""Applications that the compared servers run, all with the same response to /api.

Each module has a WSGI application, `app`.
"""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = __name__


@dataclass(frozen=True)
class Application:
    """A WSGI application of this package."""

    name: str
    module: str

    @property
    def reference(self) -> str:
        """Reference to the application in a server's command line."""
        return f"{PACKAGE}.{self.module}:app"


BARE = Application("bare WSGI", "bare")
FLASK = Application("Flask and the exporter's defaults", "flask_exporter")
DJANGO = Application("Django view", "django_view")
SERVICE = Application("this service", "service")

APPLICATIONS = (BARE, FLASK, DJANGO, SERVICE)
