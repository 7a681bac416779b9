"""Sample service: a Flask application that shows the effect of a rolling update on requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings
    from gunicorn_drain import Drain


def create_app(settings: Settings | None = None, drain: Drain | None = None) -> Flask:
    """Create the service.

    Without arguments, as Gunicorn calls it, the settings are those of the environment (SettingsError if
    they are wrong), and the drain is the one that gunicorn.conf.py installs.
    """
    # Imported here, because gunicorn.conf.py imports app.settings in the master, where Flask must
    # not be loaded before a gevent worker has patched the standard library.
    from app import api, errors, metrics, page, probes, streams
    from app.settings import Settings
    from gunicorn_drain import get_drain
    from gunicorn_drain.logs import with_request_ids
    from gunicorn_fast.flask import FastFlask

    settings = settings or Settings.from_environment()
    drain = drain or get_drain()

    app = FastFlask(__name__, static_folder=None)
    app.url_map.strict_slashes = False  # /api and /api/ are the same route
    app.url_map.redirect_defaults = False  # /api/sleep/1 is no redirect to /api/sleep
    errors.register(app)
    metrics.register(app, drain, settings.app_version)
    app.register_blueprint(api.blueprint(settings))
    app.register_blueprint(streams.blueprint(settings, drain))
    app.register_blueprint(probes.blueprint(settings, drain))
    app.register_blueprint(page.blueprint())
    app.wsgi_app = with_request_ids(app.wsgi_app)  # type: ignore[assignment,method-assign] # Flask's own way for middleware
    return app
