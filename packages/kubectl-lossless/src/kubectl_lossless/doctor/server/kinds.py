"""Behaviour of the known servers at SIGTERM."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Kind:
    """Behaviour of a server at SIGTERM, and its keep-alive timeout."""

    name: str
    keepalive: float | None
    """Seconds, by default; None where it is not known."""
    keepalive_option: str = ""
    graceful_option: str = ""
    max_requests_option: str = ""
    graceful: float | None = None
    """Seconds that requests in flight get; None where there is no limit."""
    drops_in_flight: bool = False
    announces_close: bool = False
    """True where it sends `Connection: close` while it stops."""
    development: bool = False
    ignores_sigterm: bool = False
    """As PID 1, since it installs no handler."""
    variables: str = ""
    """Prefix of the environment variables that it reads its options from, "" where it reads none."""
    signals: tuple[str, ...] = ("SIGTERM",)
    """Signals at which it finishes the requests in flight and exits."""
    quick: tuple[str, ...] = ("SIGINT",)
    """Signals at which it exits without finishing them."""
    file_options: tuple[str, ...] = ()
    """Options that name a configuration file, where it has settings that cannot be seen from here."""
    instead: str = "a production server such as Gunicorn, Uvicorn or Granian"
    """Server to use in its place."""


BOTH = ("SIGTERM", "SIGINT")

UVICORN = Kind(
    "Uvicorn",
    5,
    "--timeout-keep-alive",
    "--timeout-graceful-shutdown",
    "--limit-max-requests",
    variables="UVICORN_",
    signals=BOTH,
    quick=(),
)

PHP = Kind(
    "PHP's development server", None, development=True, ignores_sigterm=True, instead="PHP-FPM or FrankenPHP"
)

KINDS: dict[str, Kind] = {
    "uvicorn": UVICORN,
    "fastapi": replace(UVICORN, max_requests_option="", variables=""),
    "litestar": replace(
        UVICORN, keepalive_option="", graceful_option="", max_requests_option="", variables=""
    ),
    "hypercorn": Kind(
        "Hypercorn",
        5,
        "--keep-alive",
        "--graceful-timeout",
        graceful=3,
        signals=BOTH,
        quick=(),
        file_options=("-c", "--config"),
    ),
    "granian": Kind("Granian", None, announces_close=True, variables="GRANIAN_", signals=BOTH, quick=()),
    "daphne": Kind("Daphne", None, drops_in_flight=True),
    "waitress-serve": Kind("Waitress", 120, "--channel-timeout", drops_in_flight=True, ignores_sigterm=True),
    "uwsgi": Kind("uWSGI", None, drops_in_flight=True, variables="UWSGI_", quick=("SIGINT", "SIGQUIT")),
    "unicorn": Kind("Unicorn", 0, signals=("SIGQUIT",), quick=BOTH),
    "nginx": Kind("nginx", 75, signals=("SIGQUIT",), quick=BOTH),
    "php": PHP,
    "runserver": Kind("Django's development server", None, development=True, ignores_sigterm=True),
    "flask": Kind("Flask's development server", None, development=True, ignores_sigterm=True),
    "http.server": Kind("Python's http.server", None, development=True, ignores_sigterm=True),
    "python": Kind("A Python program", None, ignores_sigterm=True),
}

SPRING = Kind("Spring Boot", None, signals=BOTH, quick=())

COREDNS = Kind("CoreDNS", None, signals=BOTH, quick=())

ISTIO = Kind("istio-proxy", None)

ISTIO_DRAIN = 5.0
"""Seconds for which istio-proxy drains by default (terminationDrainDuration)."""

TRAEFIK = Kind("Traefik", 180, signals=BOTH, quick=())

GUNICORN = Kind("Gunicorn", None, "--keep-alive", quick=("SIGINT", "SIGQUIT"))
"""Gunicorn at a signal; all else of it is in its settings."""
